"""Every setting there is: its name, default, range, unit and meaning, in one table.

The dataclasses below are the table. Reading a file, checking it and documenting it are all
derived from their fields; there is no second list to keep in step.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Rule:
    """What a setting may be, and what it is for.

    Attributes:
        doc: its meaning, in sentences for the person who sets it.
        unit: the unit of a number, empty for others.
        least: the smallest number allowed; None for no limit.
        most: the largest number allowed; None for no limit.
        choices: the words allowed; empty for any.
        pattern: a regular expression that the whole text must match; empty for any text.
        pattern_doc: the pattern in words.
        empty: what leaving it out (or null) means, for a setting whose default is None.
    """

    doc: str
    unit: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    pattern_doc: str = ""
    empty: str = ""


def setting(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    pattern: str = "",
    pattern_doc: str = "",
    empty: str = "",
) -> Any:
    """A field of a settings dataclass, to be its default; the arguments are those of `Rule`."""
    rule = Rule(doc, unit, least, most, choices, pattern, pattern_doc, empty)
    return field(default=default, metadata={"rule": rule})


def section(kind: type, doc: str) -> Any:
    """A field that holds other settings, all of them at their defaults."""
    return field(default_factory=kind, metadata={"rule": Rule(doc)})


@dataclass(frozen=True)
class AuditConfig:
    """How long what happened is kept; whichever limit is reached first."""

    days: int = setting(
        365, "Entries older than this are removed.", unit="days", least=1, most=3650
    )
    most_entries: int = setting(
        100_000, "Most entries; the oldest go first.", unit="entries", least=1000, most=500_000
    )
    most_mb: int = setting(32, "Most space they take.", unit="MB", least=1, most=1024)


# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009


TOPIC = r"(?!\$)[^+#/]+(/[^+#/]+)*"
"""Levels of a topic that somebody may publish to."""


@dataclass(frozen=True)
class TlsConfig:
    """Encryption of the connection to the broker."""

    enabled: bool = setting(
        False, "Whether to encrypt. The broker's certificate is always verified."
    )
    ca_file: Path | None = setting(
        None,
        "PEM file with the certificate authority that signed the broker's certificate.",
        empty="the system's certificate authorities",
    )
    cert_file: Path | None = setting(
        None, "PEM file with this device's own certificate.", empty="none is shown to the broker"
    )
    key_file: Path | None = setting(
        None, "PEM file with the key of `cert_file`.", empty="no certificate is shown"
    )


@dataclass(frozen=True)
class MqttConfig:
    """The broker that decisions are published to."""

    enabled: bool = setting(True, "Whether to publish at all.")
    host: str = setting(
        "localhost",
        "Name or address of the broker.",
        pattern=r"[^\s/@]{1,253}",
        pattern_doc="a host name or an address, without mqtt:// and without a port",
    )
    port: int | None = setting(
        None, "Port of the broker.", least=1, most=65535, empty="1883, or 8883 with TLS"
    )
    username: str | None = setting(
        None,
        "User name at the broker.",
        pattern=r".{1,256}",
        pattern_doc="1 to 256 characters",
        empty="no user name is sent",
    )
    password_file: Path | None = setting(
        None,
        "File whose only line is the password; others must not be able to read it. A bare name"
        " is first looked for among the service's systemd credentials.",
        empty="no password is sent",
    )
    tls: TlsConfig = section(TlsConfig, "Encryption of the connection to the broker.")
    base_topic: str = setting(
        "edge-voice",
        "First part of every topic: BASE/DEVICE/status and BASE/DEVICE/decision.",
        pattern=TOPIC,
        pattern_doc="topic levels between single slashes, without + and #, not starting with $",
    )
    keepalive_s: int = setting(
        30,
        "How often the connection proves that it is alive. A silent one is given up, and the"
        " broker tells the home that the device is offline, after one and a half times this.",
        unit="s",
        least=5,
        most=3600,
    )
    protocol: str = setting(
        "auto",
        "Version of MQTT. With 5 a broker also drops decisions that a receiver was not there for"
        " in time; auto falls back to 3.1.1 for a broker that does not answer to 5.",
        choices=("auto", "5", "3.1.1"),
    )
    client_id: str | None = setting(
        None,
        "Name of the connection at the broker; two clients with one name throw each other out.",
        pattern=r"[A-Za-z0-9_.:-]{1,128}",
        pattern_doc="1 to 128 letters, digits, or one of - _ . :",
        empty="edge-voice-DEVICE",
    )
    reconnect_max_s: float = setting(
        10.0,
        "Longest wait between two attempts to reach the broker; it starts at half a second and"
        " doubles.",
        unit="s",
        least=1.0,
        most=600.0,
    )

    @property
    def broker_port(self) -> int:
        """The port to connect to, default filled in."""
        if self.port is not None:
            return self.port
        return 8883 if self.tls.enabled else 1883


# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.


_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"


@dataclass(frozen=True)
class ChallengeConfig:
    """Random digits that are asked for after the passphrase, against recordings of it."""

    required: str = setting(
        "never",
        "Whom this door asks: never (only people whose own access says so), hours (everybody, at"
        " the hours below) or always. Who has not enrolled digits with `edge-voice enroll NAME"
        " --digits` is then not let in.",
        choices=("never", "hours", "always"),
    )
    hours: str = setting(
        "22:00-06:00",
        "When hours asks, in the device's local time.",
        pattern=f"{_TIME}-{_TIME}",
        pattern_doc="two times such as 22:00-06:00",
    )
    digits: int = setting(
        4, "How many digits are asked for, each another one.", unit="digits", least=4, most=6
    )
    answer_s: float = setting(
        10.0, "Time to say them, from when they are shown.", unit="s", least=3.0, most=60.0
    )
    attempts: int = setting(
        2, "Answers allowed, each to new digits.", unit="answers", least=1, most=5
    )
    speak: bool = setting(
        False,
        "Whether the device itself says the digits, with espeak-ng where that is installed. They"
        " are published over MQTT in any case.",
    )
    language: str = setting(
        "en",
        "Language in which it says them, as espeak-ng names it.",
        pattern=r"[a-z]{2,3}(-[a-z0-9]{2,8}){0,2}",
        pattern_doc="a language such as en, de or pt-br",
    )
    output: str | None = setting(
        None, "Loudspeaker, by part of its name.", empty="the system's default"
    )

    @property
    def minutes(self) -> tuple[int, int]:
        """Begin and end of the hours, minutes after midnight."""
        begin, end = ((int(part[:2]) * 60 + int(part[3:])) for part in self.hours.split("-"))
        return begin, end


# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009


@dataclass(frozen=True)
class UnsignedConfig:
    """Commands that anybody on the broker may give, without a signature."""

    listening: bool = setting(
        False,
        "BASE/DEVICE/set/listening, ON or OFF, as a switch of Home Assistant sends it. Gives away:"
        " any light bulb on the broker can make the device deaf, so that nobody gets in.",
    )
    lift_lockout: bool = setting(
        False,
        "BASE/DEVICE/set/lift_lockout, PRESS. Gives away: whoever guesses at the door and is on the"
        " broker can guess without end; the lock-out holds nobody any more.",
    )
    lock_out: bool = setting(
        False,
        "BASE/DEVICE/set/lock_out, PRESS. Gives away: anybody on the broker can keep everybody out"
        " until the lock-out is over or is lifted.",
    )
    enroll: bool = setting(
        False,
        "BASE/DEVICE/set/enroll, PRESS, enrolls whom set/enroll_person names. Gives away the house:"
        " whoever is on the broker and can speak at the door enrolls themselves, and the door opens"
        " for them; and while it goes on nobody gets in. Allow it only while somebody is being"
        " enrolled, then switch it off again; a signed enroll_start needs none of this.",
    )
    enroll_cancel: bool = setting(
        False,
        "BASE/DEVICE/set/enroll_cancel, PRESS. Gives away: anybody on the broker can keep anybody"
        " from being enrolled.",
    )
    enroll_person: bool = setting(
        False,
        "BASE/DEVICE/set/enroll_person, a name of up to 64 characters, or nothing for nobody. Gives"
        " away, with enroll: anybody on the broker chooses whose name it is. The name is in the"
        " status, which the broker keeps.",
    )


@dataclass(frozen=True)
class CommandsConfig:
    """Who may tell the device what over MQTT. Whatever is refused is in the audit trail."""

    keys_file: Path | None = setting(
        None,
        "YAML file with the keys that may command and the role of each (owner, operator or"
        " observer); nobody but the service may read it. A bare name is first looked for among the"
        " service's systemd credentials.",
        empty="no signed command is accepted",
    )
    clock_allowance_s: float = setting(
        5.0,
        "How far the clock of whoever commands may be from this device's.",
        unit="s",
        least=0.0,
        most=60.0,
    )
    unsigned: UnsignedConfig = section(
        UnsignedConfig, "Commands that anybody on the broker may give, without a signature."
    )


@dataclass(frozen=True)
class HomeAssistantConfig:
    """Whether Home Assistant finds this device by itself, over the same broker."""

    discovery: bool = setting(
        False,
        "Whether to announce the device to Home Assistant. It then has entities for its decisions,"
        " for how the device is, and for each plain command that `commands.unsigned` allows.",
    )
    prefix: str = setting(
        "homeassistant",
        "First part of the topics that Home Assistant looks for devices on; the one in its own MQTT"
        " settings.",
        pattern=TOPIC,
        pattern_doc="topic levels between single slashes, without + and #, not starting with $",
    )
    sound_interval_s: float = setting(
        10.0,
        "How often the sound level is published while `discovery` is on.",
        unit="s",
        least=1.0,
        most=3600.0,
    )


# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.


@dataclass(frozen=True)
class LockOutConfig:
    """What happens after too many rejections in a short time."""

    enabled: bool = setting(
        True,
        "Whether to lock out at all: nobody is let in for a while, longer each time. Whoever"
        " stands at the door can bring that about on purpose; keep another way in.",
    )
    rejections: int = setting(
        5, "How many rejections it takes.", unit="rejections", least=1, most=100
    )
    within_s: float = setting(300.0, "Within how long.", unit="s", least=10.0, most=86400.0)
    first_s: float = setting(
        60.0, "How long the first lock-out lasts.", unit="s", least=5.0, most=86400.0
    )
    growth: float = setting(
        2.0, "How many times longer each one is than the one before.", least=1.0, most=10.0
    )
    longest_s: float = setting(
        3600.0, "How long a lock-out lasts at most.", unit="s", least=5.0, most=604800.0
    )
    forget_s: float = setting(
        86400.0,
        "After how long without a rejection the next lock-out is a first one again.",
        unit="s",
        least=60.0,
        most=604800.0,
    )
    count_wrong_phrase: bool = setting(
        False,
        "Whether an enrolled voice that says something else counts, as a guesser with a good"
        " imitation would. So does whatever residents say near the microphone: only for a place"
        " where they do not talk.",
    )
    count_unknown_speaker: bool = setting(
        True, "Whether an enrolled phrase in a voice that is not its owner's counts."
    )
    count_no_match: bool = setting(
        False,
        "Whether speech that is neither an enrolled voice nor an enrolled phrase counts. A"
        " television or people who walk by would then lock the door within minutes.",
    )


# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.


@dataclass(frozen=True)
class MetricsConfig:
    """Figures of the running service for Prometheus."""

    enabled: bool = setting(
        False,
        "Whether to serve them at http://ADDRESS:PORT/metrics. Whoever has an account on this"
        " machine can read them: how often somebody came to the door, and when.",
    )
    address: str = setting(
        "127.0.0.1",
        "Address that they are served at; only this machine's own, 127.0.0.1 or ::1.",
        pattern=r"[0-9A-Fa-f.:]{2,45}",
        pattern_doc="127.0.0.1 or ::1",
    )
    port: int = setting(9789, "Port that they are served at.", least=1, most=65535)

    @property
    def stays_here(self) -> bool:
        """Whether the address is one that no other machine can reach."""
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return False


# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009


@dataclass(frozen=True)
class MonitorConfig:
    """Whether `edge-voice monitor` can watch the running service."""

    enabled: bool = setting(
        True,
        "Whether to open a socket on this machine for it. Only the service's own user, its group"
        " where systemd started it, and root can connect, and nothing can be told the service"
        " through it.",
    )
    socket: Path | None = setting(
        None,
        "Where the socket is; the service's group may use one that is named here.",
        empty="monitor.sock in /run/edge-voice where systemd starts the service, else in the state"
        " directory",
    )


# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.


@dataclass(frozen=True)
class ReplayConfig:
    """Recordings of what was said here before, played again."""

    enabled: bool = setting(
        True,
        "Whether an utterance that is too like an earlier one to be a second saying is refused.",
    )
    remembered: int = setting(
        50,
        "How many utterances are remembered of each person, and as many again that were refused;"
        " the oldest make room. Each takes about 1 kB for each second that it lasts.",
        unit="utterances",
        least=5,
        most=500,
    )
    days: int = setting(
        365, "For how long an utterance is remembered.", unit="days", least=1, most=3650
    )


# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009


@dataclass(frozen=True)
class SigningConfig:
    """The key that decisions are signed with."""

    key_file: Path | None = setting(
        None,
        "File with the key that signs every decision, made by `edge-voice signing new-key`; nobody"
        " but the service may read it. A bare name is first looked for among the service's systemd"
        " credentials. Whoever opens a door must verify: without a key anybody on the broker can"
        " say `granted`.",
        empty="nothing is signed",
    )
    algorithm: str = setting(
        "ed25519",
        "What the key is for: ed25519 (the receiver knows a public key only) or hmac-sha256 (the"
        " receiver has the same key, and could sign with it).",
        choices=("ed25519", "hmac-sha256"),
    )


# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009


_CREDENTIAL = r"[A-Za-z0-9_.-]{1,64}"
_CREDENTIAL_DOC = "1 to 64 letters, digits, or one of - _ ."


@dataclass(frozen=True)
class StoreConfig:
    """How signatures are locked."""

    key_credential: str = setting(
        "store-key",
        "Name of the service's systemd credential with the key; where there is one, it is used."
        " Commands are not given it: name the same key in `key_file` for them.",
        pattern=_CREDENTIAL,
        pattern_doc=_CREDENTIAL_DOC,
    )
    key_file: Path | None = setting(
        None,
        "File with the key, of mode 0600, best on another medium than the signatures;"
        " `edge-voice keys make FILE` makes one.",
        empty="store.key in the state directory, made when needed: whoever has both can read all",
    )
    passphrase: bool = setting(
        False,
        "Whether a new store is locked with a passphrase where neither credential nor `key_file`"
        " is there. The service takes it from `passphrase_credential`, commands ask for it.",
    )
    passphrase_credential: str = setting(
        "store-passphrase",
        "Name of the service's systemd credential with the passphrase.",
        pattern=_CREDENTIAL,
        pattern_doc=_CREDENTIAL_DOC,
    )
    debug_recordings: Path | None = setting(
        None,
        "Folder that the latest utterances are recorded into, to find out what goes wrong. Whoever"
        " gets hold of them can play them to the door: never leave this on.",
        empty="no recording is ever kept",
    )


# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009


@dataclass(frozen=True)
class DeviceConfig:
    """Which device this is."""

    id: str = setting(
        "front-door",
        "Name of this device in MQTT topics; every device on one broker needs its own.",
        pattern=r"[A-Za-z0-9_-]{1,64}",
        pattern_doc="1 to 64 letters, digits, - or _",
    )
    name: str = setting(
        "Front door",
        "Name of this device for people.",
        pattern=r".{1,64}",
        pattern_doc="1 to 64 characters",
    )


@dataclass(frozen=True)
class AudioConfig:
    """The microphone, and how speech is cut out of its stream."""

    device: int | str | None = setting(
        None,
        "The microphone: its number or a part of its name, as `edge-voice devices` lists them.",
        least=0,
        most=1000,
        pattern=r".{1,200}",
        pattern_doc="a device number or name",
        empty="the system's default microphone",
    )
    end_silence_s: float = setting(
        0.6,
        "Silence after which an utterance is over. Shorter answers sooner, but cuts a phrase"
        " that is spoken with pauses.",
        unit="s",
        least=0.2,
        most=3.0,
    )
    min_speech_s: float = setting(
        0.3,
        "Speech shorter than this is taken for a noise and ignored.",
        unit="s",
        least=0.1,
        most=2.0,
    )
    max_utterance_s: float = setting(
        15.0, "An utterance is cut at this length.", unit="s", least=3.0, most=60.0
    )
    pre_roll_s: float = setting(
        0.55,
        "How much of what came before the speech is kept with it. The phrase model listens to"
        " half a second on both sides.",
        unit="s",
        least=0.0,
        most=2.0,
    )
    ring_s: float = setting(
        20.0,
        "How much audio waits while the processor is busy; what does not fit is lost, counted"
        " and published.",
        unit="s",
        least=10.0,
        most=120.0,
    )


@dataclass(frozen=True)
class RecognitionConfig:
    """What a recording must be worth to be judged."""

    min_net_speech_s: float = setting(
        0.6,
        "Least speech, silence not counted, that is judged at all.",
        unit="s",
        least=0.2,
        most=5.0,
    )
    min_snr_db: float = setting(
        6.0, "How far speech must stand out from the noise.", unit="dB", least=0.0, most=40.0
    )
    min_level_dbfs: float = setting(
        -65.0, "How loud speech must be at least.", unit="dB full scale", least=-90.0, most=-10.0
    )
    max_clipped_fraction: float = setting(
        0.02, "Share of the samples that may be overdriven.", least=0.0, most=1.0
    )
    threads: int = setting(
        1, "Processor threads that a model runs on.", unit="threads", least=1, most=16
    )


FALSE_ACCEPT_PRESETS = {"relaxed": 0.01, "balanced": 0.001, "strict": 0.0001}
"""The false-accept rates that have a name, from the most forgiving to the strictest."""


@dataclass(frozen=True)
class SecurityConfig:
    """How often a stranger may get in."""

    false_accept_rate: float | str = setting(
        "balanced",
        "Share of strangers' attempts that may be accepted: a number, or relaxed (1 in 100),"
        " balanced (1 in 1,000) or strict (1 in 10,000). Fewer strangers let in means residents"
        " turned away more often; `edge-voice evaluate` shows how often.",
        least=1e-6,
        most=0.1,
        choices=tuple(FALSE_ACCEPT_PRESETS),
    )

    @property
    def far(self) -> float:
        """The false-accept rate asked for, 1e-6 to 0.1."""
        if isinstance(self.false_accept_rate, str):
            return FALSE_ACCEPT_PRESETS[self.false_accept_rate]
        return self.false_accept_rate


@dataclass(frozen=True)
class EnrollmentConfig:
    """What makes a signature complete."""

    repetitions: int = setting(
        3, "How often a passphrase is said to enroll it.", unit="repetitions", least=3, most=20
    )
    voice_seconds: float = setting(
        30.0,
        "How much speech enrolls a voice without a passphrase. Less than 20 s costs accuracy.",
        unit="s",
        least=1.0,
        most=300.0,
    )
    wait_s: float = setting(
        60.0,
        "How long an enrollment over MQTT waits for somebody to speak.",
        unit="s",
        least=5.0,
        most=600.0,
    )
    total_s: float = setting(
        300.0,
        "How long an enrollment over MQTT may take in all; nothing opens meanwhile.",
        unit="s",
        least=10.0,
        most=1800.0,
    )
    adapt: bool = setting(
        False,
        "Whether the running service learns from utterances that it accepts with high confidence,"
        " since voices change. `edge-voice profiles revert` forgets what was learned.",
    )
    adapt_samples: int = setting(
        5,
        "How many such utterances a signature holds at most; the newest ones stay.",
        unit="utterances",
        least=1,
        most=20,
    )
    adapt_interval_s: float = setting(
        21600.0,
        "Least time between two utterances that are learned from, for each person.",
        unit="s",
        least=60.0,
        most=604800.0,
    )


@dataclass(frozen=True)
class AccessConfig:
    """What opens, and how long a decision holds."""

    in_running_speech: bool = setting(
        True,
        "Whether a phrase is also found inside running speech, and answered as soon as it is over."
        " If not, only what is said by itself counts, once silence has followed.",
    )
    decision_lifetime_s: float = setting(
        5.0,
        "A decision that could not be delivered within this time is dropped, never sent late.",
        unit="s",
        least=0.5,
        most=60.0,
    )
    time_zone: str | None = setting(
        None,
        "Time zone in which the hours and dates of `edge-voice access` are meant, such as"
        " Europe/Berlin.",
        pattern=r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}",
        pattern_doc="the name of a time zone, such as Europe/Berlin or UTC",
        empty="the system's time zone",
    )


@dataclass(frozen=True)
class Config:
    """All settings; `Config()` is the defaults."""

    device: DeviceConfig = section(DeviceConfig, "Which device this is.")
    audio: AudioConfig = section(
        AudioConfig, "The microphone, and how speech is cut out of its stream."
    )
    recognition: RecognitionConfig = section(
        RecognitionConfig,
        "What a recording must be worth to be judged.",
    )
    security: SecurityConfig = section(SecurityConfig, "How often a stranger may get in.")
    enrollment: EnrollmentConfig = section(EnrollmentConfig, "What makes a signature complete.")
    access: AccessConfig = section(AccessConfig, "What opens, and how long a decision holds.")
    lockout: LockOutConfig = section(
        LockOutConfig, "What happens after too many rejections in a short time."
    )
    replay: ReplayConfig = section(
        ReplayConfig, "Recordings of what was said here before, played again."
    )
    mqtt: MqttConfig = section(MqttConfig, "The broker that decisions are published to.")
    store: StoreConfig = section(StoreConfig, "How signatures are locked.")
    signing: SigningConfig = section(SigningConfig, "The key that decisions are signed with.")
    challenge: ChallengeConfig = section(
        ChallengeConfig, "Random digits that are asked for after the passphrase."
    )
    commands: CommandsConfig = section(CommandsConfig, "Who may tell the device what over MQTT.")
    homeassistant: HomeAssistantConfig = section(
        HomeAssistantConfig, "Whether Home Assistant finds this device by itself."
    )
    audit: AuditConfig = section(AuditConfig, "How long what happened is kept in the audit trail.")
    monitor: MonitorConfig = section(
        MonitorConfig, "Whether `edge-voice monitor` can watch the running service."
    )
    metrics: MetricsConfig = section(
        MetricsConfig, "Figures of the running service for Prometheus."
    )
    state_directory: Path | None = setting(
        None,
        "Folder where signatures are kept.",
        empty="$STATE_DIRECTORY (systemd sets it), else ~/.local/state/edge-voice",
    )
    models_directory: Path | None = setting(
        None, "Folder of the models and their cards.", empty="the models that were installed"
    )
    log_level: str = setting(
        "info", "How much is logged.", choices=("debug", "info", "warning", "error")
    )

    @property
    def state_path(self) -> Path:
        """The state directory, default filled in; it need not exist yet."""
        if self.state_directory is not None:
            return self.state_directory
        # systemd separates several directories by colons; the first one is ours.
        given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        if given:
            return Path(given)
        base = os.environ.get("XDG_STATE_HOME", "")
        return (Path(base) if base else Path.home() / ".local" / "state") / "edge-voice"


@dataclass(frozen=True)
class Setting:
    """One row of the table: a setting or a section.

    Attributes:
        path: its keys from the top, joined by dots.
        kind: its type as declared; a dataclass for a section.
        default: its default; None for a section.
        rule: what it may be, and what it is for.
    """

    path: str
    kind: Any
    default: Any
    rule: Rule

    @property
    def is_section(self) -> bool:
        """Whether it holds other settings."""
        return dataclasses.is_dataclass(self.kind)


def children(section: type, prefix: str = "") -> dict[str, Setting]:
    """The rows directly inside a section, by key; `prefix` is the section's own path."""
    hints = typing.get_type_hints(section)
    rows = {}
    for item in dataclasses.fields(section):
        path = f"{prefix}.{item.name}" if prefix else item.name
        default = None if item.default is dataclasses.MISSING else item.default
        rows[item.name] = Setting(path, hints[item.name], default, item.metadata["rule"])
    return rows


def all_settings(section: type = Config, prefix: str = "") -> Iterator[Setting]:
    """Every row of the table in order, each section before what is inside it."""
    for row in children(section, prefix).values():
        yield row
        if row.is_section:
            yield from all_settings(row.kind, row.path)

"""Every setting there is: its name, default, range, unit and meaning, in one table."""

from __future__ import annotations

import dataclasses
import inspect
import ipaddress
import os
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.errors import ConfigError

# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009


@dataclass(frozen=True)
class Rule:
    """What a setting may be, and what it is for.

    Attributes:
        doc: its meaning, in sentences for the person who sets it.
        unit: the unit of a number, empty for others.
        least, most: the limits of a number; None for no limit.
        choices: the words allowed; empty for any.
        pattern: a regular expression that the whole text must match; empty for any text.
        pattern_doc: the pattern in words.
        empty: what leaving it out (or null) means, for a setting whose default is None.
        use: what a text is used for, one of `edge.config.texts.USES`; empty for free text, and for
            the name of a file.
    """

    doc: str
    unit: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    pattern_doc: str = ""
    empty: str = ""
    use: str = ""


def setting(
    default: Any,
    doc: str,
    limits: tuple[float | None, float | None, str] = (None, None, ""),
    form: tuple[str, str] = ("", ""),
    choices: tuple[str, ...] = (),
    empty: str = "",
    use: str = "",
) -> Any:
    """A field with its `Rule`; `limits` are least, most and unit, `form` a pattern, its words."""
    least, most, unit = limits
    rule = Rule(doc, unit, least, most, choices, *form, empty, use)
    return field(default=default, metadata={"rule": rule})


def section(kind: type) -> Any:
    """A field that holds other settings, all of them at their defaults."""
    return field(default_factory=kind, metadata={"rule": Rule(inspect.getdoc(kind) or "")})


def several(kind: type, form: tuple[str, str]) -> Any:
    """A field that holds any number of sections of one kind, by a key of the given form."""
    rule = Rule(inspect.getdoc(kind) or "", pattern=form[0], pattern_doc=form[1], use="word")
    return field(default_factory=dict, metadata={"rule": rule, "several": kind})


_TOPIC = (
    r"(?!\$)[^+#/]+(/[^+#/]+)*",
    "topic levels between single slashes, without + and #, not starting with $",
)
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_CREDENTIAL = (r"[A-Za-z0-9_.-]{1,64}", "1 to 64 letters, digits, or one of - _ .")

_ID = (r"[A-Za-z0-9_-]{1,64}", "1 to 64 letters, digits, - or _")

FALSE_ACCEPT_PRESETS = {"relaxed": 0.01, "balanced": 0.001, "strict": 0.0001}
"""The false-accept rates that have a name, from the most forgiving to the strictest."""


@dataclass(frozen=True)
class DeviceConfig:
    """The names of this device."""

    id: str = setting(
        "front-door",
        "Name of this device in MQTT topics; every device on one broker needs its own.",
        form=_ID,
        use="word",
    )
    name: str = setting(
        "Front door", "Display name of this device.", form=(r".{1,64}", "1 to 64 characters")
    )


@dataclass(frozen=True)
class AudioConfig:
    """The microphone, and how utterances are cut from its stream."""

    device: int | str | None = setting(
        None,
        "The microphone: its number, its name or a part of it, as `edge-voice devices` lists them,"
        " or ALSA's name for it, such as hw:CARD=Device,DEV=0. Numbers change when something is"
        " plugged in.",
        (0, 1000, ""),
        form=(r".{1,200}", "a device number or name"),
        empty="the system's default microphone",
        use="word",
    )
    source: str | None = setting(
        None,
        "A program that is listened to instead, such as ffmpeg with the stream of a doorbell: it"
        " writes WAV, or bare 16-bit mono at 16 kHz, to its standard output. It is started without"
        " a shell, and again when it ends or stalls. Or a Wyoming satellite, as wyoming://HOST:PORT:"
        " its sound is not encrypted, and anyone in that network can speak in its place.",
        form=(r".{1,1000}", "a program and its arguments, or wyoming://HOST:PORT"),
        empty="the microphone that `device` names",
        use="source",
    )
    end_silence_s: float = setting(
        0.6,
        "Silence that ends an utterance. A shorter one answers sooner. A phrase with a pause of up"
        " to a second in it is put together again.",
        (0.2, 3.0, "s"),
    )
    min_speech_s: float = setting(
        0.3, "Speech shorter than this is ignored as noise.", (0.1, 2.0, "s")
    )
    max_utterance_s: float = setting(
        15.0, "Longest utterance; speech beyond this is cut off.", (3.0, 60.0, "s")
    )
    pre_roll_s: float = setting(
        0.55,
        "How much sound before the speech is kept with it. The phrase model needs half a second on"
        " both sides.",
        (0.0, 2.0, "s"),
    )
    ring_s: float = setting(
        20.0,
        "How much sound is buffered while the processor is busy; what does not fit is lost,"
        " counted and published.",
        (10.0, 120.0, "s"),
    )


@dataclass(frozen=True)
class MicrophoneConfig:
    """More microphones, each under its id in MQTT topics and in `edge-voice access`.

    They share the models, the people and every other setting; each has its own decisions, status,
    lock-out and digits.
    """

    name: str | None = setting(
        None,
        "Display name of this microphone.",
        form=(r".{1,64}", "1 to 64 characters"),
        empty="its name in topics",
    )
    device: int | str | None = setting(
        None,
        "The microphone, as in `audio.device`.",
        (0, 1000, ""),
        form=(r".{1,200}", "a device number or name"),
        empty="the system's default microphone",
        use="word",
    )
    source: str | None = setting(
        None,
        "What is listened to instead, as in `audio.source`.",
        form=(r".{1,1000}", "a program and its arguments, or wyoming://HOST:PORT"),
        empty="the microphone that `device` names",
        use="source",
    )


@dataclass(frozen=True)
class RecognitionConfig:
    """The quality that an utterance must have to be judged."""

    min_net_speech_s: float = setting(
        0.6, "Shortest speech, without silence, that is judged at all.", (0.2, 5.0, "s")
    )
    min_snr_db: float = setting(
        3.0,
        "Signal-to-noise ratio of the speech below which a phrase that was not recognized is called"
        " too noisy; free speech and digits are then not judged at all. To enroll it takes 6 dB.",
        (0.0, 40.0, "dB"),
    )
    min_level_dbfs: float = setting(
        -65.0, "Lowest level of the speech.", (-90.0, -10.0, "dB full scale")
    )
    max_clipped_fraction: float = setting(0.02, "Highest share of clipped samples.", (0.0, 1.0, ""))
    threads: int = setting(1, "Processor threads for each model.", (1, 16, "threads"))


@dataclass(frozen=True)
class SecurityConfig:
    """How often strangers may be accepted."""

    false_accept_rate: float | str = setting(
        "balanced",
        "Share of strangers' attempts that may be accepted: a number, or relaxed (1 in 100),"
        " balanced (1 in 1,000) or strict (1 in 10,000). The stricter, the more often residents"
        " are rejected; `edge-voice evaluate` shows how often.",
        (1e-6, 0.1, ""),
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
    """How people are enrolled, and whether their signatures adapt."""

    repetitions: int = setting(
        3, "How many times a passphrase is said to enroll it.", (3, 20, "repetitions")
    )
    voice_seconds: float = setting(
        30.0,
        "Speech that enrolls a voice without a passphrase. Less than 20 s costs accuracy.",
        (1.0, 300.0, "s"),
    )
    wait_s: float = setting(
        60.0, "How long an enrollment over MQTT waits for speech.", (5.0, 600.0, "s")
    )
    total_s: float = setting(
        300.0,
        "Longest enrollment over MQTT; the device grants no access meanwhile.",
        (10.0, 1800.0, "s"),
    )
    adapt: bool = setting(
        False,
        "Whether signatures adapt to changing voices, from utterances that are accepted with high"
        " confidence. `edge-voice profiles revert` undoes it.",
    )
    adapt_samples: int = setting(
        5,
        "How many adapted utterances a signature has at most; the newest ones stay.",
        (1, 20, "utterances"),
    )
    adapt_interval_s: float = setting(
        21600.0,
        "Shortest time between two adaptations of one person's signature.",
        (60.0, 604800.0, "s"),
    )


@dataclass(frozen=True)
class AccessConfig:
    """Which phrases count, how long decisions are valid, and the local time."""

    in_running_speech: bool = setting(
        True,
        "Whether a phrase is also recognized within running speech, and decided as soon as it"
        " ends. If not, only a phrase said by itself counts, once silence follows.",
    )
    decision_lifetime_s: float = setting(
        5.0,
        "How long a decision is valid. One that cannot be delivered in time is dropped, never sent"
        " late.",
        (0.5, 60.0, "s"),
    )
    time_zone: str | None = setting(
        None,
        "Time zone of the hours and dates in `edge-voice access`, such as Europe/Berlin.",
        form=(
            r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}",
            "the name of a time zone, such as Europe/Berlin or UTC",
        ),
        empty="the system's time zone",
        use="zone",
    )
    unknown_time: str = setting(
        "deny",
        "Whether people with hours or dates can open while the device does not know the time, as a"
        " Raspberry Pi without a clock chip until it reaches a time server: deny, allow (at any"
        " time, also after the last day), or trust (go by the clock, whatever it shows).",
        choices=("deny", "allow", "trust"),
    )


@dataclass(frozen=True)
class LockOutConfig:
    """Lock-out after too many rejections in a short time."""

    enabled: bool = setting(
        True,
        "Whether to lock out: nobody gets access for a while, longer each time. Anyone at the door"
        " can cause this on purpose; keep another way in.",
    )
    rejections: int = setting(5, "Rejections that cause a lock-out.", (1, 100, "rejections"))
    within_s: float = setting(300.0, "Time within which they are counted.", (10.0, 86400.0, "s"))
    budget: int = setting(
        20,
        "Attempts with an enrolled phrase, a recording or wrong digits that are borne in a longer"
        " time, however they are spread; one more causes a lock-out. A resident's own slips count"
        " only where no grant follows within `within_s`.",
        (1, 1000, "attempts"),
    )
    budget_s: float = setting(
        172800.0,
        "Time in which the whole budget fills up again, evenly: with the default, one attempt every"
        " 2.4 hours.",
        (60.0, 864000.0, "s"),
    )
    first_s: float = setting(60.0, "Duration of the first lock-out.", (5.0, 86400.0, "s"))
    growth: float = setting(
        2.0, "Factor by which each lock-out is longer than the one before.", (1.0, 10.0, "")
    )
    longest_s: float = setting(3600.0, "Longest lock-out.", (5.0, 604800.0, "s"))
    forget_s: float = setting(
        86400.0,
        "Time without a rejection after which the next lock-out is a first one again.",
        (60.0, 604800.0, "s"),
    )
    count_wrong_phrase: bool = setting(
        False,
        "Whether an enrolled voice with a wrong phrase counts as a rejection. So does everything"
        " that residents say near the microphone: only for a place where they do not talk.",
    )
    count_unknown_speaker: bool = setting(
        True, "Whether an enrolled phrase in another voice than its owner's counts as a rejection."
    )
    count_no_match: bool = setting(
        False,
        "Whether speech that matches neither an enrolled voice nor an enrolled phrase counts as a"
        " rejection. A television or passers-by would then cause a lock-out within minutes.",
    )


@dataclass(frozen=True)
class ReplayConfig:
    """Detection of recordings: utterances too similar to an earlier one."""

    enabled: bool = setting(
        True,
        "Whether to reject an utterance that is too similar to an earlier one to be spoken anew.",
    )
    remembered: int = setting(
        50,
        "How many utterances of each person are remembered, and as many rejected ones; the oldest"
        " make room. Each takes about 1 kB per second.",
        (5, 500, "utterances"),
    )
    days: int = setting(
        365,
        "How long an utterance is remembered; counted are days that the machine has run.",
        (1, 3650, "days"),
    )


@dataclass(frozen=True)
class TlsConfig:
    """Encryption of the connection to the broker."""

    enabled: bool = setting(
        False, "Whether to use TLS. The broker's certificate is always verified."
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
        None, "PEM file with the private key of `cert_file`.", empty="no certificate is shown"
    )


@dataclass(frozen=True)
class MqttConfig:
    """The broker that decisions are published to."""

    enabled: bool = setting(True, "Whether to publish at all.")
    host: str = setting(
        "localhost",
        "Name or address of the broker.",
        form=(r"[^\s/@]{1,253}", "a host name or an address, without mqtt:// and without a port"),
        use="host",
    )
    port: int | None = setting(
        None, "Port of the broker.", (1, 65535, ""), empty="1883, or 8883 with TLS"
    )
    username: str | None = setting(
        None,
        "User name at the broker.",
        form=(r".{1,256}", "1 to 256 characters"),
        empty="no user name is sent",
        use="word",
    )
    password_file: Path | None = setting(
        None,
        "File with the password on its only line, not readable by others. A bare name is first"
        " looked up in the service's systemd credentials.",
        empty="no password is sent",
    )
    tls: TlsConfig = section(TlsConfig)
    base_topic: str = setting(
        "edge-voice",
        "First part of every topic: BASE/DEVICE/status and BASE/DEVICE/decision.",
        form=_TOPIC,
        use="topic",
    )
    details_for: str | None = setting(
        None,
        "The user of the broker who gets the scores and the written phrase of every decision, on"
        " BASE/DEVICE/details/USER. Let nobody else read that topic (mosquitto: `pattern read"
        " edge-voice/+/details/%u`): it says what opens the door, and how near an attempt was.",
        form=(r"[a-z0-9_]{1,32}", "1 to 32 small letters, digits or _"),
        empty="nobody gets them",
        use="word",
    )
    keepalive_s: int = setting(
        30,
        "Keep-alive interval of the connection. After one and a half times this without a sign of"
        " life, the broker publishes that the device is offline.",
        (5, 3600, "s"),
    )
    protocol: str = setting(
        "auto",
        "Version of MQTT. With 5 the broker also drops decisions that expired before a receiver"
        " was connected; auto falls back to 3.1.1 if the broker does not support 5.",
        choices=("auto", "5", "3.1.1"),
    )
    client_id: str | None = setting(
        None,
        "MQTT client id; two clients with the same one disconnect each other.",
        form=(r"[A-Za-z0-9_.:-]{1,128}", "1 to 128 letters, digits, or one of - _ . :"),
        empty="edge-voice-DEVICE",
        use="word",
    )
    reconnect_max_s: float = setting(
        10.0,
        "Longest wait between two attempts to connect; it starts at half a second and doubles.",
        (1.0, 600.0, "s"),
    )

    @property
    def broker_port(self) -> int:
        """The port to connect to, default filled in."""
        if self.port is not None:
            return self.port
        return 8883 if self.tls.enabled else 1883


@dataclass(frozen=True)
class StoreConfig:
    """How the signature store is encrypted."""

    key_credential: str = setting(
        "store-key",
        "Name of the service's systemd credential with the key; used if there is one. Commands do"
        " not get it: name the same key in `key_file` for them.",
        form=_CREDENTIAL,
        use="word",
    )
    key_file: Path | None = setting(
        None,
        "File with the key, mode 0600, best on another medium than the signatures; `edge-voice"
        " keys make FILE` makes one.",
        empty="store.key in the state directory, made when needed: anyone with both can read all",
    )
    passphrase: bool = setting(
        False,
        "Whether a new store is locked with a passphrase if there is neither credential nor"
        " `key_file`. The service takes it from `passphrase_credential`, commands ask for it.",
    )
    passphrase_credential: str = setting(
        "store-passphrase",
        "Name of the service's systemd credential with the passphrase.",
        form=_CREDENTIAL,
        use="word",
    )
    debug_recordings: Path | None = setting(
        None,
        "Folder for recordings of the latest utterances, for troubleshooting. Anyone who gets them"
        " can play them to the device: never leave this on.",
        empty="no recording is ever kept",
        use="folder",
    )


@dataclass(frozen=True)
class SigningConfig:
    """The key that decisions are signed with."""

    key_file: Path | None = setting(
        None,
        "File with the key that signs every decision, made by `edge-voice signing new-key` and"
        " readable by the service alone. A bare name is first looked up in the service's systemd"
        " credentials. The lock must verify the signature: without a key anyone on the broker can"
        " publish `granted`.",
        empty="nothing is signed",
    )
    algorithm: str = setting(
        "ed25519",
        "Algorithm of the key: ed25519 (the receiver knows the public key only) or hmac-sha256"
        " (the receiver has the same key, and could sign with it).",
        choices=("ed25519", "hmac-sha256"),
    )


@dataclass(frozen=True)
class ChallengeConfig:
    """Random digits that are asked for after the passphrase."""

    required: str = setting(
        "never",
        "Who is asked for digits: never (only people whose own access says so), hours (everybody,"
        " at the hours below) or always. Anyone who has not enrolled digits with `edge-voice"
        " enroll NAME --digits` is then denied.",
        choices=("never", "hours", "always"),
    )
    hours: str = setting(
        "22:00-06:00",
        "The hours for `required: hours`, in the device's local time.",
        form=(f"{_TIME}-{_TIME}", "two times such as 22:00-06:00"),
        use="hours",
    )
    digits: int = setting(4, "How many digits are asked for, all different.", (4, 6, "digits"))
    answer_s: float = setting(10.0, "Time to say them after they are shown.", (3.0, 60.0, "s"))
    attempts: int = setting(2, "Attempts allowed, each with new digits.", (1, 5, "answers"))
    speak: bool = setting(
        False,
        "Whether the device speaks the digits, if espeak-ng is installed. They are published over"
        " MQTT in any case.",
    )
    language: str = setting(
        "en",
        "Language in which it speaks them, as espeak-ng names it.",
        form=(r"[a-z]{2,3}(-[a-z0-9]{2,8}){0,2}", "a language such as en, de or pt-br"),
        use="word",
    )
    output: str | None = setting(
        None, "The loudspeaker: a part of its name.", empty="the system's default", use="word"
    )

    @property
    def minutes(self) -> tuple[int, int]:
        """Begin and end of the hours, minutes after midnight."""
        begin, end = ((int(part[:2]) * 60 + int(part[3:])) for part in self.hours.split("-"))
        return begin, end


@dataclass(frozen=True)
class IdentificationConfig:
    """Who is speaking, whatever is said, while they speak."""

    enabled: bool = setting(
        False,
        "Whether to publish who speaks at the microphone, on BASE/DEVICE/speaker and"
        " BASE/DEVICE/utterance. Nothing of what is said, but anyone who may read these topics"
        " learns who is here and who talks when. It opens nothing.",
    )
    presence_s: float = setting(
        300.0,
        "How long after their last word a person is shown as present in Home Assistant.",
        (10.0, 86400.0, "s"),
    )


@dataclass(frozen=True)
class UnsignedConfig:
    """Commands that anyone on the broker may send, without a signature."""

    listening: bool = setting(
        False,
        "BASE/DEVICE/set/listening, ON or OFF, as a switch of Home Assistant sends it. Risk: any"
        " client of the broker can stop the device from listening, so that nobody gets in.",
    )
    identification: bool = setting(
        False,
        "BASE/DEVICE/set/identification, ON or OFF, where `identification.enabled` is on. Risk: any"
        " client of the broker can have the device tell who speaks again after somebody switched"
        " that off.",
    )
    lift_lockout: bool = setting(
        False,
        "BASE/DEVICE/set/lift_lockout, PRESS. Risk: anyone at the door who is also on the broker"
        " can guess without end; the lock-out no longer stops them.",
    )
    lock_out: bool = setting(
        False,
        "BASE/DEVICE/set/lock_out, PRESS. Risk: anyone on the broker can lock everybody out until"
        " the lock-out ends or is lifted.",
    )
    enroll: bool = setting(
        False,
        "BASE/DEVICE/set/enroll, PRESS, enrolls the person named by set/enroll_person. Risk:"
        " anyone on the broker who can speak at the door can enroll themselves, which opens nothing"
        " until it is confirmed, and nobody gets in meanwhile. Allow it only while somebody is"
        " being enrolled; a signed enroll_start does not need it.",
    )
    enroll_cancel: bool = setting(
        False,
        "BASE/DEVICE/set/enroll_cancel, PRESS. Risk: anyone on the broker can cancel every"
        " enrollment.",
    )
    enroll_confirm: bool = setting(
        False,
        "BASE/DEVICE/set/enroll_confirm, PRESS, lets the person open who was enrolled over MQTT."
        " Risk: together with enroll, anyone on the broker who can speak at the door gets in. A"
        " signed enroll_confirm and 'edge-voice profiles confirm' do not need it.",
    )
    enroll_person: bool = setting(
        False,
        "BASE/DEVICE/set/enroll_person, a name of up to 64 characters, or nothing for nobody."
        " Risk, together with enroll: anyone on the broker chooses the name. It is part of the"
        " status, which the broker retains.",
    )


@dataclass(frozen=True)
class CommandsConfig:
    """Who may send commands over MQTT. Refused commands are in the audit trail."""

    keys_file: Path | None = setting(
        None,
        "YAML file with the keys that may send commands and the role of each (owner, operator or"
        " observer), readable by the service alone. A bare name is first looked up in the"
        " service's systemd credentials.",
        empty="no signed command is accepted",
    )
    clock_allowance_s: float = setting(
        5.0, "How far the clock of a command's sender may be from this device's.", (0.0, 60.0, "s")
    )
    unsigned: UnsignedConfig = section(UnsignedConfig)


@dataclass(frozen=True)
class HomeAssistantConfig:
    """Home Assistant discovery, over the same broker."""

    discovery: bool = setting(
        False,
        "Whether to announce the device to Home Assistant, with entities for its decisions, its"
        " state, and each unsigned command that `commands.unsigned` allows.",
    )
    prefix: str = setting(
        "homeassistant",
        "Discovery prefix, as in the MQTT settings of Home Assistant.",
        form=_TOPIC,
        use="topic",
    )
    sound_interval_s: float = setting(
        10.0,
        "Interval at which the sound level is published while `discovery` is on.",
        (1.0, 3600.0, "s"),
    )


@dataclass(frozen=True)
class AuditConfig:
    """How long entries stay in the audit trail; the limit reached first counts."""

    days: int = setting(
        365,
        "Entries older than this are removed; counted are days that the machine has run.",
        (1, 3650, "days"),
    )
    most_entries: int = setting(
        100_000, "Most entries; the oldest are removed first.", (1000, 500_000, "entries")
    )
    most_mb: int = setting(32, "Most space the entries may take.", (1, 1024, "MB"))


@dataclass(frozen=True)
class MonitorConfig:
    """The local socket of the running service for `edge-voice monitor`."""

    enabled: bool = setting(
        True,
        "Whether to open a local socket for it. Only the service's own user, its group where"
        " systemd started it, and root can connect, and the socket accepts no commands.",
    )
    socket: Path | None = setting(
        None,
        "Path of the socket; the service's group may use one that is set here.",
        empty="monitor.sock in /run/edge-voice where systemd starts the service, else in the state"
        " directory",
        use="socket",
    )


@dataclass(frozen=True)
class MetricsConfig:
    """Metrics of the running service for Prometheus."""

    enabled: bool = setting(
        False,
        "Whether to serve them at http://ADDRESS:PORT/metrics. Anyone with an account on this"
        " machine can read them: how often somebody came to the door, and when.",
    )
    address: str = setting(
        "127.0.0.1",
        "Address to serve them at; only this machine's own, 127.0.0.1 or ::1.",
        form=(r"[0-9A-Fa-f.:]{2,45}", "127.0.0.1 or ::1"),
        use="address",
    )
    port: int = setting(9789, "Port to serve them at.", (1, 65535, ""))

    @property
    def stays_here(self) -> bool:
        """Whether the address is one that no other machine can reach."""
        return _is_loopback(self.address)


@dataclass(frozen=True)
class HttpConfig:
    """The HTTP server, `edge-voice serve`."""

    address: str = setting(
        "127.0.0.1",
        "Address to serve at: 127.0.0.1 for programs on this machine alone, 0.0.0.0 for every"
        " machine in the network, `::` for these over IPv6 too. Anything but this machine's own is"
        " served over TLS alone.",
        form=(r"[0-9A-Fa-f.:]{2,45}", "an address such as 127.0.0.1 or 0.0.0.0"),
        use="address",
    )
    port: int = setting(8443, "Port to serve at.", (1, 65535, ""))
    names: str | None = setting(
        None,
        "More host names and addresses under which clients reach it, with commas between them. A"
        " request to any other name is refused, and they are in the certificate.",
        form=(
            r"[A-Za-z0-9_.:-]{1,253}(, ?[A-Za-z0-9_.:-]{1,253}){0,15}",
            "host names or addresses with commas between them",
        ),
        empty="this machine's own name, the same with .local, localhost, and its addresses",
        use="word",
    )
    cert_file: Path | None = setting(
        None,
        "PEM file with the server's certificate, and those of the authorities that signed it.",
        empty="one of its own, made in the state directory; `edge-voice serve --fingerprint` shows"
        " its fingerprint",
    )
    key_file: Path | None = setting(
        None,
        "PEM file with the private key of `cert_file`. A bare name is first looked up in the"
        " service's systemd credentials.",
        empty="the key is in `cert_file`",
    )

    @property
    def stays_here(self) -> bool:
        """Whether the address is one that no other machine can reach."""
        return _is_loopback(self.address)

    @property
    def more_names(self) -> list[str]:
        """`names`, one by one."""
        return [name.strip() for name in (self.names or "").split(",") if name.strip()]


@dataclass(frozen=True)
class AssistantConfig:
    """The assistants, each under its id in MQTT topics and with a port of its own.

    To tell rooms apart, give each satellite its own: an assistant does not say who is calling.
    """

    name: str | None = setting(
        None,
        "Display name.",
        form=(r".{1,64}", "1 to 64 characters"),
        empty="its id",
    )
    port: int = setting(10310, "Port that the assistant connects to.", (1, 65535, ""))
    speech_to_text: str = setting(
        "127.0.0.1:10300",
        "Host and port of the Wyoming program that turns its speech into text.",
        form=(r"[^\s/@]{1,253}:[0-9]{1,5}", "a host and a port, such as 127.0.0.1:10300"),
        use="place",
    )
    gate: str = setting(
        "open",
        "Whose words reach the assistant: open (everybody's) or enrolled (only those of enrolled"
        " people; what a stranger or the television says comes back as an empty text).",
        choices=("open", "enrolled"),
    )
    people: str | None = setting(
        None,
        "Who alone gets through where the gate is `enrolled`: names or ids with commas between"
        " them.",
        form=(r".{1,1000}", "names with commas between them"),
        empty="everybody enrolled",
    )
    prefix: bool = setting(
        False,
        "Whether the text begins with who spoke, as in `Ada: turn on the light`. For conversation"
        " agents that are language models; the built-in one of Home Assistant then understands"
        " nothing.",
    )

    @property
    def program(self) -> tuple[str, int]:
        """Host and port of `speech_to_text`."""
        host, _, port = self.speech_to_text.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def names(self) -> list[str]:
        """`people`, one by one."""
        return [name.strip() for name in (self.people or "").split(",") if name.strip()]


@dataclass(frozen=True)
class WyomingConfig:
    """The server between voice assistants and their speech-to-text, `edge-voice wyoming`."""

    address: str = setting(
        "127.0.0.1",
        "Address to serve at: 127.0.0.1 for an assistant on this machine, 0.0.0.0 for every"
        " machine in the network, `::` for these over IPv6 too. The Wyoming protocol has neither"
        " encryption nor passwords.",
        form=(r"[0-9A-Fa-f.:]{2,45}", "an address such as 127.0.0.1 or 0.0.0.0"),
        use="address",
    )
    announce: bool = setting(
        True,
        "Whether the assistants are announced in the network by zeroconf, so that Home Assistant"
        " finds them; never where only this machine is served.",
    )
    assistants: Mapping[str, AssistantConfig] = several(AssistantConfig, _ID)

    @property
    def stays_here(self) -> bool:
        """Whether the address is one that no other machine can reach."""
        return _is_loopback(self.address)


@dataclass(frozen=True)
class Config:
    """All settings; `Config()` is the defaults."""

    device: DeviceConfig = section(DeviceConfig)
    audio: AudioConfig = section(AudioConfig)
    microphones: Mapping[str, MicrophoneConfig] = several(MicrophoneConfig, _ID)
    recognition: RecognitionConfig = section(RecognitionConfig)
    security: SecurityConfig = section(SecurityConfig)
    enrollment: EnrollmentConfig = section(EnrollmentConfig)
    access: AccessConfig = section(AccessConfig)
    identification: IdentificationConfig = section(IdentificationConfig)
    lockout: LockOutConfig = section(LockOutConfig)
    replay: ReplayConfig = section(ReplayConfig)
    mqtt: MqttConfig = section(MqttConfig)
    store: StoreConfig = section(StoreConfig)
    signing: SigningConfig = section(SigningConfig)
    challenge: ChallengeConfig = section(ChallengeConfig)
    commands: CommandsConfig = section(CommandsConfig)
    homeassistant: HomeAssistantConfig = section(HomeAssistantConfig)
    audit: AuditConfig = section(AuditConfig)
    monitor: MonitorConfig = section(MonitorConfig)
    metrics: MetricsConfig = section(MetricsConfig)
    http: HttpConfig = section(HttpConfig)
    wyoming: WyomingConfig = section(WyomingConfig)
    state_directory: Path | None = setting(
        None,
        "Folder of the signatures, the audit trail and other state.",
        empty="$STATE_DIRECTORY (systemd sets it), else ~/.local/state/edge-voice",
        use="folder",
    )
    models_directory: Path | None = setting(
        None,
        "Folder of models of your own, with their cards; they are not held against the hashes of"
        " this release.",
        empty="the models that were installed",
        use="folder",
    )
    log_level: str = setting(
        "info", "How much is logged.", choices=("debug", "info", "warning", "error")
    )

    @property
    def state_path(self) -> Path:
        """The state directory, default filled in; it need not exist yet.

        Raises:
            ConfigError: this user has no home directory, and nothing names another one.
        """
        if self.state_directory is not None:
            return self.state_directory
        # systemd separates several directories by colons; the first one is ours.
        given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
        if given:
            return Path(given)
        base = os.environ.get("XDG_STATE_HOME", "")
        if base:
            return Path(base) / "edge-voice"
        home = home_directory()
        if home is None:
            raise ConfigError("this user has no home directory; set state_directory, or HOME")
        return home / ".local" / "state" / "edge-voice"


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def home_directory() -> Path | None:
    """This user's, if there is one: a container's user often has neither $HOME nor an account."""
    try:
        return Path.home()
    except RuntimeError:
        return None


@dataclass(frozen=True)
class Setting:
    """One row of the table: its path with dots, its type (a dataclass for a section), its rule.

    Where `several`, any number of sections is inside it, by keys of its rule's pattern.
    """

    path: str
    kind: Any
    default: Any
    rule: Rule
    several: bool = False

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
        kind = item.metadata.get("several")
        rows[item.name] = Setting(
            path, kind or hints[item.name], default, item.metadata["rule"], kind is not None
        )
    return rows


def all_settings(section: type = Config, prefix: str = "") -> Iterator[Setting]:
    """Every row of the table in order, each section before what is inside it.

    What is inside one of several sections has `ID` for its key.
    """
    for row in children(section, prefix).values():
        yield row
        if row.is_section:
            yield from all_settings(row.kind, f"{row.path}.ID" if row.several else row.path)

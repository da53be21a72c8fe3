"""Every setting there is: its name, default, range, unit and meaning, in one table.

The dataclasses below are the table. Reading a file, checking it and documenting it are all
derived from their fields; there is no second list to keep in step.
"""

# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.config.audit import AuditConfig
from edge.config.broker import MqttConfig
from edge.config.challenge import ChallengeConfig
from edge.config.commands import CommandsConfig
from edge.config.homeassistant import HomeAssistantConfig
from edge.config.lockout import LockOutConfig
from edge.config.metrics import MetricsConfig
from edge.config.monitor import MonitorConfig
from edge.config.replay import ReplayConfig
from edge.config.rules import Rule, section, setting
from edge.config.signing import SigningConfig
from edge.config.store import StoreConfig


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
class EnrolmentConfig:
    """What makes a signature complete."""

    repetitions: int = setting(
        3, "How often a passphrase is said to enrol it.", unit="repetitions", least=3, most=20
    )
    voice_seconds: float = setting(
        30.0,
        "How much speech enrols a voice without a passphrase. Less than 20 s costs accuracy.",
        unit="s",
        least=1.0,
        most=300.0,
    )
    wait_s: float = setting(
        60.0,
        "How long an enrolment over MQTT waits for somebody to speak.",
        unit="s",
        least=5.0,
        most=600.0,
    )
    total_s: float = setting(
        300.0,
        "How long an enrolment over MQTT may take in all; nothing opens meanwhile.",
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
    enrolment: EnrolmentConfig = section(EnrolmentConfig, "What makes a signature complete.")
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

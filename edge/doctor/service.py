"""The service's systemd unit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.doctor.finding import Finding, green, red, skipped, yellow

_UNIT = "edge-voice.service"
_ANSWER_S = 5.0
_ASKED = ("LoadState", "UnitFileState", "ActiveState", "SubState", "NRestarts", "Result")

NO_SYSTEMD = skipped("service.no_systemd", "no systemd here: {why}")
ABSENT = yellow(
    "service.absent",
    "there is no unit edge-voice: the service does not start by itself",
    "install the service with sudo tools/install, or start 'edge-voice run' yourself",
)
BROKEN = red(
    "service.broken",
    "systemd cannot read the unit edge-voice ({load})",
    "see the reason: systemctl status edge-voice",
)
INSTALLED = green("service.installed", "the unit edge-voice is installed")
ENABLED = green("service_start.enabled", "it starts at boot")
DISABLED = yellow(
    "service_start.disabled",
    "it does not start at boot ({state})",
    "run: sudo systemctl enable edge-voice",
)
ACTIVE = green("service_state.active", "it is running")
STARTING = yellow(
    "service_state.starting",
    "it is starting or stopping ({state}, {sub})",
    "wait a minute and check again; if that does not change: journalctl -u edge-voice -n 50",
)
FAILED = red(
    "service_state.failed",
    "it has failed ({result})",
    "see the reason: journalctl -u edge-voice -n 50",
)
INACTIVE = red(
    "service_state.inactive",
    "it is not running: nobody can open",
    "run: sudo systemctl start edge-voice",
)
NO_RESTARTS = green("service_restarts.none", "it has not been restarted by systemd")
WATCHDOG = yellow(
    "service_restarts.watchdog",
    "restarts by systemd: {count}; it hung, and the watchdog ended it",
    "see when: journalctl -b -u edge-voice",
)
RESTARTED = yellow(
    "service_restarts.some",
    "restarts by systemd: {count}",
    "see why it ended: journalctl -u edge-voice -n 200",
)


@dataclass(frozen=True)
class Unit:
    """A systemd unit.

    Attributes:
        properties: its states, by systemd's names; empty where systemd does not answer.
        settings: the lines of the unit and its drop-ins, by key, in order.
        why: why nothing is known, else empty.
    """

    properties: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    why: str = ""

    @property
    def installed(self) -> bool:
        """Whether the unit is loaded."""
        return self.properties.get("LoadState") == "loaded"

    @property
    def running(self) -> bool:
        """Whether the service is running."""
        return self.properties.get("ActiveState") == "active"

    @property
    def state_directory(self) -> Path | None:
        """The service's state directory; None where the unit sets none."""
        names = self.settings.get("StateDirectory", ())
        return Path("/var/lib") / names[-1].split()[0] if names and names[-1].split() else None


def ask_systemd() -> Unit:
    """The unit, within seconds."""
    if shutil.which("systemctl") is None:
        return Unit(why="there is no systemctl")
    shown = _output("systemctl", "show", "--property=" + ",".join(_ASKED), _UNIT)
    if shown is None:
        return Unit(why="systemctl does not answer")
    properties = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if "LoadState" not in properties:
        return Unit(why="systemctl does not answer")
    text = _output("systemctl", "cat", _UNIT) if properties["LoadState"] == "loaded" else None
    return Unit(properties, _settings(text or ""))


def check(unit: Unit) -> Iterator[Finding]:
    """Whether it is installed, enabled, running, and was not restarted."""
    if not unit.properties:
        yield NO_SYSTEMD(why=unit.why)
        return
    load, active, sub, result = (
        unit.properties.get(name, "") for name in ("LoadState", "ActiveState", "SubState", "Result")
    )
    if load == "not-found":
        yield ABSENT()
        return
    if load != "loaded":
        yield BROKEN(load=load)
        return
    yield INSTALLED()
    enabled = unit.properties.get("UnitFileState", "")
    yield ENABLED() if enabled.startswith("enabled") else DISABLED(state=enabled or "static")
    if active == "active":
        yield ACTIVE()
    elif active == "failed":
        yield FAILED(result=result)
    elif active == "inactive":
        yield INACTIVE()
    else:
        yield STARTING(state=active, sub=sub)
    count = unit.properties.get("NRestarts", "0")
    if count in ("", "0"):
        yield NO_RESTARTS()
    elif _hung():
        yield WATCHDOG(count=count)
    else:
        yield RESTARTED(count=count)


def _hung() -> bool:
    # Once it runs again, its `Result` is that of the new start.
    journal = _output("journalctl", "--unit", _UNIT, "--boot", "--output=cat", "--lines=5000")
    return "Watchdog timeout" in (journal or "")


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 (fixed words)
            [command[0], "--no-pager", *command[1:]],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _settings(text: str) -> dict[str, tuple[str, ...]]:
    """The settings of unit files; an empty value resets a key, as in systemd."""
    settings: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if not equals or key.startswith(("#", ";", "[")):
            continue
        settings[key] = (*settings.get(key, ()), value) if value else ()
    return settings

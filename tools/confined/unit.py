"""Runs other commands within the limits of the unit file."""

from __future__ import annotations

from pathlib import Path

UNIT = Path(__file__).resolve().parents[2] / "systemd" / "edge-voice.service"
SERVER = UNIT.with_name("edge-voice-serve.service")
ASSISTANTS = UNIT.with_name("edge-voice-wyoming.service")

_OF_THE_SERVICE = (
    "Type",
    "NotifyAccess",
    "ExecStart",
    "ExecReload",
    "Restart",
    "RestartSec",
    "WatchdogSec",
    # systemd would remove it from the service when the command ends.
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
)


def limited(unit: str, command: str, *extra: str) -> str:
    """A unit that runs another command once, within all limits of the service.

    Args:
        unit: text of the service's unit.
        command: the command to run.
        extra: more lines for its [Service] section.
    """
    section = unit.partition("[Service]\n")[2].partition("\n[")[0]
    kept = [line for line in section.splitlines() if line.partition("=")[0] not in _OF_THE_SERVICE]
    return "\n".join(["[Service]", "Type=oneshot", f"ExecStart={command}", *kept, *extra, ""])

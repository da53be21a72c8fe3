"""The service, as far as setting up goes: started again with what was written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from edge.errors import EnvironmentFault

UNIT = "edge-voice.service"
_LIMIT_S = 120


def can_start() -> bool:
    """Whether systemd runs this machine, knows the service, and does what this user says."""
    if os.geteuid() != 0 or not Path("/run/systemd/system").is_dir():
        return False
    return _systemctl("cat", UNIT).returncode == 0


def start() -> None:
    """Start the service, now and at every start of the machine.

    Raises:
        EnvironmentFault: it does not start.
    """
    for action in ("enable", "restart"):
        done = _systemctl(action, UNIT)
        if done.returncode:
            raise EnvironmentFault(
                "everything is set up, but the service did not start; journalctl -u edge-voice"
                " says why"
            )


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 (every argument is written above)
        ["systemctl", "--quiet", *arguments],  # noqa: S607 (found where systemd put it)
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT_S,
    )

"""A systemd service of one user, for a configuration of their own: written, and started."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edge.errors import EnvironmentFault
from edge.installation.service import UNIT, systemctl
from edge.private_files import make_folder, write_file

# What a user's own systemd can do without root: system calls, sockets, limits. What hides files and
# devices needs a namespace, which many a kernel refuses to users: the service would not start. Nor
# can it filter addresses. MemoryDenyWriteExecute= is left out as in the system's unit. The state
# directory is the program's own, so that commands find it.
_UNIT = """\
[Unit]
Description=Edge Voice: voice access control
After=pipewire.service pulseaudio.service
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/sh -c 'kill -HUP $$MAINPID'
Restart=always
RestartSec=2
TimeoutStartSec=60
TimeoutStopSec=5
WatchdogSec=30
MemoryMax=512M
TasksMax=256
UMask=0077
LimitCORE=0
NoNewPrivileges=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=default.target
"""


def is_possible() -> bool:
    """Whether this user has a systemd of their own; root has the system's."""
    return os.geteuid() != 0 and systemctl("--user", "show-environment")


def unit_file() -> Path:
    """Where the unit lies."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base else Path.home() / ".config") / "systemd" / "user" / UNIT


def unit_text(config: Path) -> str:
    """The unit for a configuration."""
    program = Path(sys.argv[0])
    words = [str(program.absolute())]
    if program.name != "edge-voice":  # run as a module
        words = [sys.executable, "-m", "edge.cli"]
    return _UNIT.format(command=" ".join(map(_quoted, [*words, "run", "--config", str(config)])))


def write_unit(config: Path) -> Path:
    """Write the unit for a configuration; where it lies. Raises `EnvironmentFault`."""
    file = unit_file()
    try:
        make_folder(file.parent)
        write_file(file, unit_text(config).encode(), mode=0o644, replace=True)
    except OSError as error:
        raise EnvironmentFault(
            f"{file}: cannot be written ({error.strerror}); check its folder, or use --no-service"
        ) from None
    return file


def start() -> None:
    """Start the service, now and whenever this user logs in. Raises `EnvironmentFault`."""
    for words in (("daemon-reload",), ("enable", UNIT), ("restart", UNIT)):
        if not systemctl("--user", *words):
            raise EnvironmentFault(
                "everything is set up, but the service did not start; see journalctl --user -u"
                " edge-voice"
            )


def _quoted(word: str) -> str:
    """A word as it stands in ExecStart= (systemd.service(5), systemd.unit(5))."""
    for special, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(special, written)
    return f'"{word}"'

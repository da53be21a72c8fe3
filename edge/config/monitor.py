"""The settings of the local socket that `edge-voice monitor` looks through."""

# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.config.rules import setting


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

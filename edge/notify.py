"""Tell systemd how the service is: the `sd_notify` protocol, a line of text over a socket.

Described in sd_notify(3). Outside systemd there is no socket, and nothing is sent.
"""

from __future__ import annotations

import logging
import os
import socket
import time

_log = logging.getLogger(__name__)


class Notifier:
    """Sends to the socket that $NOTIFY_SOCKET names, or nowhere.

    Attributes:
        watchdog_s: systemd ends the service when `watchdog` is not called for this many seconds;
            None when nobody watches. Call it at least twice as often.
    """

    def __init__(self) -> None:
        self._address = _address()
        self.watchdog_s = _watchdog_s() if self._address is not None else None

    def ready(self, status: str = "") -> None:
        """The service does its work from now on."""
        self._send("READY=1", status)

    def reloading(self) -> None:
        """The configuration is read again; `ready` says when that is over."""
        # The time lets systemd tell this reload from one that it asked for before.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def status(self, status: str) -> None:
        """How the service is, in one line for people; `systemctl status` shows it."""
        self._send("", status)

    def watchdog(self) -> None:
        """The service is alive."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str = "") -> None:
        """The service is about to end."""
        self._send("STOPPING=1", status)

    def _send(self, word: str, status: str = "") -> None:
        if self._address is None:
            return
        lines = [word] if word else []
        if status:
            lines.append("STATUS=" + " ".join(status.split()))
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                # A watchdog that waits for its watcher is none.
                line.setblocking(False)
                line.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            _log.debug("systemd could not be told %s: %s", word or "the status", error)


def _address() -> str | None:
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def _watchdog_s() -> float | None:
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    # The variables are inherited; they are meant for the process that they name.
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if not (microseconds.isascii() and microseconds.isdigit()) or int(microseconds) == 0:
        return None
    return int(microseconds) / 1_000_000

"""Notifies systemd of the service's state: the protocol of sd_notify(3), text over a socket."""

from __future__ import annotations

import logging
import os
import socket
import time

_log = logging.getLogger(__name__)


class Notifier:
    """Sends to the socket in $NOTIFY_SOCKET, if any."""

    def __init__(self) -> None:
        name = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name

    def ready(self, status: str = "") -> None:
        """The service has started, or has reloaded."""
        self._send("READY=1", status)

    def reloading(self) -> None:
        """The service reloads its configuration; call `ready` afterwards."""
        # The time lets systemd distinguish this reload from an earlier one.
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def watchdog(self) -> None:
        """The service is alive."""
        self._send("WATCHDOG=1")

    def stopping(self, status: str = "") -> None:
        """The service is stopping."""
        self._send("STOPPING=1", status)

    def _send(self, word: str, status: str = "") -> None:
        if not self._address.startswith(("/", "\0")):
            return
        text = f"{word}\nSTATUS={' '.join(status.split())}" if status else word
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                # It must not wait for systemd.
                line.setblocking(False)
                line.sendto(text.encode(), self._address)
        except OSError as error:
            _log.debug("cannot notify systemd of %s: %s", word, error)

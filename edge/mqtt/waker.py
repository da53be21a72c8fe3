"""What ends a wait for the network early."""

from __future__ import annotations

import contextlib
import select
import socket


class Waker:
    """Wakes a thread that waits in `select`."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)

    def fileno(self) -> int:
        """What `select` waits on."""
        return self._receiver.fileno()

    def wake(self) -> None:
        """Wake the thread, now or as soon as it waits."""
        with contextlib.suppress(OSError):  # woken often enough already, or closed
            self._sender.send(b"\0")

    def drain(self) -> None:
        """Forget having been woken."""
        with contextlib.suppress(BlockingIOError):
            self._receiver.recv(4096)

    def wait(self, timeout_s: float) -> None:
        """Wait until woken or until time is over."""
        if select.select([self], [], [], max(0.0, timeout_s))[0]:
            self.drain()

    def close(self) -> None:
        """Give the sockets back; waking does nothing from now on."""
        self._receiver.close()
        self._sender.close()

"""A server that runs until SIGTERM or SIGINT."""

from __future__ import annotations

import signal
from typing import Protocol


class Server(Protocol):
    """Something that serves."""

    def run(self) -> None:
        """Serve until stopped."""
        ...

    def stop(self) -> None:
        """Have `run` return; may be called from a signal handler."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class UntilStopped:
    """Takes both signals from now on, so that none is lost while the server is made."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._stopped = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)

    def run(self, server: Server) -> None:
        """Serve, and close the server after a signal."""
        self._server = server
        if not self._stopped:
            server.run()
        server.close()

    def _stop(self, *_: object) -> None:
        self._stopped = True
        if self._server is not None:
            self._server.stop()

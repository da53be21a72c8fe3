"""The monitor's end of the socket, which outlives a restart of the service."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.errors import EnvironmentFault
from edge.monitor.messages import LONGEST_LINE, Message, decode

_AGAIN_S = 0.5
_CONNECT_S = 2.0


class NoService(EnvironmentFault):
    """No service can be watched."""


def connect(paths: Sequence[Path]) -> socket.socket:
    """Connect to the first service that answers.

    Raises:
        NoService: none does, or this user may not connect.
    """
    forbidden: Path | None = None
    for path in paths:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(_CONNECT_S)
        try:
            line.connect(str(path))
        except PermissionError:
            forbidden = forbidden or path
        except OSError:  # missing, left behind, or too long
            pass
        else:
            line.setblocking(False)
            return line
        line.close()
    if forbidden is not None:
        raise NoService(
            f"{forbidden}: only for root, the service's user and its group; use sudo, or join the"
            " group with 'sudo usermod -aG edge-voice $USER' and log in again"
        )
    raise NoService(
        "no service is running: start one ('systemctl start edge-voice' or 'edge-voice run'), or"
        " listen right here with 'edge-voice monitor --listen'"
    )


class Stream:
    """Messages from one connection after another.

    Args:
        line: an open connection.
        again: reconnects when it breaks; None to end then.

    Attributes:
        ended: whether nothing more will come.
    """

    def __init__(
        self, line: socket.socket, again: Callable[[], socket.socket] | None = None
    ) -> None:
        self.ended = False
        self._line: socket.socket | None = line
        self._again = again
        self._try_at = 0.0
        self._rest = b""
        self._greeted = False

    def close(self) -> None:
        """Disconnect."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def wait(self, timeout_s: float, also: Sequence[int] = ()) -> list[Message]:
        """The messages that come within a time; returns as soon as there are any.

        A broken connection gives one message of the type `gone`; then it reconnects.

        Args:
            timeout_s: how long to wait.
            also: file descriptors that end the wait too, once they can be read.

        Raises:
            NoService: the service refused the connection.
        """
        if self._line is None and not self.ended and time.monotonic() >= self._try_at:
            self._reconnect()
        line = self._line
        watched = list(also) if line is None else [*also, line.fileno()]
        ready, _, _ = select.select(watched, [], [], timeout_s)
        if line is None or line.fileno() not in ready:
            return []
        return self._read(line)

    def _reconnect(self) -> None:
        self._try_at = time.monotonic() + _AGAIN_S
        if self._again is not None:
            with contextlib.suppress(NoService):
                self._line = self._again()

    def _read(self, line: socket.socket) -> list[Message]:
        try:
            data = line.recv(LONGEST_LINE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        messages = [message for message in map(decode, lines) if message is not None]
        for message in messages:
            if message["type"] == "refused" and not self._greeted:
                raise NoService(f"the service refused: {message.get('reason')}")
        self._greeted = self._greeted or bool(messages)
        if data and len(self._rest) <= LONGEST_LINE:
            return messages
        line.close()
        self._line, self._rest = None, b""
        self._try_at = time.monotonic() + _AGAIN_S
        if self._again is None:
            self.ended = True
            return messages
        return [*(m for m in messages if m["type"] != "refused"), {"type": "gone"}]

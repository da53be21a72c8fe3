"""The watcher's end of the socket: messages as they come, also over a restart of the daemon."""

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


class NobodyThere(EnvironmentFault):
    """No daemon can be watched."""


def connect(paths: Sequence[Path]) -> socket.socket:
    """Connect to the first daemon that answers.

    Raises:
        NobodyThere: none does, or it is another user's; the message says what to do.
    """
    forbidden: Path | None = None
    for path in paths:
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(_CONNECT_S)
        try:
            line.connect(str(path))
        except PermissionError:
            forbidden = forbidden or path
        except OSError:  # not there, left over from a daemon that was killed, or too long a path
            pass
        else:
            line.setblocking(False)
            return line
        line.close()
    if forbidden is not None:
        raise NobodyThere(
            f"{forbidden}: may only be opened by root, the service's user and its group; use sudo,"
            " or join the group with 'sudo usermod -aG edge-voice $USER' and log in anew"
        )
    raise NobodyThere(
        "no running service can be watched: start one ('systemctl start edge-voice', or"
        " 'edge-voice run'), or listen right here with 'edge-voice monitor --listen'"
    )


class Stream:
    """Messages from one connection after another.

    Args:
        line: a connection that stands.
        again: makes another one when it broke; None where its end is the end.

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
        """Look no more."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def wait(self, timeout_s: float, also: Sequence[int] = ()) -> list[Message]:
        """What comes within a time, mostly nothing; returns early when something does.

        A broken connection is a message of the type `gone`, once; then it is tried again.

        Args:
            timeout_s: how long to wait.
            also: file descriptors; something to read there ends the wait too.

        Raises:
            NobodyThere: the daemon refused to be watched.
        """
        if self._line is None and not self.ended and time.monotonic() >= self._try_at:
            self._connect_again()
        line = self._line
        watched = list(also) if line is None else [*also, line.fileno()]
        ready, _, _ = select.select(watched, [], [], timeout_s)
        if line is None or line.fileno() not in ready:
            return []
        return self._read(line)

    def _connect_again(self) -> None:
        self._try_at = time.monotonic() + _AGAIN_S
        if self._again is not None:
            with contextlib.suppress(NobodyThere):
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
                raise NobodyThere(f"the service cannot be watched: {message.get('reason')}")
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

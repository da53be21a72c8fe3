"""Who is on the other end of a local socket."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

from edge.config import Config
from edge.errors import EnvironmentFault

_PEER_GROUPS = getattr(socket, "SO_PEERGROUPS", 59)
_MOST_GROUPS = 256
"""As many as fit into what Python reads of a socket's option."""


def may_watch(peer: socket.socket, *, shared: bool) -> bool:
    """Whether the process that connected may watch this one.

    The kernel says who it is (SO_PEERCRED and SO_PEERGROUPS, unix(7) and socket(7)); the modes of
    socket and folder say the same, and may have been changed.

    Args:
        peer: the accepted connection.
        shared: whether members of this process's group may too, besides its own user and root.
    """
    size = struct.calcsize("3i")
    _, user, group = struct.unpack(
        "3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    if user in {0, os.geteuid()}:
        return True
    return shared and os.getegid() in {group, *_groups(peer)}


def _groups(peer: socket.socket) -> tuple[int, ...]:
    try:
        found = peer.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, 4 * _MOST_GROUPS)
    except OSError:  # a kernel before 4.13, or more groups than anybody has
        return ()
    return struct.unpack(f"{len(found) // 4}I", found)


_NAME = "monitor.sock"
SYSTEM = Path("/run/edge-voice") / _NAME
"""Where it is when systemd starts the service as its unit says."""
_LONGEST = 107
"""Bytes of a socket's path (unix(7))."""


@dataclass(frozen=True)
class Place:
    """Where a daemon opens its socket.

    Attributes:
        path: the socket.
        shared: whether the group of the daemon may use it too.
    """

    path: Path
    shared: bool


def place_of(config: Config) -> Place:
    """Where a daemon with this configuration opens its socket."""
    if config.monitor.socket is not None:
        return Place(config.monitor.socket, shared=True)
    # systemd separates several directories by colons; the first one is ours.
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Place(Path(given) / _NAME, shared=True)
    return Place(config.state_path / _NAME, shared=False)


def candidates(config: Config) -> list[Path]:
    """Where a daemon may be found, the most likely place first."""
    if config.monitor.socket is not None:
        return [config.monitor.socket]
    return [config.state_path / _NAME, SYSTEM]


class Claim:
    """The socket's place, held against other daemons for as long as this one lives.

    A lock beside the socket says who has it, and the kernel takes it from whoever is killed. So
    what is found there while the lock is ours is left over from a daemon that is gone.

    Args:
        place: where.

    Raises:
        EnvironmentFault: another daemon has it, or there can be no socket at that place.
    """

    def __init__(self, place: Place) -> None:
        self._path = place.path
        self._lock_path = Path(f"{place.path}.lock")
        if len(os.fsencode(place.path)) > _LONGEST:
            raise EnvironmentFault(
                f"{place.path}: too long for a socket; name a shorter one in monitor.socket"
            )
        try:
            self._lock = _locked(self._lock_path)
        except OSError as error:
            raise EnvironmentFault(f"{self._lock_path}: {error.strerror}") from None
        if self._lock is None:
            raise EnvironmentFault(
                f"{place.path}: another daemon is watched there; give each a state_directory or a"
                " monitor.socket of its own"
            )
        try:
            self.socket = self._open(place.shared)
        except OSError as error:
            self._let_go()
            raise EnvironmentFault(f"{place.path}: {error.strerror or error}") from None

    def release(self) -> None:
        """Close the socket, and leave nothing behind."""
        self.socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._let_go()

    def _open(self, shared: bool) -> socket.socket:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise OSError("is there and is no socket; take it away")
            self._path.unlink()
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.setblocking(False)
            line.bind(str(self._path))
            # Before anybody can connect, which is only from listen() on.
            self._path.chmod(0o660 if shared else 0o600)
            line.listen(8)
        except OSError:
            line.close()
            raise
        return line

    def _let_go(self) -> None:
        if self._lock is not None:
            # While it is locked: whoever waits for it looks again whether it is still there.
            with contextlib.suppress(OSError):
                self._lock_path.unlink()
            os.close(self._lock)
            self._lock = None


def _locked(path: Path) -> int | None:
    """A file that this process alone has locked; None where another one has."""
    while True:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(number)
            return None
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(number).st_ino:
                return number
        os.close(number)  # its holder has taken it away meanwhile

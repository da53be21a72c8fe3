"""Where the socket is, who holds it, and who may connect."""

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
"""As many as Python reads of a socket option."""


def may_watch(peer: socket.socket, *, shared: bool) -> bool:
    """Whether the connected process may watch this one.

    The kernel says who it is (SO_PEERCRED and SO_PEERGROUPS, unix(7) and socket(7)), whatever has
    become of the modes of socket and folder.

    Args:
        peer: the accepted connection.
        shared: whether this process's group may watch, besides its user and root.
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
    except OSError:  # a kernel before 4.13, or too many groups
        return ()
    return struct.unpack(f"{len(found) // 4}I", found)


_NAME = "monitor.sock"
SYSTEM = Path("/run/edge-voice") / _NAME
"""Where it is under systemd."""
_LONGEST = 107
"""Bytes of a socket's path (unix(7))."""


@dataclass(frozen=True)
class Place:
    """Where a service opens its socket, and whether its group may use it."""

    path: Path
    shared: bool


def place_of(config: Config) -> Place:
    """Where a service with this configuration opens its socket."""
    if config.monitor.socket is not None:
        return Place(config.monitor.socket, shared=True)
    # Several directories are separated by colons; the first one is ours.
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Place(Path(given) / _NAME, shared=True)
    return Place(config.state_path / _NAME, shared=False)


def candidates(config: Config) -> list[Path]:
    """Where a service may be found, the most likely path first."""
    if config.monitor.socket is not None:
        return [config.monitor.socket]
    return [config.state_path / _NAME, SYSTEM]


class OwnedSocket:
    """The open socket, with a lock that keeps other services away.

    The kernel releases the lock of a killed process. So a socket that is found while the lock is
    ours was left behind.

    Raises:
        EnvironmentFault: another service has the place, or no socket can be opened there.
    """

    def __init__(self, place: Place) -> None:
        self._path = place.path
        self._lock_path = Path(f"{place.path}.lock")
        if len(os.fsencode(place.path)) > _LONGEST:
            raise EnvironmentFault(
                f"{place.path}: path too long for a socket; set a shorter monitor.socket"
            )
        try:
            self._lock = _locked(self._lock_path)
        except OSError as error:
            raise EnvironmentFault(f"{self._lock_path}: {error.strerror}") from None
        if self._lock is None:
            raise EnvironmentFault(
                f"{place.path}: used by another service; give each its own state_directory or"
                " monitor.socket"
            )
        try:
            self.socket = self._open(place.shared)
        except OSError as error:
            self._unlock()
            raise EnvironmentFault(f"{place.path}: {error.strerror or error}") from None

    def release(self) -> None:
        """Close and remove the socket."""
        self.socket.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._unlock()

    def _open(self, shared: bool) -> socket.socket:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(self._path.lstat().st_mode):
                raise OSError("exists and is not a socket; remove it")
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

    def _unlock(self) -> None:
        if self._lock is not None:
            # While locked: a process that waits for it checks again that it exists.
            with contextlib.suppress(OSError):
                self._lock_path.unlink()
            os.close(self._lock)
            self._lock = None


def _locked(path: Path) -> int | None:
    """A file that this process has locked; None where another one has."""
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
        os.close(number)  # its holder has removed it meanwhile

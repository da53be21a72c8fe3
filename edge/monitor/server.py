"""The service's end of the socket: where it is, who may connect, and what they are sent.

Messages wait in a bounded queue, which never blocks. Each client has a bounded buffer; one that
does not read is disconnected.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import selectors
import socket
import stat
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edge
from edge.config import Config
from edge.errors import EnvironmentFault
from edge.monitor.messages import LEVELS_S, PROTOCOL, SOCKET_NAME, Message, encode
from edge.types.decision import utc

MOST_CLIENTS = 4
_MOST_WAITING = 512
"""Messages that may wait for the thread; of more, the oldest are lost."""
_MOST_BUFFERED = 64 * 1024
"""Bytes that may wait for a client."""
_KERNEL_BUFFER = 16 * 1024
_PATIENCE_S = 5.0
"""How long a client may leave something unread."""
_IDLE_S = 30.0
_MOST_PAST = 60
"""Utterances and decisions that are kept, in memory only."""
_LONGEST_PATH = 107
"""Bytes of a socket's path (unix(7))."""
_PEER_GROUPS = getattr(socket, "SO_PEERGROUPS", 59)
_MOST_GROUPS = 256
"""As many as Python reads of a socket option."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where a service opens its socket, and whether its group may use it."""

    path: Path
    shared: bool


def address_of(config: Config) -> Address:
    """Where a service with this configuration opens its socket."""
    if config.monitor.socket is not None:
        return Address(config.monitor.socket, shared=True)
    # Several directories are separated by colons; the first one is ours.
    given = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return Address(Path(given) / SOCKET_NAME, shared=True)
    return Address(config.state_path / SOCKET_NAME, shared=False)


class OwnedSocket:
    """The open socket, with a lock that keeps other services away.

    The kernel releases the lock of a killed process. So a socket that is found while the lock is
    ours was left behind.

    Raises:
        EnvironmentFault: another service uses it, or no socket can be opened there.
    """

    def __init__(self, address: Address) -> None:
        self._path = address.path
        self._lock_path = Path(f"{address.path}.lock")
        if len(os.fsencode(address.path)) > _LONGEST_PATH:
            raise EnvironmentFault(
                f"{address.path}: path too long for a socket; set a shorter monitor.socket"
            )
        try:
            self._lock = _locked(self._lock_path)
        except OSError as error:
            raise EnvironmentFault(f"{self._lock_path}: {error.strerror}") from None
        if self._lock is None:
            raise EnvironmentFault(
                f"{address.path}: used by another service; give each its own state_directory or"
                " monitor.socket"
            )
        try:
            self.socket = self._open(address.shared)
        except OSError as error:
            self._unlock()
            raise EnvironmentFault(f"{address.path}: {error.strerror or error}") from None

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


class History:
    """Keeps what a new client is sent first; for one thread.

    Args:
        further: microphones of the service that it tells nothing of.
    """

    def __init__(self, device: str, name: str, further: Iterable[str] = ()) -> None:
        self._device, self._name, self._further = device, name, list(further)
        self._since = time.time()
        self._levels: deque[tuple[int, float]] = deque(maxlen=LEVELS_S)
        self._past: deque[Message] = deque(maxlen=_MOST_PAST)
        self._counts = {"granted": 0, "denied": 0}
        self._enrollment: deque[Message] = deque(maxlen=_MOST_PAST)
        self._state: Message | None = None

    def add(self, message: Mapping[str, Any]) -> bool:
        """Keep a message; False for a state that has not changed and need not be sent."""
        kind = message["type"]
        if kind == "state":
            if message == self._state:
                return False
            self._state = dict(message)
        elif kind == "level":
            self._add_level(message["level_dbfs"])
        elif kind in {"utterance", "decision"}:
            self._past.append({**message, "past": True})
            if kind == "decision":
                self._counts[message["decision"]] += 1
        elif kind == "enrollment":
            self._add_step(message)
        return True

    def replay(self) -> list[Message]:
        """The messages for a new client: the device, the last minutes, and the state."""
        hello: Message = {
            "type": "hello",
            "protocol": PROTOCOL,
            "device": self._device,
            "name": self._name,
            "further": self._further,
            "version": edge.__version__,
            "time": utc(time.time()),
            "since": utc(self._since),
            **self._counts,
            "levels_dbfs": self._each_second(),
        }
        state = [] if self._state is None else [self._state]
        return [hello, *self._past, *self._enrollment, *state]

    def _add_step(self, message: Mapping[str, Any]) -> None:
        """Keep the steps of the latest enrollment, from the noise of the room on."""
        before = self._enrollment[-1]["state"] if self._enrollment else ""
        again = before == "measuring"  # somebody spoke, or the request was refused
        first = message["state"] == "measuring" and not again
        if first or (message["state"] == "started" and before != "room"):
            self._enrollment.clear()
        self._enrollment.append({**message, "past": True})

    def _add_level(self, level_dbfs: float) -> None:
        second = int(time.monotonic())
        if self._levels and self._levels[-1][0] == second:
            level_dbfs = max(level_dbfs, self._levels.pop()[1])
        self._levels.append((second, level_dbfs))

    def _each_second(self) -> list[float | None]:
        """One level a second up to now, oldest first; None where there is none."""
        now = int(time.monotonic())
        known = dict(self._levels)
        first = max(min(known, default=now), now - LEVELS_S + 1)
        return [known.get(second) for second in range(first, now + 1)]


class MonitorServer:
    """Sends messages through a socket; `post` is for any thread.

    From now on the history is its own.

    Raises:
        EnvironmentFault: the socket cannot be opened now.
    """

    def __init__(self, address: Address, history: History) -> None:
        self._shared = address.shared
        self._history = history
        self._owned = OwnedSocket(address)
        self._waiting: deque[Message] = deque(maxlen=_MOST_WAITING)
        self._clients: dict[socket.socket, _Client] = {}
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        for end in (self._waker, self._woken):
            end.setblocking(False)
        self._selector.register(self._owned.socket, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self._thread.start()

    @property
    def watched(self) -> bool:
        """Whether anybody is connected."""
        return bool(self._clients)

    def post(self, message: Message) -> None:
        """Send a message to all, without waiting."""
        self._waiting.append(message)
        if self._clients:
            self._wake()

    def close(self) -> None:
        """Disconnect all within half a second, and remove the socket."""
        self._stopping = True
        self._wake()
        self._thread.join(0.5)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake anyway
            self._waker.send(b"\0")

    def _run(self) -> None:
        try:
            while not self._stopping:
                ready = self._selector.select(1.0 if self._clients else _IDLE_S)
                self._send_waiting()
                for key, events in ready:
                    self._serve(key.fileobj, events)
                for client in [c for c in self._clients.values() if c.too_slow]:
                    _log.info("a monitor that does not read was disconnected")
                    self._drop(client)
        except Exception as error:  # noqa: BLE001 (watching must not stop the service)
            _log.warning("edge-voice monitor can no longer watch: %s", error, exc_info=True)
        finally:
            self._send_last()
            self._selector.close()
            self._owned.release()
            self._waker.close()
            self._woken.close()

    def _serve(self, line: Any, events: int) -> None:
        if line is self._owned.socket:
            self._accept()
        elif line is self._woken:
            with contextlib.suppress(OSError):
                while self._woken.recv(4096):
                    pass
        elif line in self._clients:
            client = self._clients[line]
            # Clients have nothing to send: something to read means the end, or abuse.
            if events & selectors.EVENT_READ or not client.send():
                self._drop(client)
            else:
                self._follow(client)

    def _accept(self) -> None:
        try:
            line, _ = self._owned.socket.accept()
        except OSError as error:
            _log.debug("a monitor could not connect: %s", error)
            return
        line.setblocking(False)
        refusal = ""
        if not may_watch(line, shared=self._shared):
            refusal = "only root, the service's own user and its group may watch it"
        elif len(self._clients) >= MOST_CLIENTS:
            refusal = f"{MOST_CLIENTS} monitors are connected already; close one"
        if refusal:
            with contextlib.suppress(OSError):
                line.send(encode({"type": "refused", "reason": refusal}))
            line.close()
            return
        line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
        client = self._clients[line] = _Client(line)
        self._selector.register(line, selectors.EVENT_READ)
        self._send_to(client, b"".join(encode(message) for message in self._history.replay()))

    def _send_waiting(self) -> None:
        while self._waiting:
            message = self._waiting.popleft()
            if self._history.add(message) and self._clients:
                text = encode(message)
                for client in list(self._clients.values()):
                    self._send_to(client, text)

    def _send_last(self) -> None:
        """Send what was decided just before the end."""
        with contextlib.suppress(Exception):
            self._send_waiting()
        for client in list(self._clients.values()):
            self._drop(client)

    def _send_to(self, client: _Client, text: bytes) -> None:
        client.buffer += text
        if client.send():
            self._follow(client)
        else:
            self._drop(client)

    def _follow(self, client: _Client) -> None:
        """Wait for what a client needs next."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.buffer else 0)
        self._selector.modify(client.line, events)

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.line, None) is not None:
            self._selector.unregister(client.line)
            client.line.close()


class _Client:
    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.buffer = bytearray()
        self._sent_at = time.monotonic()

    @property
    def too_slow(self) -> bool:
        if not self.buffer:
            return False
        return len(self.buffer) > _MOST_BUFFERED or time.monotonic() - self._sent_at > _PATIENCE_S

    def send(self) -> bool:
        """Send what the other end takes now; False if the connection is broken."""
        if not self.buffer:
            return True
        try:
            sent = self.line.send(self.buffer)
        except BlockingIOError:
            return True
        except OSError:
            return False
        del self.buffer[:sent]
        if sent:
            self._sent_at = time.monotonic()
        return True


def may_watch(peer: socket.socket, *, shared: bool) -> bool:
    """Whether the connected process may watch: root, this user, and this group if `shared`.

    The kernel says who it is (SO_PEERCRED and SO_PEERGROUPS, unix(7) and socket(7)), whatever has
    become of the modes of socket and folder.
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

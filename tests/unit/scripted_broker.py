"""A broker that does what a test says, in a time of its own: no network, and nothing waits."""

from __future__ import annotations

import contextlib
import itertools
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

REAL_SELECT = select.select
REAL_JOIN = threading.Thread.join
HANGS_S = 20.0
"""Nothing takes this long, however slow the machine is."""


class Line(socket.socket):
    """A client's end of a connection, which keeps what options are set."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__(end.family, end.type, end.proto, end.detach())
        self.options: dict[int, Any] = {}
        self.most_sent = 1 << 30
        self._held = b""

    def setsockopt(self, _level: int, name: int, value: Any) -> None:  # type: ignore[override]
        self.options[name] = value

    def send(self, data: Any, *_: Any) -> int:
        if self.most_sent <= 0:
            raise BlockingIOError
        return super().send(data[: self.most_sent])

    def hold(self) -> None:
        """Take in what has arrived, as TLS does, so that `select` does not see it."""
        self._held = super().recv(1 << 16)

    def pending(self) -> int:
        return len(self._held)

    def recv(self, size: int, *_: Any) -> bytes:
        if not self._held:
            return super().recv(size)
        data, self._held = self._held[:size], self._held[size:]
        return data


@dataclass
class Connect:
    """What a client said on connecting."""

    at: float
    version: int
    client_id: str
    clean: bool
    keepalive_s: int
    will: tuple[str, str, int, bool] | None
    user: str | None
    password: str | None
    most_bytes: int | None


@dataclass
class Sent:
    """What a client sent, except on connecting: its kind is PUBLISH, SUBSCRIBE or the like."""

    at: float
    kind: str
    topic: str = ""
    payload: str = ""
    retain: bool = False
    qos: int = 0
    expiry_s: int | None = None
    options: list[tuple[str, int]] = field(default_factory=list)


class Broker:
    """Answers as a broker does, unless it is told otherwise.

    Attributes:
        unreachable: raised when somebody connects.
        codes: the reason it answers with, by kind of packet or by topic; 0 is success.
        deaf: the kinds of packets it does not answer.
        hangs_up_on: the versions of MQTT that it hangs up on.
        late: keeps its answers to itself, except to a new connection, until `catch_up`.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.unreachable: Exception | None = None
        self.codes: dict[str, int] = {}
        self.deaf: set[str] = set()
        self.hangs_up_on: set[int] = set()
        self.late = False
        self._held = b""
        self.tried: list[tuple[float, str, int, float]] = []
        self.connects: list[Connect] = []
        self.sent: list[Sent] = []
        self.line: Line | None = None
        self._now = now
        self._end: socket.socket | None = None
        self._data = b""
        self._unsent = b""
        self._version = 5

    def connect(self, address: tuple[str, int], timeout: float = 0.0, **_: Any) -> socket.socket:
        """Stands for `socket.create_connection`."""
        self.tried.append((self._now(), *address, timeout))
        if self.unreachable is not None:
            raise self.unreachable
        mine, theirs = socket.socketpair()
        mine.setblocking(False)
        self._end, self.line, self._data, self._unsent = mine, Line(theirs), b"", b""
        self._held = b""
        return self.line

    def serve(self) -> None:
        """Answer what has arrived."""
        self._flush()
        if self._end is None:
            return
        try:
            while arrived := self._end.recv(1 << 16):
                self._data += arrived
        except BlockingIOError:
            pass
        except OSError:
            return
        while len(self._data) >= 2:
            length, used = 0, 1
            for used in range(1, 5):
                length |= (self._data[used] & 127) << 7 * (used - 1)
                if self._data[used] < 128:
                    break
            body = self._data[used + 1 : used + 1 + length]
            if len(body) < length:
                return
            first, self._data = self._data[0], self._data[used + 1 + length :]
            self._take(PacketTypes.Names[first >> 4], first & 15, body)

    def send(self, topic: str, payload: bytes | str, *, retain: bool = False) -> None:
        """Send a message to the client."""
        data = payload.encode() if isinstance(payload, str) else payload
        self._answer(0x30 | retain, _text(topic) + self._none + data)

    def send_bytes(self, data: bytes) -> None:
        """Send anything, as much at a time as the line takes."""
        self._unsent += data
        self._flush()

    def catch_up(self) -> None:
        """Send the answers that are late."""
        self.late = False
        held, self._held = self._held, b""
        self.send_bytes(held)

    def disconnect(self, code: int) -> None:
        """End the connection with a reason, in MQTT 5."""
        self._answer(0xE0, bytes([code, 0]))

    def hang_up(self) -> None:
        """End the connection without a word."""
        assert self._end is not None
        self._end.close()
        self._end = None

    def published(self, topic: str) -> list[Sent]:
        """What was published on a topic."""
        return [each for each in self.sent if each.kind == "Publish" and each.topic == topic]

    @property
    def _none(self) -> bytes:
        return b"\0" if self._version == 5 else b""

    def _flush(self) -> None:
        with contextlib.suppress(OSError):  # nobody takes it, or not yet
            while self._end is not None and self._unsent:
                self._unsent = self._unsent[self._end.send(self._unsent) :]

    def _answer(self, first: int, body: bytes) -> None:
        length, rest = [], len(body)
        while rest > 127:
            length.append(rest & 127 | 128)
            rest >>= 7
        data = bytes([first, *length, rest]) + body
        if self.late and first != 0x20:
            self._held += data
        else:
            self.send_bytes(data)

    def _take(self, kind: str, flags: int, body: bytes) -> None:
        if kind == "Connect":
            self._connected(body)
            return
        sent = Sent(self._now(), kind)
        number, code = body[:2], self.codes.get(kind, 0)
        if kind == "Publish":
            sent.qos, sent.retain = flags >> 1 & 3, bool(flags & 1)
            sent.topic, body = _split(body)
            if sent.qos:
                number, body = body[:2], body[2:]
            if self._version == 5:
                found, body = _properties(PacketTypes.PUBLISH, body)
                sent.expiry_s = getattr(found, "MessageExpiryInterval", None)
            sent.payload = body.decode()
            code = self.codes.get(sent.topic, code)
        elif kind in ("Subscribe", "Unsubscribe"):
            body = body[3:] if self._version == 5 else body[2:]
            while body:
                topic, body = _split(body)
                sent.options.append((topic, body[0] if kind == "Subscribe" else 0))
                body = body[1:] if kind == "Subscribe" else body
        self.sent.append(sent)
        if kind in self.deaf:
            return
        reason = bytes([code])
        if kind == "Publish" and sent.qos:
            self._answer(0x40, number + (reason if self._version == 5 else b""))
        elif kind == "Pingreq":
            self._answer(0xD0, b"")
        elif kind == "Subscribe":
            reasons = [self.codes.get(topic, code) for topic, _ in sent.options]
            self._answer(0x90, number + self._none + bytes(reasons))
        elif kind == "Unsubscribe":
            self._answer(0xB0, number + (self._none + reason if self._version == 5 else b""))

    def _connected(self, body: bytes) -> None:
        _, body = _split(body)
        version, flags, keepalive = struct.unpack("!BBH", body[:4])
        self._version, body = version, body[4:]
        most = None
        if version == 5:
            found, body = _properties(PacketTypes.CONNECT, body)
            most = getattr(found, "MaximumPacketSize", None)
        client_id, body = _split(body)
        will = None
        if flags & 4:
            body = body[1:] if version == 5 else body
            topic, body = _split(body)
            text, body = _split(body)
            will = (topic, text, flags >> 3 & 3, bool(flags & 32))
        user, body = _split(body) if flags & 128 else (None, body)
        password, body = _split(body) if flags & 64 else (None, body)
        clean = bool(flags & 2)
        self.connects.append(
            Connect(
                self._now(), version, client_id, clean, keepalive, will, user, password, most
            )
        )  # fmt: skip
        if version in self.hangs_up_on:
            self.hang_up()
        elif "Connect" not in self.deaf:
            self._answer(0x20, bytes([0, self.codes.get("Connect", 0)]) + self._none)


def _text(text: str) -> bytes:
    return struct.pack("!H", len(text.encode())) + text.encode()


def _split(body: bytes) -> tuple[str, bytes]:
    (length,) = struct.unpack("!H", body[:2])
    return body[2 : 2 + length].decode(), body[2 + length :]


def _properties(kind: int, body: bytes) -> tuple[Properties, bytes]:
    found = Properties(kind)  # type: ignore[no-untyped-call]
    _, used = found.unpack(body)  # type: ignore[no-untyped-call]
    return found, body[used:]


class World:
    """Time that passes only when everything waits, and a broker in it.

    Whoever calls `select` goes on in this time at once, except the publisher's thread: that waits
    until the test lets time pass with `run`, so that only one of the two is ever at work.

    Attributes:
        waits: how long each `select` was to wait that had nothing to do.
        joins: how long each `join` was to wait.
        unacknowledged: how many bytes the broker's machine has not confirmed.
        reachable: whether the broker's machine answers to a new connection beside the first.
        tried_again: when such a connection was tried.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.broker = Broker(lambda: self.now)
        self.waits: list[float] = []
        self.joins: list[float | None] = []
        self.connecting: Callable[[], None] | None = None
        self.unacknowledged = 0
        self.reachable = True
        self.tried_again: list[float] = []
        self._others: list[socket.socket] = []
        self._until = self.now
        self._runs = 0
        self._idle_after = -1
        self._turn = threading.Condition()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        monkeypatch.setattr(time, "clock_gettime", self._read)
        monkeypatch.setattr(select, "select", self._select)
        monkeypatch.setattr(socket, "create_connection", self._connect)
        monkeypatch.setattr(threading.Thread, "join", self._join())
        monkeypatch.setattr("edge.mqtt.link.unacknowledged", lambda _: self.unacknowledged)
        monkeypatch.setattr("edge.mqtt.link.try_again", self._try_again)
        monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)

    def at(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen so many seconds from now, while others wait."""
        self._events.append((self.now + seconds, next(self._numbers), event))
        self._events.sort()

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass for the publisher's thread, until it has nothing to do."""
        with self._turn:
            self._until += seconds
            self._runs += 1
            self._turn.notify_all()
            assert self._turn.wait_for(lambda: self._idle_after == self._runs, HANGS_S)

    def _read(self, which: int) -> float:
        assert which == time.CLOCK_BOOTTIME
        return self.now

    def _connect(self, *arguments: Any, **options: Any) -> socket.socket:
        if self.connecting is not None:
            self.connecting()
        return self.broker.connect(*arguments, **options)

    def _try_again(self, _: object) -> socket.socket:
        self.tried_again.append(self.now)
        mine, theirs = socket.socketpair()
        self._others.append(theirs)
        mine.setblocking(False)
        if not self.reachable:  # one that cannot be written to is not made yet
            with contextlib.suppress(BlockingIOError):
                while mine.send(bytes(1 << 16)):
                    pass
        return mine

    def _select(self, readers: Any, writers: Any, errors: Any, timeout: float) -> Any:
        # The least wait is long enough to show in the time that it ends at.
        deadline = self.now + (max(timeout, 1e-6) if timeout > 0 else 0.0)
        waited = False
        while True:
            while self._events and self._events[0][0] <= self.now:
                self._events.pop(0)[2]()
            self.broker.serve()
            ready = REAL_SELECT(readers, writers, errors, 0)
            if any(ready):
                return ready
            if not waited:
                self.waits.append(timeout)
                waited = True
            if self.now >= deadline:
                return ready
            self._pass(min(deadline, self._events[0][0]) if self._events else deadline)

    def _pass(self, until: float) -> None:
        if threading.current_thread().name != "mqtt":
            self.now = until
            return
        with self._turn:
            if self.now >= self._until:
                self._idle_after = self._runs
                self._turn.notify_all()
                assert self._turn.wait_for(lambda: self._idle_after != self._runs, HANGS_S)
                return
            self.now = min(until, self._until)

    def _join(self) -> Callable[..., None]:
        def join(thread: threading.Thread, timeout: float | None = None) -> None:
            if thread.name == "mqtt":
                self.joins.append(timeout)
                with self._turn:
                    self._until = float("inf")
                    self._runs += 1
                    self._turn.notify_all()
                if self.connecting is not None:
                    return
            REAL_JOIN(thread, HANGS_S)

        return join

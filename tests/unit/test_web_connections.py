"""Connections to the HTTP server: how many, and how long one may wait."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from edge.errors import EnvironmentFault
from edge.web import connections
from edge.web.connections import HEADER_S, READ_S, BoundedProtocol, ListeningSocket


@pytest.fixture
def listener() -> Iterator[ListeningSocket]:
    with ListeningSocket("127.0.0.1", 0) as made:
        yield made


def connect(listener: ListeningSocket) -> socket.socket:
    return socket.create_connection(listener.getsockname())


def test_one_address_has_so_many_connections(
    listener: ListeningSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (connections.MOST, connections.MOST_OF_ONE) == (128, 32)
    monkeypatch.setattr(connections, "MOST_OF_ONE", 2)
    clients = [connect(listener) for _ in range(3)]
    one, (host, _) = listener.accept()
    other, _ = listener.accept()
    assert host == "127.0.0.1"
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert clients[2].recv(1) == b""
    one.close()
    one.close()
    again = connect(listener)
    third, _ = listener.accept()
    for each in (other, third, again, *clients):
        each.close()


def test_all_together_have_so_many(
    listener: ListeningSocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MOST", 1)
    clients = [connect(listener), connect(listener)]
    one, _ = listener.accept()
    with pytest.raises(BlockingIOError):
        listener.accept()
    for each in (one, *clients):
        each.close()


def test_what_is_accepted_works_as_a_socket_does(listener: ListeningSocket) -> None:
    client = connect(listener)
    here, _ = listener.accept()
    client.sendall(b"hello")
    assert here.recv(5) == b"hello"
    here.close()
    assert client.recv(1) == b""
    client.close()


def test_a_port_that_is_taken_and_an_address_from_elsewhere(listener: ListeningSocket) -> None:
    _, port = listener.getsockname()
    with pytest.raises(EnvironmentFault, match=rf"127\.0\.0\.1, port {port} \(address already in"):
        ListeningSocket("127.0.0.1", port)
    with pytest.raises(EnvironmentFault, match=r"192\.0\.2\.1, port 8443 \(cannot assign"):
        ListeningSocket("192.0.2.1", 8443)


def test_at_every_address_are_those_of_both_kinds() -> None:
    with ListeningSocket("::", 0) as listener:
        _, port, *_ = listener.getsockname()
        for address, seen in (("127.0.0.1", "::ffff:127.0.0.1"), ("::1", "::1")):
            client = socket.create_connection((address, port))
            here, (host, *_) = listener.accept()
            assert host == seen
            here.close()
            client.close()


class Timer:
    def __init__(self, after_s: float, call: Callable[[], None]) -> None:
        self.after_s, self.cancelled = after_s, False
        self.call: Callable[[], Any] = call

    def cancel(self) -> None:
        self.cancelled, self.call = True, int  # as asyncio's, which forgets it


class Loop:
    """Takes what is to be called later, and creates no task."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_later(self, after_s: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(after_s, call))
        return self.timers[-1]

    def create_task(self, work: Any, **_: Any) -> Any:
        work.close()
        return asyncio.Future(loop=asyncio.new_event_loop())

    @property
    def waiting(self) -> list[float]:
        return [timer.after_s for timer in self.timers if not timer.cancelled]


class Transport:
    def __init__(self) -> None:
        self.written = self.unsent = b""
        self.closed = self.aborted = False

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name)

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def abort(self) -> None:
        self.closed = self.aborted = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Connection:
    def __init__(self) -> None:
        config = uvicorn.Config(lambda: None, log_config=None, lifespan="off", ws="none")
        self.loop, self.transport = Loop(), Transport()
        loop: Any = self.loop
        self.protocol = BoundedProtocol(config, ServerState(), {}, _loop=loop)
        transport: Any = self.transport
        self.protocol.connection_made(transport)

    def send(self, data: bytes) -> None:
        self.protocol.data_received(data)


REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_a_header_has_ten_seconds_however_it_drips() -> None:
    connection = Connection()
    assert connection.loop.waiting == [HEADER_S] == [10.0]
    for byte in REQUEST[:-1]:
        connection.send(bytes([byte]))
    assert connection.loop.waiting == [10.0]
    connection.loop.timers[0].call()
    assert connection.transport.aborted


def test_a_request_that_came_has_no_such_limit_and_the_next_has() -> None:
    connection = Connection()
    connection.send(REQUEST)
    assert connection.loop.waiting == []
    connection.protocol.cycle.response_complete = True
    connection.protocol.on_response_complete()
    assert sorted(connection.loop.waiting) == [5, 10.0]  # uvicorn's own, for silence
    connection.send(b"G")
    assert connection.loop.waiting == [10.0]


def test_whoever_takes_nothing_has_half_a_minute() -> None:
    connection = Connection()
    connection.send(REQUEST)
    connection.protocol.pause_writing()
    connection.protocol.pause_writing()
    assert connection.loop.waiting == [READ_S] == [30.0]
    connection.protocol.resume_writing()
    assert connection.loop.waiting == []
    connection.protocol.pause_writing()
    connection.loop.timers[-1].call()
    assert connection.transport.aborted


@pytest.mark.parametrize(
    ("request_came", "unsent", "aborted"),
    [(False, b"", True), (False, b"x", False), (True, b"", False)],
)
def test_a_stop_waits_for_answers_alone(request_came: bool, unsent: bytes, aborted: bool) -> None:
    connection = Connection()
    connection.transport.unsent = unsent
    if request_came:
        connection.send(REQUEST)
    connection.protocol.shutdown()
    assert connection.transport.aborted == aborted
    assert connection.transport.closed == (not request_came)


def test_nothing_is_left_of_a_connection_that_ended() -> None:
    connection = Connection()
    connection.protocol.pause_writing()
    connection.protocol.connection_lost(None)
    assert connection.loop.waiting == []


@pytest.mark.parametrize("error", [None, ConnectionResetError()])
def test_its_buffers_go_with_it_and_wait_for_no_collection(error: Exception | None) -> None:
    connection = Connection()
    connection.send(REQUEST)
    connection.protocol.cycle.response_complete = True
    connection.protocol.on_response_complete()
    connection.protocol.connection_lost(error)
    assert connection.loop.waiting == []
    ended = weakref.ref(connection.protocol)
    gc.disable()
    try:
        del connection
        assert ended() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX: \x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n X: folded\r\n b\r\n\r\n: c",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70000,
    ],
)
def test_what_is_not_http_is_refused_with_the_headers_of_every_answer(data: bytes) -> None:
    connection = Connection()
    connection.send(data)
    if b"folded" in data:
        return  # taken as one line, as RFC 9112 allows
    head = connection.transport.written.decode()
    assert head.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert "content-security-policy: default-src 'none'" in head
    assert connection.transport.closed


def test_a_body_that_is_broken_in_the_middle_of_an_answer_ends_the_connection() -> None:
    connection = Connection()
    connection.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    import h11

    connection.protocol.conn.send(h11.Response(status_code=200, headers=[]))
    connection.send(b"no chunk\r\n")
    assert connection.transport.closed

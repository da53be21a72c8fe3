"""Connections: how many there may be, and how long each may take over its requests.

uvicorn bounds neither the number from one address nor the time in which a request's header must be
there: a client that sends a byte a minute (a "slow loris") would hold a connection for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge.errors import EnvironmentFault
from edge.web.addresses import network_of
from edge.web.guard import headers_for

MOST = 128
"""Connections in all."""
MOST_OF_ONE = 32
"""Connections of one address; a browser opens six."""
HEADER_S = 10.0
"""Time for the header of a request, from the connection or the answer before."""
READ_S = 30.0
"""Time for a client to take what is sent to it."""
_BACKLOG = 128


class ListeningSocket(socket.socket):
    """A listening socket that hangs up on whoever has too many connections already.

    Counted here, a connection counts from the beginning, before the TLS handshake.

    Raises:
        EnvironmentFault: the address is not of this machine, or the port is taken.
    """

    def __init__(self, address: str, port: int) -> None:
        version = ipaddress.ip_address(address).version
        super().__init__(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        self._counts: Counter[str] = Counter()
        self._counting = threading.Lock()
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if version == 6:
                self.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self.bind((address, port))
            self.listen(_BACKLOG)
        except OSError as error:
            self.close()
            what = (error.strerror or str(error)).lower()
            raise EnvironmentFault(
                f"cannot serve at {address}, port {port} ({what}): set another http.address or"
                " http.port"
            ) from None

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises `BlockingIOError` where there is none that may stay."""
        connection, address = super().accept()
        network = network_of(address[0])
        with self._counting:
            full = self._counts.total() >= MOST or self._counts[network] >= MOST_OF_ONE
            if not full:
                self._counts[network] += 1
        if full:
            connection.close()
            raise BlockingIOError
        return _Counted(connection, lambda: self._leave(network)), address

    def _leave(self, network: str) -> None:
        with self._counting:
            self._counts[network] -= 1
            if not self._counts[network]:
                del self._counts[network]


class _Counted(socket.socket):
    """A connection that says once when it is closed."""

    def __init__(self, connection: socket.socket, closed: Callable[[], None]) -> None:
        super().__init__(fileno=connection.detach())
        self._on_close: Callable[[], None] | None = closed

    def close(self) -> None:
        """Close it."""
        super().close()
        closed, self._on_close = self._on_close, None
        if closed is not None:
            closed()


class BoundedProtocol(H11Protocol):
    """HTTP with a limit of time for a request's header, and for taking an answer."""

    _late: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        super().connection_lost(exc)
        for timer in (self._late, self._stuck, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        # It and this refer to each other. Until the next collection of garbage that would keep the
        # buffers of a TLS connection, 256 KB: half a gigabyte after 2,000 connections.
        self.cycle = None  # type: ignore[assignment]

    def handle_events(self) -> None:
        """Take what has come."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """The client takes nothing at present."""
        super().pause_writing()
        if self._stuck is None:
            self._stuck = self.loop.call_later(READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def shutdown(self) -> None:
        """End the connection, as the server is to stop: at once where nothing is being answered.

        Over TLS a proper end waits for the client's.
        """
        if self.waits and not self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().shutdown()

    @property
    def waits(self) -> bool:
        """Whether there is no request at present."""
        return self.cycle is None or self.cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, with the headers of every answer."""
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"connection", b"close"),
            *((name.encode(), value.encode()) for name, value in headers_for(self.scheme).items()),
        ]
        # In the middle of an answer there is no other.
        with contextlib.suppress(h11.LocalProtocolError):
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=msg.encode("ascii")),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """Limit the time until there is a request, where there is none."""
        if self.waits and self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(HEADER_S, self.transport.abort)
        elif not self.waits and self._late is not None:
            self._late.cancel()
            self._late = None

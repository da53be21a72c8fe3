"""Events of the Wyoming protocol: read within limits, and kept as they came."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wyoming.event import Event, async_write_event

MOST_HEADER_BYTES = 65536
_MOST_DATA_BYTES = 1 << 20
"""The voices and models of a large program are described in 200 KB."""
_MOST_PAYLOAD_BYTES = 1 << 20
"""Half a minute of sound at 16 kHz; most programs send a tenth of a second at a time."""
_READ_S = 15.0
"""Time for the rest of an event that has begun."""
_WRITE_S = 15.0


class BadEvent(Exception):
    """What was sent is not an event, or larger than one may be."""


@dataclass(frozen=True)
class RawEvent:
    """An event, and its bytes as they came."""

    type: str
    data: Mapping[str, Any]
    payload: bytes = field(repr=False)
    wire: bytes = field(repr=False)


class Wire:
    """One side of a connection; its reader's limit has to be `MOST_HEADER_BYTES`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, idle_s: float | None) -> RawEvent | None:
        """The next event; None at the end of the connection.

        Raises:
            BadEvent: it is none, or it stops in the middle.
            TimeoutError: none has begun for `idle_s`, or one takes too long.
        """
        try:
            first = await asyncio.wait_for(self._reader.read(1), idle_s)
            return await asyncio.wait_for(self._rest(first), _READ_S) if first else None
        except asyncio.IncompleteReadError:
            raise BadEvent("it ends in the middle") from None
        except asyncio.LimitOverrunError:
            raise BadEvent(f"its header is longer than {MOST_HEADER_BYTES} bytes") from None
        except asyncio.TimeoutError as error:  # another one before Python 3.11
            raise TimeoutError from error

    async def write(self, wire: bytes) -> None:
        """Pass on an event as it came. Raises `TimeoutError` where nobody takes it."""
        self._writer.write(wire)
        await self._drained(self._writer.drain())

    async def send(self, event: Event) -> None:
        """Send an event of our own. Raises `TimeoutError` where nobody takes it."""
        await self._drained(async_write_event(event, self._writer))

    async def end(self, linger_s: float) -> None:
        """Send nothing more, and take what still comes for a while.

        Closed at once, the other side might lose the last event.
        """
        with contextlib.suppress(OSError, RuntimeError, asyncio.TimeoutError):
            self._writer.write_eof()
            await asyncio.wait_for(self._swallow(), linger_s)

    def close(self) -> None:
        """Hang up; what is not taken at once is lost."""
        transport = self._writer.transport
        if transport.get_write_buffer_size():
            transport.abort()
        else:
            transport.close()

    async def _swallow(self) -> None:
        while await self._reader.read(MOST_HEADER_BYTES):
            pass

    async def _drained(self, work: Any) -> None:
        try:
            await asyncio.wait_for(work, _WRITE_S)
        except asyncio.TimeoutError as error:  # another one before Python 3.11
            raise TimeoutError from error

    async def _rest(self, first: bytes) -> RawEvent:
        line = first if first == b"\n" else first + await self._reader.readuntil(b"\n")
        header = _parsed(line)
        data = header.get("data") or {}
        content = await self._part(header, "data_length", _MOST_DATA_BYTES)
        payload = await self._part(header, "payload_length", _MOST_PAYLOAD_BYTES)
        if not isinstance(data, dict) or not isinstance(header.get("type"), str):
            raise BadEvent("its header is not one of the Wyoming protocol")
        more = _parsed(content) if content else {}
        return RawEvent(header["type"], {**data, **more}, payload, line + content + payload)

    async def _part(self, header: Mapping[str, Any], name: str, most: int) -> bytes:
        length = header.get(name) or 0
        if type(length) is not int or not 0 <= length <= most:
            raise BadEvent(f"its {name} is not 0 to {most}")
        return await self._reader.readexactly(length) if length else b""


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise BadEvent("it is not JSON") from None
    if not isinstance(found, dict):
        raise BadEvent("it is not a JSON object")
    return found

"""What the running service tells, for the page: a look at it, and a stream to a browser.

All browsers share one connection to the monitor's socket, which serves only a few.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from edge.config import Config
from edge.monitor.client import Stream, candidates, connect
from edge.monitor.messages import LONGEST_LINE, Message, decode

MOST_BROWSERS = 16
"""Browsers that follow at once."""
_LOOK_S = 2.0
_AGAIN_S = 2.0
_SIGN_OF_LIFE_S = 10.0
_CHECK_S = 1.0
_MOST_WAITING = 256
_TOLD = ("level", "state", "decision", "enrollment", "gone")
"""What a browser gets of the service's messages."""


def look(config: Config) -> list[Message]:
    """The messages that a newcomer gets: the latest decisions, the enrollment, the state.

    Raises:
        NoService: none runs, or it does not let this user look.
    """
    stream = Stream(connect(candidates(config)))
    try:
        found: list[Message] = []
        until = time.monotonic() + _LOOK_S
        while (left_s := until - time.monotonic()) > 0.0:
            found += stream.wait(left_s)
            if found and found[-1]["type"] in ("state", "level", "gone"):
                break
        return found
    finally:
        stream.close()


class Feed:
    """Passes on what the service tells, while anybody follows; for one event loop."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._followers: set[asyncio.Queue[Message]] = set()
        self._reading: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[asyncio.Queue[Message]]:
        """A queue of messages; of somebody who does not take them, the oldest are lost."""
        queue: asyncio.Queue[Message] = asyncio.Queue(_MOST_WAITING)
        self._followers.add(queue)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        try:
            yield queue
        finally:
            self._followers.discard(queue)
            if not self._followers and self._reading is not None:
                self._reading.cancel()
                self._reading = None

    @property
    def full(self) -> bool:
        """Whether nobody more may follow."""
        return len(self._followers) >= MOST_BROWSERS

    async def _read(self) -> None:
        while True:
            for path in self._paths:
                with contextlib.suppress(OSError, ValueError):
                    await self._read_from(path)
            self._pass_on({"type": "gone"})
            await asyncio.sleep(_AGAIN_S)

    async def _read_from(self, path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(path, limit=LONGEST_LINE)
        try:
            while line := await reader.readline():
                message = decode(line)
                if message is not None and not message.get("past"):
                    self._pass_on(message)
        finally:
            writer.close()

    def _pass_on(self, message: Message) -> None:
        if message["type"] not in _TOLD:
            return
        for queue in self._followers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(message)


async def events(feed: Feed, signed_in: Callable[[], bool]) -> AsyncIterator[str]:
    """The stream of server-sent events for one browser, until it is signed out."""
    async with feed.followed() as queue:
        checked_at = time.monotonic()
        yield "retry: 3000\n\n"
        while True:
            try:
                message = await asyncio.wait_for(queue.get(), _SIGN_OF_LIFE_S)
            except asyncio.TimeoutError:
                text = ":\n\n"
            else:
                kind = message["type"]
                text = f"event: {kind}\ndata: {json.dumps(message, separators=(',', ':'))}\n\n"
            if time.monotonic() - checked_at >= _CHECK_S:
                checked_at = time.monotonic()
                if not await asyncio.to_thread(signed_in):
                    yield "event: signed-out\ndata: {}\n\n"
                    return
            yield text

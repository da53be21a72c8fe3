"""One connection of an assistant, passed on to the speech-to-text behind."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time

from wyoming.error import Error
from wyoming.event import Event

from edge.assistants.assistant import Assistant
from edge.assistants.events import MOST_HEADER_BYTES, BadEvent, RawEvent, Wire
from edge.assistants.listening import Listening
from edge.assistants.publishing import SpokenUtterance, nobody

_CONNECT_S = 5.0
_IDLE_S = 120.0
"""Time in which an assistant sends nothing, after which it is hung up on; also for its answer."""
_MOST_UTTERANCE_S = 300.0
_KNOWN_S = 30.0
"""Time to find out who spoke once the text is there; later it is nobody known."""
_LATE_S = 2.0
"""The same where the text does not depend on it."""
_LINGER_S = 30.0
_MOST_HELD = 1000
_STREAMED = ("transcript-start", "transcript-chunk", "transcript-stop")

_log = logging.getLogger(__name__)


class ProgramFailed(Exception):
    """The speech-to-text does not do its part; the text says why."""


class Relay:
    """Passes events on in both directions; only texts wait until it is known who spoke."""

    def __init__(self, assistant: Assistant, client: Wire) -> None:
        self._assistant = assistant
        self._client = client
        self._listening: Listening | None = None
        self._spoken: asyncio.Task[SpokenUtterance] | None = None
        self._until_s = 0.0
        self._waits_for_text = False
        self._withholds = assistant.withholds
        self._held: list[RawEvent] = []

    async def run(self) -> None:
        """Return once the assistant has hung up, or has been told why this ends.

        Raises:
            BadEvent: it sends what is none.
            TimeoutError: it sends nothing, never stops, or does not take what it is sent.
            OSError: the connection broke.
        """
        try:
            program = await self._connect()
            try:
                await self._both_ways(program)
            finally:
                self._forget()
                program.close()
        except ProgramFailed as failure:
            self._assistant.failing(str(failure))
            await self._client.send(Error(str(failure), "speech-to-text").event())
            await self._client.end(_LINGER_S)

    async def _connect(self) -> Wire:
        host, port = self._assistant.settings.program
        try:
            opened = asyncio.open_connection(host, port, limit=MOST_HEADER_BYTES)
            reader, writer = await asyncio.wait_for(opened, _CONNECT_S)
        except (OSError, asyncio.TimeoutError) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number).lower() if number and number > 0 else "no answer"
            if isinstance(error, socket.gaierror):
                reason = "its name cannot be resolved"
            raise ProgramFailed(
                f"the speech-to-text at {host}:{port} cannot be reached ({reason})"
            ) from None
        return Wire(reader, writer)

    async def _both_ways(self, program: Wire) -> None:
        ways = [
            asyncio.create_task(way)
            for way in (self._from_client(program), self._from_program(program))
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _from_client(self, program: Wire) -> None:
        while (event := await self._client.read(_IDLE_S)) is not None:
            if event.type == "audio-start":
                self._forget()
                self._withholds = self._assistant.withholds
                self._listening = self._assistant.listen()
                self._until_s = time.monotonic() + _MOST_UTTERANCE_S
                self._waits_for_text = True
            elif event.type == "audio-chunk" and self._listening and self._spoken is None:
                if time.monotonic() > self._until_s:
                    raise TimeoutError
                self._listening.feed(event.data, event.payload)
            elif event.type == "audio-stop":
                self._conclude()
            try:
                await program.write(self._assistant.selecting(event) or event.wire)
            except (OSError, TimeoutError):
                raise self._broken("takes nothing") from None

    async def _from_program(self, program: Wire) -> None:
        while (event := await self._answer(program)) is not None:
            self._assistant.works()
            await self._pass(event)
        if self._waits_for_text:
            raise self._broken("hung up without an answer")

    async def _answer(self, program: Wire) -> RawEvent | None:
        try:
            return await program.read(None)
        except BadEvent as error:
            raise self._broken(f"sends what is no event: {error}") from None
        except ConnectionError:
            raise self._broken("broke the connection") from None

    async def _pass(self, event: RawEvent) -> None:
        if event.type in ("transcript", "transcript-stop", "error"):
            self._waits_for_text = False
        if event.type == "info":
            await self._client.send(Event(event.type, self._assistant.described(event.data)))
        elif event.type == "transcript" or (
            event.type in _STREAMED and (self._held or self._withholds)
        ):
            await self._text(event)
        else:
            await self._client.write(event.wire)

    async def _text(self, event: RawEvent) -> None:
        """Texts in pieces wait for the whole, where they depend on who spoke."""
        if event.type in _STREAMED[:2]:
            self._held.append(event)
            if len(self._held) > _MOST_HELD:
                raise self._broken("sends too many pieces of text")
            return
        spoken = await self._who()
        held, self._held = self._held, []
        first = next((each for each in held if each.type == "transcript-chunk"), None)
        for each in (*held, event):
            begins = each is first or each.type == "transcript"
            await self._send_text(each, spoken, begins=begins)

    async def _send_text(self, event: RawEvent, spoken: SpokenUtterance, *, begins: bool) -> None:
        text = event.data.get("text")
        shown = self._assistant.shown(text if isinstance(text, str) else "", spoken, begins=begins)
        if event.type not in ("transcript", "transcript-chunk") or shown == text:
            await self._client.write(event.wire)
            return
        await self._client.send(
            Event(event.type, {**event.data, "text": shown}, event.payload or None)
        )

    async def _who(self) -> SpokenUtterance:
        """Who spoke; nobody known where that is not found out in time."""
        self._conclude()
        if self._listening is None or self._spoken is None:
            return nobody()
        longest_s = _KNOWN_S if self._withholds else _LATE_S
        try:
            return await asyncio.wait_for(asyncio.shield(self._spoken), longest_s)
        except asyncio.TimeoutError:
            _log.warning("%s: it takes too long to find out who spoke", self._assistant.name)
            return nobody(learned=self._listening.learns)

    def _conclude(self) -> None:
        """No more of the utterance comes."""
        if self._listening is not None and self._spoken is None:
            self._spoken = asyncio.create_task(self._assistant.conclude(self._listening))

    def _forget(self) -> None:
        """What was said before is over."""
        if self._listening is not None:
            self._listening.cancel()
        if self._spoken is not None:
            self._spoken.cancel()
        self._listening, self._spoken = None, None
        self._held.clear()

    def _broken(self, what: str) -> ProgramFailed:
        host, port = self._assistant.settings.program
        return ProgramFailed(f"the speech-to-text at {host}:{port} {what}")

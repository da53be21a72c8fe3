"""A speech-to-text program, an assistant that speaks, and `edge-voice wyoming` between them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
from wyoming.server import AsyncEventHandler, AsyncTcpServer

from edge.audio.files import read_audio
from tests.integration.broker import Broker, free_port
from tests.integration.house import DEMO, House
from tests.integration.waiting import PATIENCE

T = TypeVar("T")

MODEL = AsrModel(
    name="tiny", attribution=Attribution("Its maker", "https://example.org"), installed=True,
    description="A model", version="1", languages=["en", "de"],
)  # fmt: skip
PROGRAM = AsrProgram(
    name="hashing", attribution=Attribution("Its maker", "https://example.org"), installed=True,
    description="A program", version="2", models=[MODEL], supports_transcript_streaming=True,
)  # fmt: skip


def words(sound: bytes) -> str:
    """What the program understands: another sound is another text."""
    return f"{len(sound)} bytes {hashlib.sha256(sound).hexdigest()[:12]}"


class SpeechToText:
    """A Wyoming program on a port of its own, whose text tells exactly what it heard.

    Attributes:
        events: all that it has received, of every connection.
        streams: whether it answers in pieces before the whole.
        answers: whether it answers at all, in place of hanging up.
        answering: cleared to have it wait before it answers.
    """

    def __init__(
        self, *, streams: bool = False, answers: bool = True, port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.answers = answers
        self.events: list[Event] = []
        self.streams = streams
        self.answering = threading.Event()
        self.answering.set()
        self._loop = asyncio.new_event_loop()
        self._server = AsyncTcpServer("127.0.0.1", self.port)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> SpeechToText:
        self._thread.start()
        start = self._server.start(lambda *streams: _Handler(self, *streams))
        asyncio.run_coroutine_threadsafe(start, self._loop).result(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"


class _Handler(AsyncEventHandler):
    def __init__(self, program: SpeechToText, *streams: Any) -> None:
        super().__init__(*streams)
        self._program = program
        self._sound = b""

    async def handle_event(self, event: Event) -> bool:
        self._program.events.append(event)
        if Describe.is_type(event.type):
            await self.write_event(Info(asr=[PROGRAM]).event())
        elif AudioStart.is_type(event.type):
            self._sound = b""
        elif AudioChunk.is_type(event.type):
            self._sound += event.payload or b""
        elif AudioStop.is_type(event.type):
            while not self._program.answering.is_set():
                await asyncio.sleep(0.01)
            if not self._program.answers:
                return False
            await self._answer(words(self._sound))
        elif event.type == "echo":
            await self.write_event(Event("echoed", event.data, event.payload))
        return True

    async def _answer(self, text: str) -> None:
        if self._program.streams:
            await self.write_event(TranscriptStart(language="en").event())
            for word in text.split():
                await self.write_event(TranscriptChunk(f"{word} ").event())
        await self.write_event(Transcript(text, {"some": "context"}, "en").event())
        if self._program.streams:
            await self.write_event(TranscriptStop().event())


class Between:
    """`edge-voice wyoming` as a process; `ports` are its assistants'."""

    def __init__(self, house: House, *arguments: str) -> None:
        self.house = house
        self.killed = False
        self.log = house.config.parent / "wyoming.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                house.command("wyoming", "--json", *arguments),
                env=house.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "serving" in line, line + self.log.read_text()
        self.ports: dict[str, int] = json.loads(line)["serving"]["assistants"]

    def stop(self) -> None:
        """SIGTERM, after which it ends cleanly."""
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(PATIENCE) == 0, self.log.read_text()
        finally:
            self.process.kill()
            self.process.wait()


def assistant(program: SpeechToText, **settings: Any) -> dict[str, Any]:
    """The settings of an assistant with a port of its own."""
    return {"port": free_port(), "speech_to_text": program.place, **settings}


@contextmanager
def serving(
    folder: Path, assistants: dict[str, Any], broker: Broker | None = None, **sections: Any
) -> Iterator[Between]:
    """A server with Ada enrolled."""
    wyoming = {"assistants": assistants, **sections.pop("wyoming", {})}
    house = House(folder, broker, dict(os.environ), wyoming=wyoming, **sections)
    house.enroll_ada()
    between = Between(house)
    try:
        yield between
        if not between.killed:
            between.stop()
    finally:
        between.process.kill()
        between.process.wait()


def said(*names: str) -> bytes:
    """Recordings of the demo in one breath, 16-bit mono at 16 kHz."""
    samples = np.concatenate([read_audio(DEMO / f"{name}.flac").samples for name in names])
    return (samples * 32767).astype("<i2").tobytes()


async def speak(
    port: int, sound: bytes, form: tuple[int, int, int] = (16000, 2, 1), piece: int = 2048
) -> list[Event]:
    """Say something as Home Assistant does; what comes back, up to the end of the text."""
    rate, width, channels = form
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Transcribe(language="en").event())
        await client.write_event(AudioStart(rate, width, channels).event())
        for at in range(0, len(sound), piece):
            chunk = AudioChunk(rate, width, channels, sound[at : at + piece])
            await client.write_event(chunk.event())
        await client.write_event(AudioStop().event())
        return await until(client, "transcript", "error")


async def until(client: AsyncTcpClient, *kinds: str) -> list[Event]:
    """Events up to the first one of some kinds, or the end of the connection."""
    found: list[Event] = []
    while not found or found[-1].type not in kinds:
        event = await asyncio.wait_for(client.read_event(), PATIENCE)
        if event is None:
            return found
        found.append(event)
    return found


def text_of(events: Sequence[Event]) -> str:
    """The text that an assistant understood."""
    assert events[-1].type == "transcript", events
    return Transcript.from_event(events[-1]).text


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, PATIENCE))

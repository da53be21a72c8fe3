"""A Wyoming satellite on loopback, whose sound a test sends."""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType
from typing import BinaryIO, cast

import numpy as np
import soundfile
from wyoming.audio import AudioChunk
from wyoming.event import Event, read_event, write_event

from tests.integration.house import DEMO
from tests.integration.waiting import PATIENCE

RATE = 16_000


class Satellite:
    """Serves one after another, as satellites do; sends chunks of 64 ms as fast as it can."""

    def __init__(self) -> None:
        self._door = socket.create_server(("127.0.0.1", 0))
        self._door.settimeout(PATIENCE)
        self.address = f"wyoming://127.0.0.1:{self._door.getsockname()[1]}"
        self._line: socket.socket | None = None

    def __enter__(self) -> Satellite:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.cut()
        self._door.close()

    def accept(self) -> None:
        """Wait for somebody to connect, once more, and to ask for sound."""
        self.cut()
        self._line, _ = self._door.accept()
        self._line.settimeout(PATIENCE)
        assert self.told().type == "run-satellite"

    def cut(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def told(self) -> Event:
        """The next event that it is sent."""
        assert self._line is not None
        with self._line.makefile("rb", buffering=0) as file:
            event = read_event(cast("BinaryIO", file))
        assert event is not None
        return event

    def tell(self, event: Event) -> None:
        assert self._line is not None
        with self._line.makefile("wb") as file:
            write_event(event, cast("BinaryIO", file))

    def write(self, data: bytes) -> None:
        """Send what may not be Wyoming."""
        assert self._line is not None
        with contextlib.suppress(ConnectionError):  # it may have heard enough
            self._line.sendall(data)

    def chunk(self, sound: bytes, rate: int = RATE, width: int = 2, channels: int = 1) -> None:
        self.tell(AudioChunk(rate, width, channels, sound).event())

    def send(self, samples: np.ndarray) -> None:
        sound = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        for at in range(0, len(sound), 2048):
            self.chunk(sound[at : at + 2048])

    def say(self, name: str) -> None:
        samples, _ = soundfile.read(DEMO / f"{name}.flac")
        self.send(np.concatenate((samples, quiet(2.0))))


def quiet(seconds: float) -> np.ndarray:
    """A quiet room."""
    return 1e-3 * np.random.default_rng(0).normal(size=round(seconds * RATE))

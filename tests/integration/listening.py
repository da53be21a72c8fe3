"""A service in the tests' process, in a room where all that is said is heard at once."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from edge.audio.blocks import blocks_of
from edge.audio.sources import Source
from edge.config import Config
from edge.service import build_service
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray
from tests.integration.scripted_microphone import quiet, said
from tests.integration.waiting import PATIENCE


class Room(Source):
    """Blocks are dated as if what is said were said at its pace, beginning right now."""

    def __init__(self) -> None:
        self._said: queue.Queue[FloatArray | None] = queue.Queue()
        self._heard_s = 0.0

    def say(self, what: str | FloatArray) -> None:
        """A recording of the demo, or samples; then it is quiet for a while."""
        samples = said(what) if isinstance(what, str) else what
        self._said.put(np.concatenate((samples, quiet(3.0))))

    def close(self) -> None:
        self._said.put(None)

    def blocks(self) -> Iterator[AudioBlock]:
        while (samples := self._said.get()) is not None:
            now = time.monotonic()
            for block in blocks_of(samples):
                length_s = len(block.samples) / SAMPLE_RATE
                now += length_s
                yield AudioBlock(block.samples, self._heard_s, now)
                self._heard_s += length_s


@contextmanager
def listening(config: Config, **options: Any) -> Iterator[Room]:
    """A service that is stopped at the end, which looks after everything more often than usual."""
    room = Room()
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor() as pool:
        patch.setattr("edge.service.service._TICK_S", 0.05)
        service = build_service(config, source=room, **options)
        running = pool.submit(service.run)
        try:
            room.say(quiet(0.1))
            yield room
        finally:
            service.control.stop()
            running.result(PATIENCE)

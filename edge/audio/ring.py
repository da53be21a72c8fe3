"""A ring between whoever delivers sound and whoever listens to it.

One thread writes the ring and one reads it. The writer never waits and takes no lock of the
reader's: under the interpreter's lock each counter has a single writer, which is all the order that
is needed. When the reader falls behind by more than the ring, the oldest samples are overwritten.
The reader then goes on half a ring behind the writer: one gap, and not one after another.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from edge.audio.blocks import FRAME_S, BlockMaker
from edge.types import AudioBlock, FloatArray

_LOOK_UP_S = 0.25


@dataclass(frozen=True)
class RingRead:
    """Samples read from a ring, shape (n,), the reader's own copy.

    `lost` is how many were lost just before them; `captured_at` is `time.monotonic()` when the last
    of them was written.
    """

    samples: FloatArray = field(repr=False)
    lost: int
    captured_at: float


class Ring:
    """A ring of `capacity` samples for one writing and one reading thread.

    `rate`, samples per second, dates what is read late; `written` counts the samples so far.
    """

    def __init__(self, capacity: int, rate: float) -> None:
        if capacity < 2:
            raise ValueError("a ring holds two samples at least")
        self._buffer: FloatArray = np.zeros(capacity, np.float32)
        self._capacity = capacity
        self.rate = rate
        self._claimed = 0
        self.written = 0
        self._read = 0
        self._latest = (0, time.monotonic())
        self._losses: deque[tuple[int, int]] = deque(maxlen=1024)
        self._arrived = threading.Event()

    @property
    def last_write_at(self) -> float:
        """`time.monotonic()` of the last write; before any, of the start."""
        return self._latest[1]

    def write(self, samples: FloatArray, lost: int = 0) -> None:
        """Append samples, shape (n,); `lost` are those that were lost upstream before them."""
        if lost:
            self._losses.append((self.written, lost))
        count = min(len(samples), self._capacity)
        if count < len(samples):
            self._losses.append((self.written, len(samples) - count))
            samples = samples[-count:]
        # Claimed before it is overwritten: a reader that copies meanwhile must find out.
        self._claimed = self.written + count
        at = self.written % self._capacity
        first = min(count, self._capacity - at)
        self._buffer[at : at + first] = samples[:first]
        if first < count:
            self._buffer[: count - first] = samples[first:]
        self.written += count
        self._latest = (self.written, time.monotonic())
        self._arrived.set()

    def wake(self) -> None:
        """End the wait of a reader."""
        self._arrived.set()

    def read(self, count: int, timeout_s: float) -> RingRead | None:
        """Take `count` samples, fewer where a loss comes first.

        It is None when that much has not arrived in time, or when `wake` was called.
        """
        if not self._ready(count):
            self._arrived.clear()
            if not self._ready(count):
                self._arrived.wait(timeout_s)
                if not self._ready(count):
                    return None
        lost = 0
        while True:
            lost += self._skip_overwritten()
            while self._losses and self._losses[0][0] <= self._read:
                lost += self._losses.popleft()[1]
            until = min(self._read + count, self.written)
            if self._losses:
                until = min(until, self._losses[0][0])
            samples = self._copy(self._read, until - self._read)
            # NumPy releases the interpreter's lock while it copies: the writer may have run.
            if self._claimed - self._read <= self._capacity:
                break
        self._read = until
        written, at = self._latest
        return RingRead(samples, lost, at - (written - until) / self.rate)

    def _ready(self, count: int) -> bool:
        return self.written - self._read >= count

    def _skip_overwritten(self) -> int:
        behind = self._claimed - self._read
        if behind <= self._capacity:
            return 0
        skipped = min(behind - self._capacity // 2, self.written - self._read)
        self._read += skipped
        return skipped

    def _copy(self, start: int, count: int) -> FloatArray:
        at = start % self._capacity
        first = min(count, self._capacity - at)
        return np.concatenate((self._buffer[at : at + first], self._buffer[: count - first]))


def blocks_of_ring(
    ring: Ring, closed: threading.Event, look_up: Callable[[], None]
) -> Iterator[AudioBlock]:
    """Blocks of 32 ms as they arrive, until `closed`; `look_up` is called when nothing does."""
    maker = BlockMaker(ring.rate)
    piece = round(ring.rate * FRAME_S)
    while not closed.is_set():
        stretch = ring.read(piece, _LOOK_UP_S)
        if stretch is not None:
            yield from maker.feed(stretch.samples, stretch.captured_at, stretch.lost)
        elif not closed.is_set():
            look_up()

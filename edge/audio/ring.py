"""Ring buffer between PortAudio's callback and the thread that listens.

One thread writes and one reads. The writer never waits and takes no lock of the reader's: under
the interpreter's lock each counter has a single writer, which is all the order that is needed.

When the reader falls behind by more than the ring, the oldest samples are overwritten. The reader
then goes on half a ring behind the writer: one gap, and not one after another.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from edge.types import FloatArray


@dataclass(frozen=True)
class Stretch:
    """What was read from a ring.

    Attributes:
        samples: shape (n,), the reader's own copy.
        lost: samples lost just before these.
        captured_at: `time.monotonic()` when the last of them was written.
    """

    samples: FloatArray = field(repr=False)
    lost: int
    captured_at: float


class Ring:
    """A ring of samples for one writing and one reading thread.

    Args:
        capacity: samples that it holds.
        rate: samples per second, to date what is read late.
    """

    def __init__(self, capacity: int, rate: float) -> None:
        if capacity < 2:
            raise ValueError("a ring holds two samples at least")
        self._buffer: FloatArray = np.zeros(capacity, np.float32)
        self._capacity = capacity
        self._rate = rate
        self._claimed = 0
        self._written = 0
        self._read = 0
        self._latest = (0, time.monotonic())
        self._losses: deque[tuple[int, int]] = deque(maxlen=1024)
        self._arrived = threading.Event()

    @property
    def last_write_at(self) -> float:
        """`time.monotonic()` of the last write; before any, of the start."""
        return self._latest[1]

    @property
    def written(self) -> int:
        """Samples written so far."""
        return self._written

    def write(self, samples: FloatArray, lost: int = 0) -> None:
        """Append samples, shape (n,); `lost` are those that were lost upstream before them."""
        if lost:
            self._losses.append((self._written, lost))
        count = min(len(samples), self._capacity)
        if count < len(samples):
            self._losses.append((self._written, len(samples) - count))
            samples = samples[-count:]
        # Claimed before it is overwritten: a reader that copies meanwhile must find out.
        self._claimed = self._written + count
        at = self._written % self._capacity
        first = min(count, self._capacity - at)
        self._buffer[at : at + first] = samples[:first]
        if first < count:
            self._buffer[: count - first] = samples[first:]
        self._written += count
        self._latest = (self._written, time.monotonic())
        self._arrived.set()

    def wake(self) -> None:
        """End the wait of a reader."""
        self._arrived.set()

    def read(self, count: int, timeout_s: float) -> Stretch | None:
        """Take `count` samples, fewer where a loss comes first.

        Returns:
            None when that much has not arrived in time, or when `wake` was called.
        """
        if not self._ready(count):
            self._arrived.clear()
            if not self._ready(count):
                self._arrived.wait(timeout_s)
                if not self._ready(count):
                    return None
        return self._take(count)

    def _ready(self, count: int) -> bool:
        return self._written - self._read >= count

    def _take(self, count: int) -> Stretch:
        lost = 0
        while True:
            lost += self._skip_overwritten()
            while self._losses and self._losses[0][0] <= self._read:
                lost += self._losses.popleft()[1]
            until = min(self._read + count, self._written)
            if self._losses:
                until = min(until, self._losses[0][0])
            samples = self._copy(self._read, until - self._read)
            # NumPy releases the interpreter's lock while it copies: the writer may have run.
            if self._claimed - self._read <= self._capacity:
                break
        self._read = until
        written, at = self._latest
        return Stretch(samples, lost, at - (written - until) / self._rate)

    def _skip_overwritten(self) -> int:
        behind = self._claimed - self._read
        if behind <= self._capacity:
            return 0
        skipped = min(behind - self._capacity // 2, self._written - self._read)
        self._read += skipped
        return skipped

    def _copy(self, start: int, count: int) -> FloatArray:
        at = start % self._capacity
        first = min(count, self._capacity - at)
        out: FloatArray = np.empty(count, np.float32)
        out[:first] = self._buffer[at : at + first]
        out[first:] = self._buffer[: count - first]
        return out

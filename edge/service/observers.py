"""What watches a service: it sees levels and decisions, and cannot stop the service.

The worker only puts blocks and decisions into queues; observers run in the main thread.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.access.decider import Judgment
from edge.audio.blocks import power_db
from edge.types import AudioBlock

LIVE_S = 0.1
"""How often levels are handed on while somebody watches."""
_MOST_BLOCKS = 512
"""Blocks that may wait to be measured, 16 s; a recording that is read faster loses some."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SoundLevel:
    """The sound of a stretch of the stream.

    Attributes:
        samples: how many there were, 1 or more.
        energy: sum of their squares.
        loudest: power of the loudest block.
        peak: highest sample; 1 where any was at full scale as it came in.
    """

    samples: int
    energy: float
    loudest: float
    peak: float

    @property
    def level_dbfs(self) -> float:
        """Mean level, dB relative to full scale, as the other levels."""
        return power_db(self.energy / self.samples)

    @property
    def loudest_dbfs(self) -> float:
        """Level of the loudest block."""
        return power_db(self.loudest)

    @property
    def peak_dbfs(self) -> float:
        """Level of the highest sample."""
        return power_db(self.peak * self.peak)

    def __add__(self, other: SoundLevel) -> SoundLevel:
        return SoundLevel(
            self.samples + other.samples,
            self.energy + other.energy,
            max(self.loudest, other.loudest),
            max(self.peak, other.peak),
        )


def sound_level(blocks: Iterable[AudioBlock]) -> SoundLevel | None:
    """The level of several blocks; None where there are no samples."""
    count, energy, loudest, peak = 0, 0.0, 0.0, 0.0
    for block in blocks:
        samples = block.samples
        if len(samples):
            power = float(np.dot(samples, samples))
            count += len(samples)
            energy += power
            loudest = max(loudest, power / len(samples))
            highest = 1.0 if block.clipped_fraction else float(np.abs(samples).max())
            peak = max(peak, highest)
    return SoundLevel(count, energy, loudest, peak) if count else None


class Observer:
    """Watches a service; by default it does nothing. What it raises is logged and goes no further.

    Attributes:
        live: whether it wants levels every `LIVE_S` and not only at ticks.
    """

    live = False

    def level(self, level: SoundLevel) -> None:
        """The level since the last call."""

    def decided(self, judgment: Judgment) -> None:
        """A decision was just published."""

    def tick(self) -> None:
        """Twice a second."""

    def close(self) -> None:
        """The service ends."""


class Observers:
    """Calls several observers.

    Attributes:
        blocks: the worker appends each block.
        decisions: the worker appends each published decision.
        live: whether `update` is to be called every `LIVE_S`.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.blocks: deque[AudioBlock] = deque(maxlen=_MOST_BLOCKS)
        self.decisions: deque[Judgment] = deque(maxlen=_MOST_BLOCKS)
        self.live = False
        self._observers = observers
        self._failed: set[int] = set()

    def update(self) -> None:
        """Hand on the level and the decisions since the last time."""
        level = sound_level([self.blocks.popleft() for _ in range(len(self.blocks))])
        if level is not None:
            self._call(lambda observer: observer.level(level))
        while self.decisions:
            self._decided(self.decisions.popleft())

    def _decided(self, judgment: Judgment) -> None:
        self._call(lambda observer: observer.decided(judgment))

    def tick(self) -> None:
        """As `Observer.tick`."""
        self._call(lambda observer: observer.tick())
        self.live = any(observer.live for observer in self._observers)

    def close(self) -> None:
        """As `Observer.close`, after the last update."""
        self.update()
        self._call(lambda observer: observer.close())

    def _call(self, what: Callable[[Observer], None]) -> None:
        for number, observer in enumerate(self._observers):
            try:
                what(observer)
            except Exception as error:  # noqa: BLE001, PERF203 (the door comes first)
                # Logged once: what fails at every level would fill the journal.
                if number not in self._failed:
                    _log.warning("%s failed: %s", type(observer).__name__, error, exc_info=True)
                self._failed.add(number)

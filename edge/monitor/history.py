"""The last minutes, for whoever begins to watch now."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import edge
from edge.monitor.messages import PROTOCOL, Message
from edge.types.decision import utc

LEVELS_S = 300
"""Seconds of which the level is kept, one figure each."""
_MOST_PAST = 60
"""Utterances and decisions that are kept, in memory alone."""


class History:
    """Keeps what a newcomer is told first. Used from one thread.

    Args:
        device: id of the device.
        name: its name for people.
    """

    def __init__(self, device: str, name: str) -> None:
        self._device, self._name = device, name
        self._since = time.time()
        self._levels: deque[tuple[int, float]] = deque(maxlen=LEVELS_S)
        self._past: deque[Message] = deque(maxlen=_MOST_PAST)
        self._counts = {"granted": 0, "denied": 0}
        self._state: Message | None = None

    def take(self, message: Mapping[str, Any]) -> bool:
        """Keep what is worth it.

        Returns:
            Whether it is to be told: a state that is the same as before is not.
        """
        kind = message["type"]
        if kind == "state":
            if message == self._state:
                return False
            self._state = dict(message)
        elif kind == "level":
            self._take_level(message["level_dbfs"])
        elif kind in {"utterance", "decision"}:
            self._past.append({**message, "past": True})
            if kind == "decision":
                self._counts[message["decision"]] += 1
        return True

    def replay(self) -> list[Message]:
        """What a newcomer is told: the device, the last minutes, and its state."""
        hello: Message = {
            "type": "hello",
            "protocol": PROTOCOL,
            "device": self._device,
            "name": self._name,
            "version": edge.__version__,
            "time": utc(time.time()),
            "since": utc(self._since),
            **self._counts,
            "levels_dbfs": self._each_second(),
        }
        state = [] if self._state is None else [self._state]
        return [hello, *self._past, *state]

    def _take_level(self, level_dbfs: float) -> None:
        second = int(time.monotonic())
        if self._levels and self._levels[-1][0] == second:
            level_dbfs = max(level_dbfs, self._levels.pop()[1])
        self._levels.append((second, level_dbfs))

    def _each_second(self) -> list[float | None]:
        """One level a second up to now, oldest first; None where nothing was heard."""
        now = int(time.monotonic())
        known = dict(self._levels)
        first = max(min(known, default=now), now - LEVELS_S + 1)
        return [known.get(second) for second in range(first, now + 1)]

"""Decisions that wait for the broker, and are thrown away when their time is over."""

from __future__ import annotations

import collections
import logging
import threading
import time
from dataclasses import dataclass
from typing import Optional

from edge.types import AccessDecision

_log = logging.getLogger(__name__)


def now() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps.

    Not the wall clock: a Raspberry Pi has none until the network tells it the time. Not
    `time.monotonic()`: it stops in suspend, and a decision would still be fresh in the morning.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Outgoing:
    """A decision on its way.

    Attributes:
        id: the decision's id; the same in every attempt, so that a receiver can tell a repetition.
        payload: the JSON that is published.
        outcome: `granted` or `denied`, for the log.
        expires_at: `now()` from which it must not be sent any more.
    """

    id: str
    payload: str
    outcome: str
    expires_at: float

    @property
    def remaining_s(self) -> float:
        """Seconds left to deliver it; 0 or less when it is too late."""
        return self.expires_at - now()


class Outbox:
    """A bounded queue with expiry, safe to use from several threads.

    What leaves it other than by `remove` was not delivered: it is counted and logged.
    """

    def __init__(self, capacity: int = 32) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._waiting: collections.deque[Outgoing] = collections.deque()
        self._blame: dict[str, str] = {}
        self._closed = False
        self._dropped = 0

    def put(self, decision: AccessDecision, age_s: float = 0.0) -> bool:
        """Add a decision; its lifetime started `age_s` seconds ago.

        When the queue is full its oldest decision is dropped: the newest is about whoever stands
        at the door.

        Returns:
            False when the box is closed and the decision was dropped.
        """
        entry = Outgoing(
            decision.id,
            decision.to_json(),
            decision.outcome.value,
            now() + decision.lifetime_s - age_s,
        )
        with self._lock:
            self._expire()
            if self._closed:
                self._drop(entry, "the service is stopping")
                return False
            if len(self._waiting) >= self._capacity:
                self._drop(self._waiting.popleft(), "too many are waiting")
            self._waiting.append(entry)
            return True

    def head(self) -> Optional[Outgoing]:
        """The oldest decision that may still be sent; it stays in the box until `remove`."""
        with self._lock:
            self._expire()
            return self._waiting[0] if self._waiting else None

    def remove(self, entry: Outgoing) -> None:
        """Take out a decision that the broker has confirmed."""
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._blame.pop(entry.id, None)

    def refuse(self, entry: Outgoing, why: str) -> None:
        """Drop a decision that the broker will not take."""
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._drop(entry, why)

    def blame(self, entry: Outgoing, why: str) -> None:
        """Say why a decision has not arrived so far, for the log if it never does."""
        with self._lock:
            if entry in self._waiting:
                self._blame[entry.id] = why

    def close(self) -> None:
        """Drop what is left, and everything that comes later."""
        with self._lock:
            self._closed = True
            self._expire()
            while self._waiting:
                self._drop(self._waiting.popleft(), "the service is stopping")

    @property
    def dropped(self) -> int:
        """How many decisions the broker never confirmed, or confirmed as received by nobody."""
        with self._lock:
            self._expire()
            return self._dropped

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._waiting)

    def _expire(self) -> None:
        # Lifetimes may differ, so the queue is not in order of expiry.
        for entry in [entry for entry in self._waiting if entry.remaining_s <= 0]:
            self._waiting.remove(entry)
            self._drop(entry, "the broker did not confirm it within its lifetime")

    def _drop(self, entry: Outgoing, why: str) -> None:
        self._dropped += 1
        why = self._blame.pop(entry.id, why)
        _log.warning("decision %s (%s) was dropped: %s", entry.id, entry.outcome, why)

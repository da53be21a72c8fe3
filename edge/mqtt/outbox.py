"""Messages that wait for the broker, and are thrown away when their time is over."""

from __future__ import annotations

import collections
import logging
import threading
import time
from dataclasses import dataclass

from edge.types import AccessDecision

DECISION = "decision"
_MOST_OF_ONE_KIND = 8

_log = logging.getLogger(__name__)


def now() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine sleeps.

    Not the wall clock: a Raspberry Pi has none until the network tells it the time. Not
    `time.monotonic()`: it stops in suspend, and a decision would still be fresh in the morning.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Outgoing:
    """A message on its way.

    Attributes:
        id: the decision's id; the same in every attempt, so that a receiver can tell a repetition.
        payload: the JSON that is published.
        outcome: `granted` or `denied`, for the log; empty for what is no decision.
        expires_at: `now()` from which it must not be sent any more.
        suffix: the topic's levels below the device's.
        expendable: it is no loss when nobody receives it.
    """

    id: str
    payload: str
    outcome: str
    expires_at: float
    suffix: str = DECISION
    expendable: bool = False

    @property
    def remaining_s(self) -> float:
        """Seconds left to deliver it; 0 or less when it is too late."""
        return self.expires_at - now()

    @property
    def is_decision(self) -> bool:
        """Whether it is about the door."""
        return self.suffix == DECISION


class Outbox:
    """A bounded queue with expiry, safe to use from several threads.

    Decisions go before everything else, and nothing else makes one be dropped. What leaves the
    queue other than by `remove` was not delivered: it is logged, and counted if it is a decision.
    """

    def __init__(self, capacity: int = 32) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._waiting: collections.deque[Outgoing] = collections.deque()
        self._blame: dict[str, str] = {}
        self._held: dict[str, float] = {}
        self._closed = False
        self._dropped = 0

    def put(self, decision: AccessDecision, age_s: float = 0.0) -> bool:
        """Add a decision; its lifetime started `age_s` seconds ago.

        When the queue is full its oldest entry is dropped: the newest is about whoever stands at
        the door.

        Returns:
            False when the box is closed and the decision was dropped.
        """
        return self._add(
            Outgoing(
                decision.id,
                decision.to_json(),
                decision.outcome.value,
                now() + decision.lifetime_s - age_s,
            )
        )

    def put_message(
        self, name: str, suffix: str, text: str, lifetime_s: float, *, expendable: bool = False
    ) -> bool:
        """Add what is no decision.

        Args:
            name: what the log calls it; no two that wait may have the same.
            suffix: the topic's levels below the device's.
            text: what to publish.
            lifetime_s: seconds after which it is dropped.
            expendable: it is no loss when nobody receives it; the log says nothing then.

        Returns:
            False when the box is closed and the message was dropped.
        """
        return self._add(Outgoing(name, text, "", now() + lifetime_s, suffix, expendable))

    def head(self) -> Outgoing | None:
        """What to send next, None for nothing now; it stays in the box until `remove`.

        The oldest decision, or without one the oldest message; of one topic never a later before
        an earlier one.
        """
        with self._lock:
            self._expire()
            behind: set[str] = set()
            found: Outgoing | None = None
            for entry in self._waiting:
                if entry.suffix in behind:
                    continue
                if self._held.get(entry.id, 0.0) > now():
                    behind.add(entry.suffix)
                elif entry.is_decision:
                    return entry
                elif found is None:
                    found = entry
            return found

    def next_s(self) -> float | None:
        """Seconds until `head` may have something that it did not have; None for never."""
        with self._lock:
            times = [*self._held.values(), *(entry.expires_at for entry in self._waiting)]
            return max(0.0, min(times) - now()) if times else None

    def hold(self, entry: Outgoing, seconds: float) -> None:
        """Let an entry, and what follows it on its topic, wait for a while."""
        with self._lock:
            if entry in self._waiting:
                self._held[entry.id] = now() + seconds

    def remove(self, entry: Outgoing) -> None:
        """Take out what the broker has confirmed."""
        with self._lock:
            if entry in self._waiting:
                self._take(entry)
                self._blame.pop(entry.id, None)

    def refuse(self, entry: Outgoing, why: str) -> None:
        """Drop what the broker will not take."""
        with self._lock:
            if entry in self._waiting:
                self._drop(entry, why)

    def blame(self, entry: Outgoing, why: str) -> None:
        """Say why an entry has not arrived so far, for the log if it never does."""
        with self._lock:
            if entry in self._waiting:
                self._blame[entry.id] = why

    def close(self) -> None:
        """Drop what is left, and everything that comes later."""
        with self._lock:
            self._closed = True
            self._expire()
            while self._waiting:
                self._drop(self._waiting[0], "the service is stopping")

    @property
    def dropped(self) -> int:
        """How many decisions the broker never confirmed, or confirmed as received by nobody."""
        with self._lock:
            self._expire()
            return self._dropped

    @property
    def decisions(self) -> int:
        """How many decisions wait."""
        with self._lock:
            self._expire()
            return sum(entry.is_decision for entry in self._waiting)

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._waiting)

    def _add(self, entry: Outgoing) -> bool:
        with self._lock:
            self._expire()
            if self._closed:
                self._drop(entry, "the service is stopping")
                return False
            others = [each for each in self._waiting if not each.is_decision]
            kin = [each for each in others if each.suffix == entry.suffix]
            if len(kin) >= _MOST_OF_ONE_KIND:
                self._drop(kin[0], "too many are waiting")
            elif len(self._waiting) >= self._capacity:
                if not others and not entry.is_decision:
                    self._drop(entry, "too many decisions are waiting")
                    return False
                self._drop((others or self._waiting)[0], "too many are waiting")
            self._waiting.append(entry)
            return True

    def _expire(self) -> None:
        # Lifetimes may differ, so the queue is not in order of expiry.
        for entry in [entry for entry in self._waiting if entry.remaining_s <= 0]:
            self._drop(entry, "the broker did not confirm it within its lifetime")

    def _take(self, entry: Outgoing) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)
        self._held.pop(entry.id, None)

    def _drop(self, entry: Outgoing, why: str) -> None:
        self._take(entry)
        why = self._blame.pop(entry.id, why)
        if entry.is_decision:
            self._dropped += 1
            _log.warning("decision %s (%s) was dropped: %s", entry.id, entry.outcome, why)
        else:
            level = logging.DEBUG if entry.expendable else logging.WARNING
            _log.log(level, "message %s was dropped: %s", entry.id, why)

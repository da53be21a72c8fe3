"""Messages waiting for the broker, dropped when they expire."""

from __future__ import annotations

import collections
import logging
import math
import threading
from dataclasses import dataclass

from edge.types import AccessDecision
from edge.uptime import uptime

DECISION = "decision"
_MOST_OF_ONE_TOPIC = 8

_log = logging.getLogger(__name__)


def now() -> float:
    """Seconds on a clock that is never set and keeps running in suspend.

    A Raspberry Pi has no wall clock until it has reached a time server, and `time.monotonic()`
    stops in suspend: a decision would still be fresh in the morning.
    """
    return uptime()


@dataclass(frozen=True)
class Outgoing:
    """A message to be published on the topic `suffix` below BASE/DEVICE.

    `id` is the decision's, the same in every attempt, so that a receiver can spot a repetition;
    `outcome` is for the log, empty for other messages. From `expires_at` on, by `now()`, it must
    not be sent. Losing an `expendable` one is no loss; of a `silent` one no log from level info on
    tells. One that is `unconfirmed` is sent once, with QoS 0.
    """

    id: str
    payload: str
    outcome: str
    expires_at: float
    suffix: str = DECISION
    expendable: bool = False
    silent: bool = False
    unconfirmed: bool = False

    @property
    def remaining_s(self) -> float:
        """Seconds left to deliver it; 0 or less once it has expired."""
        return self.expires_at - now()

    @property
    def is_decision(self) -> bool:
        """Whether it is a decision."""
        return self.suffix == DECISION


class Outbox:
    """A bounded, thread-safe queue with expiry; no other message displaces a decision.

    What leaves other than by `remove` is logged as not delivered, and counted if a decision.
    """

    def __init__(self, capacity: int = 32) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._waiting: collections.deque[Outgoing] = collections.deque()
        self._reasons: dict[str, str] = {}
        self._held: dict[str, float] = {}
        self._closed = False
        self._dropped = 0

    def put(self, decision: AccessDecision, age_s: float = 0.0) -> bool:
        """Add a decision whose lifetime started `age_s` seconds ago; False when it was dropped.

        A full queue drops its oldest: the newest is about the person at the door now.
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
        self,
        name: str,
        suffix: str,
        text: str,
        lifetime_s: float,
        *,
        expendable: bool = False,
        silent: bool = False,
        unconfirmed: bool = False,
    ) -> bool:
        """Add another message under a unique name for the log; False when it was dropped."""
        expires_at = now() + lifetime_s
        return self._add(
            Outgoing(name, text, "", expires_at, suffix, expendable, silent, unconfirmed)
        )

    def head(self) -> Outgoing | None:
        """What to send next, None for nothing now; it stays in the queue until `remove`.

        The oldest decision, else the oldest message; within a topic always in order.
        """
        with self._lock:
            self._expire()
            behind: set[str] = set()
            found: Outgoing | None = None
            for entry in self._waiting:
                if entry.suffix in behind:
                    continue
                if self._held.get(entry.id, -math.inf) > now():
                    behind.add(entry.suffix)
                elif entry.is_decision:
                    return entry
                elif found is None:
                    found = entry
            return found

    def next_s(self) -> float:
        """Seconds until `head` may change by itself; infinity for never."""
        with self._lock:
            times = [*self._held.values(), *(entry.expires_at for entry in self._waiting)]
            return max(0.0, min(times, default=math.inf) - now())

    def hold(self, entry: Outgoing, seconds: float, why: str) -> None:
        """Delay an entry and what follows it on its topic; `why` is logged if it is dropped."""
        with self._lock:
            if entry in self._waiting:
                self._held[entry.id] = now() + seconds
                self._reasons[entry.id] = why

    def remove(self, entry: Outgoing) -> bool:
        """Remove what the broker has confirmed; False where it had expired before."""
        with self._lock:
            waiting = entry in self._waiting
            self._remove(entry)
            return waiting

    def refuse(self, entry: Outgoing, why: str) -> None:
        """Drop what the broker refuses."""
        with self._lock:
            if entry in self._waiting:
                self._drop(entry, why)

    def close(self) -> None:
        """Drop what is left, and everything added later."""
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
            alike = [each for each in others if each.suffix == entry.suffix]
            if len(alike) >= _MOST_OF_ONE_TOPIC:
                self._drop(alike[0], "too many are waiting")
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

    def _remove(self, entry: Outgoing) -> str | None:
        """Take an entry out; returns the reason that `hold` was given."""
        if entry in self._waiting:
            self._waiting.remove(entry)
        self._held.pop(entry.id, None)
        return self._reasons.pop(entry.id, None)

    def _drop(self, entry: Outgoing, why: str) -> None:
        why = self._remove(entry) or why
        if entry.is_decision:
            self._dropped += 1
            _log.warning("decision %s (%s) was dropped: %s", entry.id, entry.outcome, why)
        else:
            unheard = entry.expendable or entry.silent
            level = logging.DEBUG if unheard else logging.WARNING
            _log.log(level, "message %s was dropped: %s", entry.id, why)

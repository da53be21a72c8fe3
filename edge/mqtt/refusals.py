"""Refused messages on their way into the audit trail, also when there are thousands a second.

Each refusal is accounted for. Up to two a second, and a hundred and twenty at once, have an entry
of their own; what comes faster is counted by reason, and the counts have one entry a minute. A
trail that took an entry for each message of a flood would push out everything else.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Mapping

from edge.types import Detail, Event, EventKind


class Allowance:
    """So many at once, so many a second; not safe for several threads."""

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._left = burst
        self._at = time.monotonic()

    def take(self) -> bool:
        """Whether there is still one; it is taken."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Refusals:
    """Collects in one thread, hands out in another.

    Args:
        burst: entries of their own at once.
        per_s: entries of their own in the long run, a second.
        summary_s: how often the counts of the others are handed out, seconds.
    """

    def __init__(self, *, burst: int = 120, per_s: float = 2.0, summary_s: float = 60.0) -> None:
        self._lock = threading.Lock()
        self._allowance = Allowance(burst, per_s)
        self._summary_s = summary_s
        self._single: list[Event] = []
        self._most = 4 * burst
        self._counts: collections.Counter[str] = collections.Counter()
        self._since = 0.0
        self._begun = 0.0

    def add(self, reason: str, detail: Mapping[str, Detail]) -> bool:
        """Take one in; returns whether it has an entry of its own."""
        with self._lock:
            if len(self._single) < self._most and self._allowance.take():
                content = {"reason": reason, **detail}
                self._single.append(Event(EventKind.COMMAND_REFUSED, content))
                return True
            if not self._counts:
                self._since, self._begun = time.time(), time.monotonic()
            self._counts[reason] += 1
            return False

    def due(self, *, all_of_them: bool = False) -> list[Event]:
        """The entries to be made now; `all_of_them` also makes one of what is being counted."""
        with self._lock:
            events, self._single = self._single, []
            over = time.monotonic() - self._begun >= self._summary_s
            if self._counts and (over or all_of_them):
                detail: dict[str, Detail] = {
                    "reason": "flood",
                    "messages": sum(self._counts.values()),
                    "since": round(self._since, 3),
                }
                detail.update(
                    (f"messages_{reason}", count) for reason, count in sorted(self._counts.items())
                )
                events.append(Event(EventKind.COMMAND_REFUSED, detail))
                self._counts.clear()
            return events

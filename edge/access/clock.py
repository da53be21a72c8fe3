"""The time at the door, and whether it can be trusted.

A Raspberry Pi has no clock that runs without power: it starts with an old time until it reaches the
network. Judged by that, a rule would open to last month's guest. So the device stores the latest
time once an hour; a clock that is behind it is not trusted, and rules that need the time deny until
it is right again.

What that cannot see: without a network, a clock that stood still during a power cut stays behind;
and one that is ahead is trusted. A door with hours needs a clock with a battery, or network time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from edge.errors import StoreError
from edge.store.device_state import DeviceState

LATEST_KEY = "clock.latest"
SLACK_S = 300.0
"""How far a clock that ran fast may be set back."""
_SOFTWARE_S = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
"""No right clock is earlier: this software is newer."""
_WRITE_EVERY_S = 3600.0
"""Each write wears the memory card."""

_log = logging.getLogger(__name__)


class DoorClock:
    """The clock of one door; for any thread.

    Args:
        state: keeps the latest time seen.
        time_zone: IANA name; None for the system's time zone.
        now: Unix time in seconds.
    """

    def __init__(
        self,
        state: DeviceState,
        time_zone: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._zone = ZoneInfo(time_zone) if time_zone else None
        self._now = now
        self._lock = threading.Lock()
        self._latest_s = self._written_s = max(_SOFTWARE_S, latest_of(state) or _SOFTWARE_S)
        self._doubted = False
        self._writes = True

    def now(self) -> datetime | None:
        """The local time at the door, with its time zone; None while it cannot be trusted."""
        now_s = self._now()
        with self._lock:
            doubted = now_s < self._latest_s - SLACK_S
            changed, self._doubted = doubted != self._doubted, doubted
            self._latest_s = max(self._latest_s, now_s)
            latest_s = self._latest_s
        if changed and doubted:
            _log.warning(
                "the clock shows %s, but it was %s before: people with hours or dates cannot open"
                " until it is right; if the earlier time was wrong, run"
                " 'edge-voice access clock --accept'",
                self.local(now_s).isoformat(" ", "minutes"),
                self.local(latest_s).isoformat(" ", "minutes"),
            )
        elif changed:
            _log.info("the clock is right again")
        return None if doubted else self.local(now_s)

    def local(self, unix_s: float) -> datetime:
        """A Unix time as local time, with its time zone."""
        if self._zone is None:
            time.tzset()  # the system's zone may have changed
            return datetime.fromtimestamp(unix_s).astimezone()
        return datetime.fromtimestamp(unix_s, tz=self._zone)

    def tick(self) -> None:
        """Store the time once an hour, and notice that the clock was accepted."""
        if self._doubted:
            self._adopt_accepted()
        self.now()
        if self._latest_s - self._written_s >= _WRITE_EVERY_S and not self._doubted:
            self.write()

    def write(self) -> None:
        """Store the time; what fails now is tried again."""
        latest_s = round(self._latest_s, 3)
        try:
            self._state.put(LATEST_KEY, repr(latest_s))
        except StoreError as error:
            if self._writes:
                _log.warning("the latest time could not be stored: %s", error)
            self._writes = False
        else:
            self._written_s, self._writes = latest_s, True

    def _adopt_accepted(self) -> None:
        written_s = max(_SOFTWARE_S, latest_of(self._state) or _SOFTWARE_S)
        if written_s != self._written_s:  # not by this process
            with self._lock:
                self._latest_s = self._written_s = written_s


def latest_of(state: DeviceState) -> float | None:
    """The latest time stored, Unix time in seconds; None where none can be read."""
    try:
        seconds = float(state.get(LATEST_KEY) or "0")
    except (StoreError, ValueError) as error:
        _log.warning("the latest time stored cannot be read: %s", error)
        return None
    return seconds if 0.0 < seconds < 1e11 else None


def accept_clock(state: DeviceState, now_s: float) -> None:
    """Trust the clock from now on.

    Raises:
        StoreError: it cannot be written.
    """
    state.put(LATEST_KEY, repr(round(now_s, 3)))

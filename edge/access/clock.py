"""What time it is at the door, and whether that can be believed.

A Raspberry Pi has no clock that goes on without power: it starts with an old time until the network
tells it the right one. Hours and end dates judged by such a clock would open to a guest of last
month. So the device writes down, once an hour, how late it has been; a clock that shows less than
that is not believed, and whatever depends on it is denied until it is right again.

What that cannot see: a clock that stood still while the power was gone and went on from there,
without a network, is behind by as long; and one that is ahead is believed. A door with hours wants
a clock with a battery, or a network time that the device can reach at its start.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Protocol
from zoneinfo import ZoneInfo

from edge.errors import StoreError

LATEST_KEY = "clock.latest"
SLACK_S = 300.0
"""How far a clock may be set back without being doubted, as one that ran fast may have to be."""
_SOFTWARE_S = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
"""Before this software was written."""
_WRITE_EVERY_S = 3600.0
"""Each write wears the memory card; an hour is how far back an unseen clock may start at most."""

_log = logging.getLogger(__name__)


class ClockState(Protocol):
    """Where the device keeps what it must not forget: `edge.store.device_state.DeviceState`."""

    def get(self, name: str) -> str | None:
        """The text kept under a name, None where there is none."""
        ...

    def put(self, name: str, text: str | None) -> None:
        """Keep a text in place of an earlier one; None removes it."""
        ...


class DoorClock:
    """The clock of one door. Any thread may use it.

    Args:
        state: where the latest time that was seen is kept.
        time_zone: IANA name of the door's time zone; None for the system's.
        now: the system's clock, Unix time in seconds.
    """

    def __init__(
        self,
        state: ClockState,
        time_zone: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._zone = ZoneInfo(time_zone) if time_zone else None
        self._now = now
        self._lock = threading.Lock()
        self._latest_s = self._written_s = max(_SOFTWARE_S, _read_latest(state))
        self._doubted = False
        self._writes = True

    def now(self) -> datetime | None:
        """The local time at the door, with its time zone; None while it cannot be believed."""
        now_s = self._now()
        with self._lock:
            doubted = now_s < self._latest_s - SLACK_S
            changed, self._doubted = doubted != self._doubted, doubted
            self._latest_s = max(self._latest_s, now_s)
            latest_s = self._latest_s
        if changed and doubted:
            _log.warning(
                "the clock says %s, but it has been %s: whoever has hours or dates is not let in"
                " until it is set right; if it was the later time that was wrong, run"
                " 'edge-voice access clock --accept'",
                self.local(now_s).isoformat(" ", "minutes"),
                self.local(latest_s).isoformat(" ", "minutes"),
            )
        elif changed:
            _log.info("the clock is right again")
        return None if doubted else self.local(now_s)

    def local(self, unix_s: float) -> datetime:
        """A Unix time as the clock on the wall shows it, with its time zone."""
        if self._zone is None:
            time.tzset()  # the system's zone may have been changed since the start
            return datetime.fromtimestamp(unix_s).astimezone()
        return datetime.fromtimestamp(unix_s, tz=self._zone)

    def tick(self) -> None:
        """Write down how late it is, if it is time to; to be called now and then.

        Also notices that somebody accepted the clock as it is.
        """
        if self._doubted:
            self._adopt_what_was_accepted()
        self.now()
        if self._latest_s - self._written_s >= _WRITE_EVERY_S and not self._doubted:
            self.write()

    def write(self) -> None:
        """Write down how late it is; what cannot be written now will be later."""
        latest_s = round(self._latest_s, 3)
        try:
            self._state.put(LATEST_KEY, repr(latest_s))
        except StoreError as error:
            if self._writes:
                _log.warning("how late it is was not written down: %s", error)
            self._writes = False
        else:
            self._written_s, self._writes = latest_s, True

    def _adopt_what_was_accepted(self) -> None:
        written_s = max(_SOFTWARE_S, _read_latest(self._state))
        if written_s != self._written_s:  # not by this process
            with self._lock:
                self._latest_s = self._written_s = written_s


def latest_of(state: ClockState) -> float | None:
    """The latest time that was written down, Unix time in seconds; None where none was."""
    written_s = _read_latest(state)
    return written_s if written_s > 0.0 else None


def accept_clock(state: ClockState, now_s: float) -> None:
    """Believe the clock as it is: what was written down is replaced.

    Raises:
        StoreError: it cannot be written.
    """
    state.put(LATEST_KEY, repr(round(now_s, 3)))


def _read_latest(state: ClockState) -> float:
    try:
        text = state.get(LATEST_KEY) or "0"
        seconds = float(text)
    except (StoreError, ValueError) as error:
        _log.warning("the latest time that was written down cannot be read: %s", error)
        return 0.0
    return seconds if 0.0 <= seconds < 1e11 else 0.0

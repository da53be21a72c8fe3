"""The time at the door, and whether it can be trusted.

A Raspberry Pi has no clock that runs without power: it starts with an old time until it reaches the
network. Judged by that, a rule would open to last month's guest. So a clock is believed once
somebody vouches for it: a time server, a clock chip that shows the same, the owner; and from then
on as long as it runs evenly, by the time since the machine started. Where nothing is known of time
servers, as in most containers, a plausible time is enough.

The device stores the latest time once an hour; a clock that is behind it is not believed, nor one
that nobody but itself puts more than a year ahead.
"""

from __future__ import annotations

import enum
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

from edge.config import AccessConfig
from edge.errors import StoreError
from edge.store.device_state import DeviceState
from edge.uptime import boot_id, uptime

LATEST_KEY = "clock.latest"
BELIEVED_KEY = "clock.believed"
SLACK_S = 300.0
"""How far a clock that ran fast may be set back, and a time server may correct it."""
SOFTWARE_S = datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp()
"""No right clock is earlier: this software is newer."""
_AHEAD_S = 366 * 86400.0
"""How long a door may have been without power; a clock chip that is further ahead has jumped."""
_STEP_S = 1.0
"""Smaller corrections are not worth a note."""
_WRITE_EVERY_S = 3600.0
"""Each write wears the memory card."""
_TIME_SERVERS = Path("/run/systemd/timesync")
"""systemd-timesyncd's folder; `synchronized` is in it once a time server has answered."""
_CHIPS = Path("/sys/class/rtc")

_log = logging.getLogger(__name__)


class Voucher(enum.IntEnum):
    """Who says that the clock is right; more than one, the highest."""

    NOBODY = 0
    UNKNOWN = 1
    """Nothing here could say so, nor that it is wrong."""
    CHIP = 2
    TIME_SERVER = 3
    OWNER = 4


_BEST = Voucher.TIME_SERVER
"""Whose word counts even against what was believed before."""


def voucher_of(now_s: float) -> Voucher:
    """Who says that it is `now_s`, Unix time in seconds; the owner is not asked."""
    if (_TIME_SERVERS / "synchronized").exists():
        return Voucher.TIME_SERVER
    if any(_shows(chip, now_s) for chip in _CHIPS.glob("rtc*/since_epoch")):
        return Voucher.CHIP
    return Voucher.NOBODY if _TIME_SERVERS.exists() else Voucher.UNKNOWN


def _shows(chip: Path, now_s: float) -> bool:
    try:
        return abs(float(chip.read_text(encoding="ascii")) - now_s) <= SLACK_S
    except (OSError, ValueError):  # it has lost its time
        return False


@dataclass(frozen=True)
class _Believed:
    """A clock that was believed: Unix time at the machine's start, which one, and by whom."""

    boot: str
    started_s: float
    voucher: Voucher


class DoorClock:
    """The clock of one door; for any thread.

    Args:
        state: keeps the latest time seen.
        time_zone: IANA name; None for the system's time zone.
        trust: believe the clock whatever it shows.
        now: Unix time in seconds.
        clock: as `uptime`.
        boot: differs between two starts of the machine.
        voucher: as `voucher_of`.
    """

    def __init__(
        self,
        state: DeviceState,
        time_zone: str | None = None,
        *,
        trust: bool = False,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = uptime,
        boot: str | None = None,
        voucher: Callable[[float], Voucher] = voucher_of,
    ) -> None:
        self._state = state
        self._zone = ZoneInfo(time_zone) if time_zone else None
        self._trust = trust
        self._now = now
        self._clock = clock
        self._boot = boot_id() if boot is None else boot
        self._voucher = voucher
        self._lock = threading.Lock()
        self._latest_s = self._written_s = max(SOFTWARE_S, latest_of(state) or SOFTWARE_S)
        self._believed = self._noted = _believed_of(state)
        self._problem: str | None = None
        self._writes = True

    @property
    def problem(self) -> str | None:
        """Why the time is unknown, as of the last `now`; None while it is known."""
        return None if self._problem is None else f"the time is unknown: {self._problem}"

    def now(self) -> datetime | None:
        """The local time at the door, with its time zone; None while it is unknown."""
        with self._lock:
            now_s = self._now()
            former = self._problem
            problem = self._problem = None if self._trust else self._doubt(now_s)
        if problem is not None and former is None:
            _log.warning(
                "the time is unknown: %s; access.unknown_time says what people with hours or dates"
                " can do until it is right; if it is right, run 'edge-voice access clock --accept'",
                problem,
            )
        elif problem is None and former is not None:
            _log.info("the time is known again")
        return None if problem is not None else self.local(now_s)

    def known_s(self) -> float | None:
        """Unix time, seconds; None while the time is unknown."""
        now = self.now()
        return None if now is None else now.timestamp()

    def at_least(self) -> float:
        """Unix time, seconds; where the clock went back, the latest that was known."""
        now_s = self._now()
        with self._lock:
            back = now_s < self._latest_s - SLACK_S and not self._trust
            return self._latest_s if back else now_s

    def local(self, unix_s: float) -> datetime:
        """A Unix time as local time, with its time zone."""
        if self._zone is None:
            time.tzset()  # the system's zone may have changed
            return datetime.fromtimestamp(unix_s).astimezone()
        return datetime.fromtimestamp(unix_s, tz=self._zone)

    def tick(self) -> None:
        """Store the time once an hour, and notice that the clock was accepted."""
        if self._problem is not None:
            self._adopt_accepted()
        self.now()
        if self._problem is None and (
            self._latest_s - self._written_s >= _WRITE_EVERY_S or self._noted != self._believed
        ):
            self.write()

    def write(self) -> None:
        """Store the time; what fails now is tried again."""
        latest_s, believed = round(self._latest_s, 3), self._believed
        try:
            self._state.put(LATEST_KEY, repr(latest_s))
            if believed is not None and believed != self._noted:
                self._state.put(BELIEVED_KEY, json.dumps(asdict(believed)))
        except StoreError as error:
            if self._writes:
                _log.warning("the latest time could not be stored: %s", error)
            self._writes = False
        else:
            self._written_s, self._noted, self._writes = latest_s, believed, True

    def _doubt(self, now_s: float) -> str | None:
        """Why the time is unknown; None where it is believed."""
        if now_s < self._latest_s - SLACK_S:
            return f"the clock shows {self._show(now_s)}, but it was {self._show(self._latest_s)}"
        up_s = self._clock()
        before = self._believed
        here = before if before is not None and before.boot == self._boot != "" else None
        moved_s = 0.0 if here is None else now_s - up_s - here.started_s
        if here is None or abs(moved_s) > SLACK_S:
            voucher = self._voucher(now_s)
            doubt = self._doubt_start(now_s, voucher)
            if doubt is None and here is not None and voucher < min(here.voucher, _BEST):
                doubt = (
                    f"the clock jumped to {self._show(now_s)} from {self._show(now_s - moved_s)}"
                )
            if doubt is not None:
                return doubt
            self._believed = _Believed(self._boot, round(now_s - up_s, 3), voucher)
        elif abs(moved_s) > _STEP_S:
            self._believed = replace(here, started_s=round(now_s - up_s, 3))
        self._latest_s = max(self._latest_s, now_s)
        return None

    def _doubt_start(self, now_s: float, voucher: Voucher) -> str | None:
        """Why a clock that was not watched since it was last known is not believed."""
        if voucher is Voucher.NOBODY:
            return (
                f"the clock shows {self._show(now_s)}, and no time server or clock chip has"
                " confirmed it since the machine started"
            )
        known = self._latest_s > SOFTWARE_S
        if known and now_s > self._latest_s + _AHEAD_S and voucher < _BEST:
            return (
                f"the clock shows {self._show(now_s)}, more than a year after"
                f" {self._show(self._latest_s)}, when it was last known"
            )
        return None

    def _show(self, unix_s: float) -> str:
        try:
            return self.local(unix_s).isoformat(" ", "minutes")
        except (ValueError, OverflowError, OSError):
            return f"{unix_s:.0f} s after 1970"

    def _adopt_accepted(self) -> None:
        written_s = max(SOFTWARE_S, latest_of(self._state) or SOFTWARE_S)
        believed = _believed_of(self._state)
        if (written_s, believed) != (self._written_s, self._noted):  # not by this process
            with self._lock:
                self._latest_s = self._written_s = written_s
                self._believed = self._noted = believed


def door_clock(
    state: DeviceState, settings: AccessConfig, now: Callable[[], float] = time.time
) -> DoorClock:
    """The clock of the door that these settings are of."""
    trust = settings.unknown_time == "trust"
    return DoorClock(state, settings.time_zone, trust=trust, now=now)


def latest_of(state: DeviceState) -> float | None:
    """The latest time stored, Unix time in seconds; None where none can be read."""
    try:
        seconds = float(state.get(LATEST_KEY) or "0")
    except (StoreError, ValueError) as error:
        _log.warning("the latest time stored cannot be read: %s", error)
        return None
    return seconds if 0.0 < seconds < 1e11 else None


def accept_clock(
    state: DeviceState,
    now_s: float,
    clock: Callable[[], float] = uptime,
    boot: str | None = None,
) -> None:
    """Have the owner vouch for the clock, until the machine starts again.

    Raises:
        StoreError: it cannot be written.
    """
    now_s = round(now_s, 3)
    boot = boot_id() if boot is None else boot
    believed = _Believed(boot, round(now_s - clock(), 3), Voucher.OWNER)
    state.put(LATEST_KEY, repr(now_s))
    state.put(BELIEVED_KEY, json.dumps(asdict(believed)))


def _believed_of(state: DeviceState) -> _Believed | None:
    try:
        text = state.get(BELIEVED_KEY)
        if text is None:
            return None
        found = json.loads(text)
        return _Believed(str(found["boot"]), float(found["started_s"]), Voucher(found["voucher"]))
    except (StoreError, ValueError, KeyError, TypeError, RecursionError):
        return None

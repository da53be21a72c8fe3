"""Access rules: which doors a person may open, and when, with their notation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)
MAX_WINDOWS = 16
MAX_DOORS = 32
MOST_AUDITED = 500
"""Characters of a rule in the audit trail."""
_DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY_WORDS = ("daily", "every-day", "everyday")
_MIDNIGHT = 24 * 60
_MAX_TEXT = 100
_HOURS = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])-([01]?[0-9]|2[0-4]):([0-5][0-9])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DOOR = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Window:
    """A stretch of the day that comes back every week, in the door's local time.

    Attributes:
        days: the weekdays on which it begins, 0 (Monday) to 6 (Sunday), each once, in order.
        start_minute: minutes after midnight at which it begins, 0 to 1439.
        end_minute: minutes after midnight at which it ends (no longer inside), 1 to 1440; one that
            is not after the start is of the next day.

    Raises:
        ValueError: a figure is outside these limits.
    """

    days: tuple[int, ...]
    start_minute: int
    end_minute: int

    def __post_init__(self) -> None:
        in_order = all(one < other for one, other in zip(self.days, self.days[1:]))
        if not self.days or not in_order or not set(self.days) <= set(EVERY_DAY):
            raise ValueError(f"invalid weekdays {self.days!r:.80}: give 0 to 6, in order")
        if not 0 <= self.start_minute < _MIDNIGHT or not 0 < self.end_minute <= _MIDNIGHT:
            raise ValueError(f"invalid minutes of a day: {self.start_minute} to {self.end_minute}")


@dataclass(frozen=True)
class AccessRule:
    """What one person may do; the default is everything, at all times.

    Attributes:
        doors: ids of the devices that may be opened, `MAX_DOORS` at most; empty for every one.
        windows: when, `MAX_WINDOWS` at most; empty for always.
        first_day: the first day (local time) on which the rule allows anything; None for any.
        last_day: the last such day; None for any. It ends at midnight, also within a window.
        challenge: whether the person is asked for digits after the passphrase.

    Raises:
        ValueError: too many doors or windows, an invalid door, or a last day before the first.
    """

    enabled: bool = True
    doors: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    first_day: date | None = None
    last_day: date | None = None
    challenge: bool = False

    def __post_init__(self) -> None:
        if len(self.doors) > MAX_DOORS or len(self.windows) > MAX_WINDOWS:
            raise ValueError(f"more than {MAX_DOORS} doors or {MAX_WINDOWS} windows")
        for door in self.doors:
            if not _DOOR.fullmatch(door):
                raise ValueError(f"invalid door {door!r:.80}: 1 to 64 letters, digits, - or _")
        if self.first_day and self.last_day and self.last_day < self.first_day:
            raise ValueError(f"the last day, {self.last_day}, is before the first")

    @property
    def timed(self) -> bool:
        """Whether what it allows depends on the clock."""
        return bool(self.windows) or self.first_day is not None or self.last_day is not None

    def as_dict(self) -> dict[str, Any]:
        """The rule as it is shown: hours as people write them, dates as 2027-01-31."""
        return {
            "enabled": self.enabled,
            "doors": list(self.doors),
            "hours": [format_window(window) for window in self.windows],
            "first_day": self.first_day.isoformat() if self.first_day else None,
            "last_day": self.last_day.isoformat() if self.last_day else None,
            "challenge": self.challenge,
        }

    def in_words(self) -> str:
        """The rule as a line: doors, hours, dates."""
        parts = [
            f"doors {', '.join(self.doors)}" if self.doors else "every door",
            " and ".join(format_window(window) for window in self.windows) or "always",
        ]
        if self.first_day is not None:
            parts.append(f"from {self.first_day.isoformat()}")
        if self.last_day is not None:
            parts.append(f"through {self.last_day.isoformat()}")
        if self.challenge:
            parts.append("with digits")
        words = ", ".join(parts)
        return words if self.enabled else f"disabled ({words})"


EVERYTHING = AccessRule()
"""Every door, always: the rule of a profile that none was made for."""


def parse_window(text: str) -> Window:
    """A window as people write it: `mon-fri 07:00-18:00`.

    Days are the first three letters of their English names, alone, as a list (`sat,sun`) or a
    range, also over the end of the week (`fri-mon`); none or `daily` are all seven. Without hours
    it is the whole day. An end that is not after the start is of the next day.

    Raises:
        ValueError: it cannot be understood; the message says what would be.
    """
    shown = repr(text[:40])
    words = text.lower().split()
    if not text.isprintable() or len(text) > _MAX_TEXT or not 1 <= len(words) <= 2:
        raise ValueError(f"invalid hours {shown}: write days, hours or both, mon-fri 07:00-18:00")
    hours = words.pop() if ":" in words[-1] else "00:00-24:00"
    days = words.pop() if words else _EVERY_DAY_WORDS[0]
    if words:
        raise ValueError(
            f"invalid hours {shown}: write days first and hours last, mon-fri 07:00-18:00"
        )
    match = _HOURS.fullmatch(hours)
    if match is None:
        raise ValueError(f"invalid hours {hours[:40]!r}: write them as 07:00-18:00")
    hour, minute, end_hour, end_minute = (int(group) for group in match.groups())
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if start >= _MIDNIGHT or end > _MIDNIGHT:
        raise ValueError(f"{hours[:40]!r} goes past the end of a day: 00:00 to 24:00")
    return Window(_parse_days(days), start, end or _MIDNIGHT)


def format_window(window: Window) -> str:
    """A window as `parse_window` reads it, in the shortest form."""
    if window.days == EVERY_DAY:
        days = _EVERY_DAY_WORDS[0]
    else:
        days = ",".join(_format_run(run) for run in _runs(window.days))
    if (window.start_minute, window.end_minute) == (0, _MIDNIGHT):
        return days
    return f"{days} {_clock(window.start_minute)}-{_clock(window.end_minute)}"


def parse_day(text: str) -> date:
    """A date written as 2027-01-31. Raises `ValueError`, which says how dates are written."""
    if _DATE.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise ValueError(f"invalid date {text[:40]!r}: write year, month and day, as in 2027-01-31")


def _parse_days(text: str) -> tuple[int, ...]:
    if text in _EVERY_DAY_WORDS:
        return EVERY_DAY
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in _DAY_NAMES or (dash and last not in _DAY_NAMES):
            raise ValueError(f"invalid day {part[:40]!r}: write {', '.join(_DAY_NAMES)} or daily")
        start = _DAY_NAMES.index(first)
        length = (_DAY_NAMES.index(last) - start) % 7 if dash else 0
        days |= {(start + step) % 7 for step in range(length + 1)}
    return tuple(sorted(days))


def _runs(days: tuple[int, ...]) -> list[list[int]]:
    runs: list[list[int]] = []
    for day in days:
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def _format_run(run: list[int]) -> str:
    names = [_DAY_NAMES[day] for day in run]
    return f"{names[0]}-{names[-1]}" if len(names) > 2 else ",".join(names)


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"

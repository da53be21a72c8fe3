"""Who may open which door, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Optional

EVERY_DAY = (0, 1, 2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Window:
    """A stretch of the day that comes back every week, in the door's local time.

    Attributes:
        days: the weekdays on which it begins, 0 (Monday) to 6 (Sunday), each once, in order.
        start_minute: minutes after midnight at which it begins, 0 to 1439.
        end_minute: minutes after midnight at which it ends (no longer inside), 1 to 1440; one that
            is not after the start is of the next day.
    """

    days: tuple[int, ...]
    start_minute: int
    end_minute: int


@dataclass(frozen=True)
class AccessRule:
    """What one person may do; the default is everything, at all times.

    Attributes:
        enabled: whether the person may open at all.
        doors: ids of the devices that the person may open; empty for every one.
        windows: when; empty for always.
        first_day: the first day (local time) on which the rule allows anything; None for any.
        last_day: the last such day, a guest's; None for any.
        challenge: whether the person is asked for digits after the passphrase.
    """

    enabled: bool = True
    doors: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    first_day: Optional[date] = None
    last_day: Optional[date] = None
    challenge: bool = False


EVERYTHING = AccessRule()
"""Every door, always: the rule of a profile that none was made for."""

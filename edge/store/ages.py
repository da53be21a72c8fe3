"""How old numbered things are, by how long this machine has run: no clock that can be set.

A clock may jump ahead by years, or never have been set; nothing must be deleted on its word. So
the device adds up its running time, and notes now and then the newest number of a series: what was
numbered before the note is at least as old as the note. A machine that is switched off does not
age, and what is lost of the running time in a power cut keeps things longer, never shorter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from edge.store.device_state import DeviceState
from edge.uptime import boot_id, uptime

RUNNING_KEY = "running"
_NOTES = 64
"""Of one series: so its ages are right to a sixty-fourth."""
_LEAST_APART_S = 600.0
_DAY_S = 86400.0


class Ages:
    """The ages of one series of ascending numbers; for one thread.

    Args:
        name: of the series.
        days: the age that matters, of running time.
        clock: as `uptime`.
        boot: differs between two starts of the machine; empty if unknown.
    """

    def __init__(
        self,
        state: DeviceState,
        name: str,
        days: int,
        *,
        clock: Callable[[], float] = uptime,
        boot: str | None = None,
    ) -> None:
        self._state = state
        self._key = f"ages/{name}"
        self._oldest_s = days * _DAY_S
        self._clock = clock
        self._boot = boot_id() if boot is None else boot

    def expired(self, newest: int) -> int:
        """The last number that is older than `days`, 0 for none; `newest` is there now.

        Raises:
            StoreError: the device's state cannot be used.
        """
        now_s = running_s(self._state, self._clock(), self._boot)
        stored = self._notes()
        # Numbers that an older copy of the file gives out anew are not as old as they were.
        notes = [note for note in stored if note[0] <= now_s and note[1] <= newest]
        old = [note for note in notes if note[0] <= now_s - self._oldest_s]
        apart_s = max(_LEAST_APART_S, self._oldest_s / _NOTES)
        kept = [*old[-1:], *notes[len(old) :]]
        if not kept or now_s - kept[-1][0] >= apart_s:
            kept.append((now_s, newest))
        if kept != stored:
            self._state.put(self._key, json.dumps(kept, separators=(",", ":")))
        return old[-1][1] if old else 0

    def _notes(self) -> list[tuple[float, int]]:
        try:
            found = json.loads(self._state.get(self._key) or "[]")
            return [(_seconds(at_s), int(number)) for at_s, number in found]
        except (ValueError, TypeError, OverflowError, RecursionError):
            return []


def running_s(state: DeviceState, now_s: float, boot: str) -> float:
    """How long the machine has run in all its days; stored, for the next time.

    Args:
        now_s: since this start of the machine, which is `boot`.

    Raises:
        StoreError: the device's state cannot be used.
    """
    total_s = 0.0

    def counted(text: str | None) -> str:
        nonlocal total_s
        known, at_s, total_s = _stored(text)
        same = known == boot and now_s >= at_s
        total_s = round(total_s + (now_s - at_s if same else now_s), 3)
        record = {"boot": boot, "at_s": round(now_s, 3), "total_s": total_s}
        return json.dumps(record, separators=(",", ":"))

    # Of several processes that count, none may take back what another one has.
    state.change(RUNNING_KEY, counted)
    return total_s


def _stored(text: str | None) -> tuple[str, float, float]:
    try:
        record = json.loads(text or "{}")
        return str(record["boot"]), _seconds(record["at_s"]), _seconds(record["total_s"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return "", math.inf, 0.0


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0.0 <= seconds < 1e11:  # nan neither
        raise ValueError("a number out of range")
    return seconds

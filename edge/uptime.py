"""Time since the machine started, by a clock that nobody sets and that runs in suspend."""

from __future__ import annotations

import time
from pathlib import Path

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def uptime() -> float:
    """Seconds since the machine started."""
    return time.clock_gettime(_CLOCK)


def boot_id() -> str:
    """The kernel's id of this start of the machine; empty if there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return ""

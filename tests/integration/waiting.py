"""Waiting for what must come, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 180.0
"""Seconds after which what is waited for counts as hanging."""


def settled(condition: Callable[..., object], patience: float = PATIENCE) -> bool:
    """Whether a condition comes true before patience is lost."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True

"""A clock that moves only when a test says so."""

from __future__ import annotations

import pytest


class Clock:
    """Stands in for the module `time`."""

    def __init__(self) -> None:
        self.now = 5_000.0

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now


def stop_clocks(monkeypatch: pytest.MonkeyPatch, *modules: str) -> Clock:
    """Let these modules read this clock."""
    clock = Clock()
    for module in modules:
        monkeypatch.setattr(f"{module}.time", clock)
    return clock

"""What watches the daemon is told everything, and none of it can stop the daemon."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from edge.access.decider import Judgment
from edge.service.monitoring import Watch
from edge.types import AudioBlock


class Notes:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def block(self, block: AudioBlock, level_dbfs: float) -> None:
        self.seen.append(f"block of {len(block.samples)} at {level_dbfs:.0f}")

    def decided(self, judgment: Judgment) -> None:
        self.seen.append("decided")

    def tick(self) -> None:
        self.seen.append("tick")

    def close(self) -> None:
        self.seen.append("closed")


class Broken(Notes):
    def tick(self) -> None:
        raise RuntimeError("out of order")


def test_one_that_fails_hinders_nobody_and_is_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notes = Notes()
    watch = Watch([Broken(), notes])
    with caplog.at_level(logging.WARNING):
        watch.tick()
        watch.tick()
    watch.block(AudioBlock(np.full(160, 0.1, np.float32), 0.0, 0.0))
    watch.close()
    assert notes.seen == ["tick", "tick", "block of 160 at -20", "closed"]
    assert [record.getMessage() for record in caplog.records] == ["Broken failed: out of order"]

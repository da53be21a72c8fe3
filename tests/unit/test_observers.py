"""Observers see everything, and none of them can stop the service."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from edge.access.decider import Judgment
from edge.audio.blocks import level_db
from edge.service.observers import Observer, Observers, SoundLevel, sound_level
from edge.types import AudioBlock, ReasonCode
from tests.unit.judgments import judgment_of


class Notes(Observer):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def level(self, level: SoundLevel) -> None:
        self.seen.append(f"{level.samples} samples at {level.level_dbfs:.0f}")

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
    observers = Observers([Broken(), notes])
    with caplog.at_level(logging.WARNING):
        observers.tick()
        observers.tick()
    observers.blocks.append(AudioBlock(np.full(160, 0.1, np.float32), 0.0, 0.0))
    observers.update()
    observers.update()  # nothing new
    observers.decisions.append(judgment_of(ReasonCode.RECOGNIZED))
    observers.close()
    assert notes.seen == ["tick", "tick", "160 samples at -20", "decided", "closed"]
    assert [record.getMessage() for record in caplog.records] == ["Broken failed: out of order"]


def test_levels_are_wanted_often_while_somebody_watches() -> None:
    notes = Notes()
    observers = Observers([Notes(), notes])
    for live in (False, True, False):
        notes.live = live
        observers.tick()
        assert observers.live is live


def test_the_level_of_several_blocks() -> None:
    rng = np.random.default_rng(5)
    parts = [0.5 * rng.standard_normal(512), 1e-3 * rng.standard_normal(1024), np.zeros(0)]
    blocks = [AudioBlock(part.astype(np.float32), 0.0, 0.0) for part in parts]
    level = sound_level(blocks)
    one, other = sound_level(blocks[:1]), sound_level(blocks[1:])
    assert level is not None
    assert one is not None
    assert other is not None
    whole = np.concatenate([block.samples for block in blocks])
    assert level.level_dbfs == pytest.approx(level_db(whole))
    assert level.loudest_dbfs == pytest.approx(level_db(blocks[0].samples))
    assert level.peak_dbfs == pytest.approx(20 * np.log10(np.abs(whole).max()))
    for both in (one + other, other + one):
        assert (both.loudest, both.peak) == (level.loudest, level.peak)
    louder_last = sound_level(blocks[::-1])
    assert louder_last is not None
    assert (louder_last.loudest, louder_last.peak) == (level.loudest, level.peak)
    assert (one + other).samples == level.samples
    assert (one + other).level_dbfs == pytest.approx(level.level_dbfs)
    assert sound_level(blocks[2:]) is None

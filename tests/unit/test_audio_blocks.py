"""Framing: blocks of 32 ms whatever comes in, each with its place, its date and what was lost."""

from __future__ import annotations

import numpy as np
import pytest

from edge.audio.blocks import BlockMaker, blocks_of, level_db, power_db
from edge.types import AudioBlock, FloatArray


def _noise(count: int) -> FloatArray:
    return np.random.default_rng(1).uniform(-0.5, 0.5, count).astype(np.float32)


def _described(blocks: list[AudioBlock]) -> list[tuple[int, float, float, int]]:
    """Of each block its length, position and date in samples, and what was lost before it."""
    return [
        (len(b.samples), b.start_s * 16_000, b.captured_at * 16_000, b.lost_samples) for b in blocks
    ]


@pytest.mark.usefixtures("unfiltered")
def test_samples_are_cut_placed_and_dated() -> None:
    maker, samples = BlockMaker(16_000), _noise(1_500)
    at = 100.0
    assert maker.feed(samples[:100], at - 1) == []
    one = maker.feed(samples[100:1_200], at)
    two = maker.feed(samples[1_200:], at + 1, last=True)
    assert _described(one) == [
        (512, 0.0, 1_600_000 - 688, 0),
        (512, 512.0, 1_600_000 - 176, 0),
    ]
    assert _described(two) == [(476, 1_024.0, 1_616_000, 0)]
    np.testing.assert_array_equal(np.concatenate([b.samples for b in one + two]), samples)
    assert one[1].end_s == two[0].start_s


@pytest.mark.usefixtures("unfiltered")
def test_what_is_incomplete_before_a_gap_is_lost_with_it() -> None:
    maker = BlockMaker(16_000)
    assert len(maker.feed(_noise(600), 1.0)) == 1
    assert maker.feed(_noise(100), 2.0, lost=1_000) == []
    one, two = maker.feed(_noise(1_030), 3.0, lost=50)
    assert (one.lost_samples, two.lost_samples) == (88 + 1_000 + 100 + 50, 0)
    assert one.start_s * 16_000 == 512 + 1_238
    np.testing.assert_array_equal(one.samples, _noise(1_030)[:512])


@pytest.mark.parametrize(("lost", "told"), [(1, 1), (4, 1), (48_000, 16_000), (48_002, 16_001)])
def test_a_loss_is_counted_at_the_rate_of_the_blocks(lost: int, told: int) -> None:
    maker = BlockMaker(48_000)
    (block, *_) = maker.feed(_noise(9_600), 3.0, lost=lost)
    assert block.lost_samples == told
    assert block.start_s == pytest.approx(told / 16_000)


def test_resampling_begins_anew_after_a_gap() -> None:
    maker = BlockMaker(48_000)
    before = maker.feed(np.ones(48_000, np.float32), 1.0)
    after = maker.feed(_noise(48_000), 3.0, lost=48_000)
    fresh = BlockMaker(48_000).feed(_noise(48_000), 3.0)
    assert all(block.lost_samples == 0 for block in before + after[1:])
    assert 16_000 <= after[0].lost_samples < 16_512
    assert after[0].start_s == pytest.approx(before[-1].end_s + after[0].lost_samples / 16_000)
    assert len(after) == len(fresh)
    for one, other in zip(after, fresh):
        np.testing.assert_array_equal(one.samples, other.samples)


def test_what_a_resampler_holds_back_comes_last() -> None:
    maker = BlockMaker(48_000)
    blocks = [*maker.feed(_noise(24_000), 1.0), *maker.feed(_noise(24_000), 2.0, last=True)]
    assert sum(len(block.samples) for block in blocks) == 16_000
    assert {len(block.samples) for block in blocks[:-1]} == {512}


@pytest.mark.parametrize("glitch", [np.inf, -np.inf, np.nan])
def test_a_glitch_of_the_driver_is_silence(glitch: float) -> None:
    samples = np.zeros(512, np.float32)
    samples[100] = glitch
    (block,) = BlockMaker(16_000).feed(samples, 1.0)
    assert not block.samples.any()
    assert block.clipped_fraction == 0.0


@pytest.mark.parametrize(("rate", "length"), [(16_000, 512), (48_000, 1_536), (8_000, 256)])
@pytest.mark.parametrize("chunk", [97, 5_000])
def test_what_was_clipped_is_counted_in_its_block(rate: int, length: int, chunk: int) -> None:
    samples = np.full(10 * length, 0.4, np.float32)
    samples[2 * length : 2 * length + length // 4] = 1.0
    samples[4 * length - length // 8 : 4 * length + length // 8] = -0.999
    samples[6 * length] = 0.998
    maker, blocks = BlockMaker(rate), []
    for start in range(0, len(samples), chunk):
        piece = samples[start : start + chunk]
        blocks += maker.feed(piece, 1.0, last=start + chunk >= len(samples))
    shares = [block.clipped_fraction for block in blocks]
    assert shares == [0.0, 0.0, 0.25, 0.125, 0.125, 0.0, 0.0, 0.0, 0.0, 0.0]


def test_what_was_clipped_may_be_known_from_before() -> None:
    samples = np.full(1_024, 1.0, np.float32)
    clipped = np.zeros(1_024, np.bool_)
    clipped[600:728] = True
    assert [b.clipped_fraction for b in blocks_of(samples, clipped)] == [0.0, 0.25]


def test_what_was_clipped_before_a_gap_is_lost_with_it() -> None:
    maker = BlockMaker(16_000)
    assert maker.feed(np.ones(100, np.float32), 1.0) == []
    (block,) = maker.feed(_noise(512), 2.0, lost=7)
    assert block.clipped_fraction == 0.0


def test_a_gap_begins_without_a_click() -> None:
    maker = BlockMaker(16_000)
    maker.feed(np.full(512, -0.3, np.float32), 1.0)
    (block,) = maker.feed(np.full(512, 0.3, np.float32), 2.0, lost=100)
    assert float(np.abs(block.samples).max()) < 1e-6


def test_a_recording_as_blocks() -> None:
    assert _described(list(blocks_of(_noise(1_100)))) == [
        (512, 0.0, -588.0, 0), (512, 512.0, -76.0, 0), (76, 1_024.0, 0.0, 0)
    ]  # fmt: skip
    assert list(blocks_of(_noise(0))) == []


@pytest.mark.parametrize(
    ("power", "expected"),
    [(1.0, 0.0), (0.5, -3.0103), (1e-3, -30.0), (1.05e-10, -99.788), (1e-10, -100.0),
     (0.95e-10, -100.0), (0.0, -100.0)],
)  # fmt: skip
def test_levels_are_relative_to_full_scale(power: float, expected: float) -> None:
    assert power_db(power) == pytest.approx(expected, abs=1e-3)
    samples = np.full(300, np.sqrt(power), np.float32)
    assert level_db(samples) == pytest.approx(expected, abs=1e-3)


def test_nothing_has_the_level_of_silence() -> None:
    assert level_db(np.zeros(0, np.float32)) == -100.0

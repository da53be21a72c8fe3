"""The utterance being heard, and pieces of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.audio.blocks import FRAME_S, FRAME_SAMPLES
from edge.audio.end_pointing import Frame, OpenUtterance
from edge.types import AudioBlock, FloatArray


def opened_of(
    samples: FloatArray, probabilities: list[float], start_s: float = 7.0
) -> OpenUtterance:
    grid = samples[: len(probabilities) * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return OpenUtterance(
        [
            Frame(
                AudioBlock(samples, start_s + index * FRAME_S, 100.0 + (index + 1) * FRAME_S),
                probability,
            )
            for index, (samples, probability) in enumerate(zip(grid, probabilities))
        ]
    )


COUNT = 40
LOUD = range(10, 30)
"""Frames that are speech: the first half of them at -12 dB, the second half at -24."""


@pytest.fixture
def opened() -> OpenUtterance:
    chance = np.random.default_rng(0)
    levels = np.full(COUNT, 1e-3)
    levels[10:20], levels[20:30] = 0.25, 0.0625
    samples = chance.standard_normal((COUNT, FRAME_SAMPLES)) * levels[:, None]
    probabilities = [0.9 if index in LOUD else 0.0 for index in range(COUNT)]
    return opened_of(samples.astype(np.float32).reshape(-1), probabilities)


def all_of(opened: OpenUtterance) -> FloatArray:
    return np.concatenate([frame.block.samples for frame in opened.frames])


def at(frame: int) -> float:
    return 7.0 + frame * FRAME_S


def test_a_part_has_exactly_the_samples_that_were_asked_for(opened: OpenUtterance) -> None:
    part = opened.part(at(12), at(18))
    expected = all_of(opened)[12 * FRAME_SAMPLES : 18 * FRAME_SAMPLES]
    np.testing.assert_array_equal(part.samples, expected)
    assert part.start_s == pytest.approx(at(12))
    assert part.end_s == pytest.approx(at(18))
    assert part.lead_s == 0.0
    assert part.tail_s == pytest.approx(0.0, abs=1e-6)
    assert part.speech_ended_at == pytest.approx(100.0 + 18 * FRAME_S)
    assert not part.truncated


def test_a_part_is_worth_what_its_own_speech_is_worth(opened: OpenUtterance) -> None:
    first, second = opened.part(at(10), at(20)), opened.part(at(20), at(30))
    for part, level in ((first, -12.0), (second, -24.1)):
        assert part.quality.net_speech_s == pytest.approx(10 * FRAME_S)
        assert part.quality.level_dbfs == pytest.approx(level, abs=0.3)
        # There is no silence within it: the noise is what was heard around it.
        assert part.quality.noise_dbfs == pytest.approx(-60.0, abs=0.5)
        assert part.quality.snr_db == pytest.approx(level + 60.0, abs=0.8)
    assert opened.part(at(25), at(40)).quality.net_speech_s == pytest.approx(5 * FRAME_S)
    assert opened.part(at(0), at(8)).quality.net_speech_s == 0.0


def test_a_click_elsewhere_does_not_spoil_a_part(opened: OpenUtterance) -> None:
    frame = opened.frames[25]
    frame.block = replace(frame.block, clipped_fraction=1.0)
    assert opened.part(at(10), at(20)).quality.clipped_fraction == 0.0
    assert opened.part(at(20), at(30)).quality.clipped_fraction == pytest.approx(0.1)


def test_a_part_beyond_the_ends_is_what_there_is_up_to_the_last_speech(
    opened: OpenUtterance,
) -> None:
    said = all_of(opened)[: (opened.last_speech + 1) * FRAME_SAMPLES]
    np.testing.assert_array_equal(opened.part(0.0, 99.0).samples, said)
    assert len(opened.part(98.0, 99.0).samples) == FRAME_SAMPLES
    assert len(opened.part(0.0, 1.0).samples) == FRAME_SAMPLES
    assert len(opened.part(at(15), at(15)).samples) == FRAME_SAMPLES


def test_the_whole_is_cut_at_its_speech(opened: OpenUtterance) -> None:
    whole = opened.whole(post_frames=4)
    assert len(whole.samples) == (LOUD[-1] + 1 + 4) * FRAME_SAMPLES
    assert whole.lead_s == pytest.approx(10 * FRAME_S)
    assert whole.end_s == pytest.approx(at(30))
    assert whole.quality.net_speech_s == pytest.approx(20 * FRAME_S)
    for pause in (15, 16):  # silence within it is not the noise around it
        opened.frames[pause].block.samples[:] = 0.0
    assert opened.whole(4).quality.noise_dbfs == pytest.approx(-60.0, abs=0.5)


def test_samples_from_a_place_on(opened: OpenUtterance) -> None:
    samples = all_of(opened)
    np.testing.assert_array_equal(opened.samples_from(at(0)), samples)
    np.testing.assert_array_equal(opened.samples_from(0.0), samples)
    np.testing.assert_array_equal(opened.samples_from(at(38)), samples[38 * FRAME_SAMPLES :])
    assert len(opened.samples_from(at(COUNT))) == 0
    assert len(opened.samples_from(at(COUNT + 5))) == 0


def test_what_was_forgotten_makes_it_truncated(opened: OpenUtterance) -> None:
    for _ in range(12):
        opened.drop_first()
    assert opened.start_s == pytest.approx(at(12))
    assert opened.whole(0).truncated
    # A piece that begins later has not lost anything.
    assert not opened.part(at(14), at(20)).truncated
    assert opened.part(at(5), at(20)).truncated
    assert opened.part(at(14), at(20)).quality.net_speech_s == pytest.approx(6 * FRAME_S)

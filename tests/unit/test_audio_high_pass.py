"""The high-pass filter: what it keeps, what it takes away, and how it begins and ends."""

from __future__ import annotations

import numpy as np
import pytest

from edge.audio.blocks import blocks_of
from edge.audio.high_pass import HighPass
from edge.audio.utterance import utterance_of
from edge.types import FloatArray
from tests.unit.voices import samples_of


def _filtered(samples: FloatArray) -> FloatArray:
    return np.concatenate([block.samples for block in blocks_of(samples)])


def _tone(hertz: float) -> FloatArray:
    return np.sin(2 * np.pi * hertz * np.arange(32_000) / 16_000).astype(np.float32)


@pytest.mark.parametrize(
    ("hertz", "gain_db"),
    [(10, -72.2), (20, -48.2), (40, -24.1), (50, -16.4), (60, -10.4), (80, -3.0), (100, -0.68),
     (120, -0.17), (200, 0.0), (1_000, 0.0), (7_900, 0.0)],
)  # fmt: skip
def test_a_butterworth_filter_of_the_fourth_order(hertz: float, gain_db: float) -> None:
    kept = _filtered(_tone(hertz))[16_000:]
    gain = 10 * np.log10(np.mean(np.square(kept, dtype=np.float64)) / 0.5)
    assert gain == pytest.approx(gain_db, abs=0.1)


@pytest.mark.parametrize("offset", [1.0, 0.05, -0.005])
def test_an_offset_is_nothing_from_the_first_sample_on(offset: float) -> None:
    assert np.abs(_filtered(np.full(5_000, offset, np.float32))).max() < 1e-9


def test_sound_on_an_offset_is_what_it_is_without() -> None:
    sound = 0.1 * _tone(440)[:5_120]
    np.testing.assert_allclose(_filtered(sound + np.float32(0.05)), _filtered(sound), atol=1e-6)


def test_a_block_goes_on_where_the_last_one_ended() -> None:
    whole = _filtered(_tone(30)[:4_000])
    step = np.abs(np.diff(whole))
    # No joint stands out, and the last block, which is shorter, is filtered as the others.
    assert step[511::512].max() < 1.01 * step.max()
    np.testing.assert_allclose(whole[3_900:], _filtered(_tone(30)[:4_096])[3_900:4_000], atol=1e-9)


def test_after_digital_silence_no_tiny_numbers_are_left() -> None:
    one = HighPass()
    one.feed(_tone(50)[:512])
    for _ in range(10):
        last = one.feed(np.zeros(512, np.float32))
    assert not last.any()


def test_nothing_stays_nothing() -> None:
    assert not _filtered(np.zeros(2_000, np.float32)).any()
    assert len(HighPass().feed(np.zeros(0, np.float32))) == 0


@pytest.mark.parametrize("offset", [0.0, 0.005, 0.01, 0.05])
@pytest.mark.parametrize("quieter_db", [0, 20, 26])
def test_the_quality_is_that_of_the_sound_without_its_offset(
    offset: float, quieter_db: int
) -> None:
    clean = samples_of("ada_right_phrase") * np.float32(10 ** (-quieter_db / 20))
    expected = utterance_of(clean)
    found = utterance_of(clean + np.float32(offset))
    assert found.quality.snr_db == pytest.approx(expected.quality.snr_db, abs=0.05)
    assert found.quality.level_dbfs == pytest.approx(expected.quality.level_dbfs, abs=0.05)
    assert (found.start_s, found.end_s) == (expected.start_s, expected.end_s)

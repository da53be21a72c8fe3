"""Level, noise, ratio and clipping against signals whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from edge.audio.blocks import FRAME_S, FRAME_SAMPLES, QUIETEST_DB
from edge.audio.quality import measure_quality
from edge.types import FloatArray


def _noise(frames: int, rms: float) -> FloatArray:
    generator = np.random.default_rng(5)
    return (rms * generator.standard_normal(frames * FRAME_SAMPLES)).astype(np.float32)


def _mask(quiet: int, loud: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([False] * quiet + [True] * loud + [False] * quiet)


@pytest.mark.parametrize("snr_db", [0.0, 5.0, 10.0, 20.0, 40.0])
def test_ratio_is_of_speech_alone_to_noise(snr_db: float) -> None:
    speech = _mask(20, 60)
    samples = _noise(100, 0.001)
    time = np.arange(len(samples))
    tone = 0.001 * 10 ** (snr_db / 20) * np.sqrt(2) * np.sin(0.3 * time)
    samples += np.where(np.repeat(speech, FRAME_SAMPLES), tone, 0).astype(np.float32)

    quality = measure_quality(samples, speech)

    assert quality.snr_db == pytest.approx(snr_db, abs=0.6)
    assert quality.noise_dbfs == pytest.approx(-60.0, abs=0.3)
    assert quality.net_speech_s == pytest.approx(60 * FRAME_S)
    assert quality.clipped_fraction == 0.0


def test_level_of_a_full_scale_sine_is_minus_three() -> None:
    sine = np.sin(2 * np.pi * np.arange(FRAME_SAMPLES * 50) / 32).astype(np.float32)

    quality = measure_quality(sine, np.ones(50, np.bool_))

    assert quality.level_dbfs == pytest.approx(-3.01, abs=0.05)


def test_click_in_the_silence_is_not_taken_for_the_noise() -> None:
    samples = _noise(100, 1e-3)
    samples[5 * FRAME_SAMPLES : 6 * FRAME_SAMPLES] = 0.8

    assert measure_quality(samples, _mask(20, 60)).noise_dbfs == pytest.approx(-60.0, abs=0.5)


def test_clipping_is_counted_within_speech_only() -> None:
    samples = _noise(100, 0.01)
    loud = slice(40 * FRAME_SAMPLES, 46 * FRAME_SAMPLES)
    samples[loud] = 1.0
    samples[:FRAME_SAMPLES] = -1.0

    assert measure_quality(samples, _mask(20, 60)).clipped_fraction == pytest.approx(0.1)


def test_where_all_is_speech_the_ratio_is_low_rather_than_high() -> None:
    quality = measure_quality(_noise(50, 0.1), np.ones(50, np.bool_))

    assert quality.snr_db < 5.0


def test_digital_silence_and_nothing_have_figures_too() -> None:
    silence = measure_quality(np.zeros(5120, np.float32), np.zeros(10, np.bool_))
    nothing = measure_quality(np.zeros(0, np.float32), np.zeros(0, np.bool_))
    pure = np.concatenate([np.zeros(5120), np.full(5120, 0.5)]).astype(np.float32)
    clean = measure_quality(pure, np.arange(20) >= 10)

    assert silence.level_dbfs == silence.noise_dbfs == QUIETEST_DB
    assert nothing.net_speech_s == 0.0
    assert clean.snr_db == 60.0


def test_what_was_loud_before_a_part_is_no_noise_of_it() -> None:
    samples = _noise(100, 0.01)  # -40 dB: a television that is then switched off
    samples[66 * FRAME_SAMPLES :] *= 0.1
    speech = np.zeros(100, np.bool_)
    speech[70:90] = True
    part = np.zeros(100, np.bool_)
    part[68:92] = True
    samples[70 * FRAME_SAMPLES : 90 * FRAME_SAMPLES] += (
        0.01
        * np.float32(np.sqrt(2))
        * np.sin(0.3 * np.arange(20 * FRAME_SAMPLES), dtype=np.float32)
    )
    speech[:40] = True  # what the television says
    samples[: 40 * FRAME_SAMPLES] *= 3

    quality = measure_quality(samples, speech, part)

    assert quality.noise_dbfs == pytest.approx(-60.0, abs=1.5)
    assert quality.snr_db == pytest.approx(20.0, abs=1.5)
    assert measure_quality(samples, speech).noise_dbfs > -55.0

"""Level, noise, ratio and clipping against signals whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

from edge.audio.quality import explain, measure_quality, reason_to_refuse
from edge.config import RecognitionConfig
from edge.types import FloatArray, Quality, ReasonCode

FRAME_SAMPLES = 512
FRAME_S = 0.032


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


def _steps(levels: list[float]) -> FloatArray:
    """Frames of these constant magnitudes, alternating in sign so that they are no offset."""
    signs = np.tile(np.array([1, -1], np.float32), FRAME_SAMPLES // 2)
    return (np.array(levels, np.float32)[:, None] * signs).reshape(-1)


def _measured(levels: list[float], speech: str, part: str = "") -> Quality:
    """Frames of these magnitudes; which of them are speech, and the part, are marked by x."""
    marks = np.array([mark == "x" for mark in speech])
    return measure_quality(
        _steps(levels), marks, np.array([mark == "x" for mark in part]) if part else None
    )


@pytest.mark.parametrize(
    ("levels", "speech", "noise_dbfs"),
    [
        # What fades away, or is breathed in, next to speech is no noise ...
        ([0.001, 0.001, 0.1, 0.5, 0.1, 0.001, 0.001], "...x...", -60.0),
        ([0.1, 0.5, 0.1, 0.001], ".x..", -60.0),
        ([0.001, 0.1, 0.5, 0.1], "..x.", -60.0),
        ([0.1, 0.5, 0.1, 0.001, 0.1, 0.5], ".x...x", -60.0),
        # ... unless there is nothing else.
        ([0.1, 0.5, 0.1], ".x.", -20.0),
        ([0.5, 0.1, 0.01, 0.5], "x..x", -22.967),
        # A click in the silence is not taken for it.
        ([0.001, 0.9, 0.001, 0.1, 0.5], "....x", -60.0),
        # Of speech alone it is the quietest tenth, one frame at least.
        ([0.5] * 8 + [0.1], "x" * 9, -20.0),
        ([0.5] * 17 + [0.1, 0.2], "x" * 19, -20.0),
        ([0.5] * 18 + [0.1, 0.2], "x" * 20, -16.021),
    ],
)
def test_what_counts_as_noise(levels: list[float], speech: str, noise_dbfs: float) -> None:
    assert _measured(levels, speech).noise_dbfs == pytest.approx(noise_dbfs, abs=1e-3)


def test_the_noise_is_taken_off_the_speech() -> None:
    quality = _measured([0.3, 0.3, 0.1, 0.5, 0.7], "...xx")
    assert quality.level_dbfs == pytest.approx(-4.3180, abs=1e-3)  # of 0.37, the mean power
    assert quality.noise_dbfs == pytest.approx(-10.4576, abs=1e-3)
    assert quality.snr_db == pytest.approx(4.9292, abs=1e-3)  # 0.28 to 0.09
    assert quality.net_speech_s == 0.064


def test_a_ratio_has_ends() -> None:
    assert _measured([0.0, 0.0, 0.0, 0.5], "...x").snr_db == 60.0
    assert _measured([0.0005, 0.0005, 0.0, 0.5], "...x").snr_db == pytest.approx(60.0, abs=0.01)
    assert _measured([0.000501, 0.000501, 0.0, 0.5], "...x").snr_db < 60.0
    # No louder than the noise: all there is are the least powers that are told apart.
    assert _measured([0.5, 0.5, 0.0, 0.5], "...x").snr_db == -60.0
    assert _measured([0.005, 0.005, 0.0, 0.004], "...x").snr_db == pytest.approx(-53.979, abs=1e-3)
    assert _measured([1e-7, 1e-7, 0.0, 1e-5], "...x").snr_db == pytest.approx(20.0, abs=0.01)
    assert _measured([5e-7, 5e-7, 0.0, 1e-5], "...x").snr_db == pytest.approx(20.0, abs=0.01)


@pytest.mark.parametrize(("magnitude", "share"), [(0.9989, 0.0), (0.999, 0.25), (-1.0, 0.25)])
def test_clipping_is_counted_within_speech_alone(magnitude: float, share: float) -> None:
    samples = _steps([1.0, 0.01, 0.5, 0.5, 0.01])
    samples[2 * FRAME_SAMPLES : 2 * FRAME_SAMPLES + 256] = magnitude
    speech = np.array([False, False, True, True, False])
    assert measure_quality(samples, speech).clipped_fraction == share
    part = np.array([False, False, True, False, False])
    assert measure_quality(samples, speech, part).clipped_fraction == 2 * share


def test_where_all_is_speech_the_ratio_is_low_rather_than_high() -> None:
    assert measure_quality(_noise(50, 0.1), np.ones(50, np.bool_)).snr_db < 5.0


@pytest.mark.filterwarnings("error")
def test_where_there_is_nothing_to_measure() -> None:
    nothing = Quality(-100.0, -100.0, 0.0, 0.0, 0.0)
    assert measure_quality(np.zeros(5120, np.float32), np.zeros(10, np.bool_)) == nothing
    assert measure_quality(np.ones(511, np.float32), np.ones(1, np.bool_)) == nothing
    assert measure_quality(np.ones(512, np.float32), np.ones(0, np.bool_)) == nothing
    assert _measured([0.5], "x").net_speech_s == 0.032
    speechless = _measured([0.1, 0.2], "..")
    assert speechless.noise_dbfs == pytest.approx(-16.021, abs=1e-3)
    assert (speechless.level_dbfs, speechless.snr_db, speechless.net_speech_s) == (-100.0, 0.0, 0.0)
    # Speech that is not in the part is none of it.
    assert _measured([0.1, 0.2], "x.", ".x").net_speech_s == 0.0


def test_little_speech_is_not_none() -> None:
    little, config = Quality(-20.0, -60.0, 40.0, 0.5, 0.1), RecognitionConfig()
    assert reason_to_refuse(little, config) is ReasonCode.CLIPPED
    assert explain(ReasonCode.TOO_SHORT, little, config).startswith("too short (0.1 s of speech")


def test_what_is_not_a_whole_frame_is_left_out() -> None:
    samples = np.concatenate([_steps([0.001, 0.001, 0.5]), np.ones(500, np.float32)])
    quality = measure_quality(samples, np.array([False, False, True, True]))
    assert quality.net_speech_s == 0.032
    assert quality.level_dbfs == pytest.approx(-6.0206, abs=1e-3)
    fewer = measure_quality(samples, np.array([True, True]))
    assert fewer.level_dbfs == pytest.approx(-60.0, abs=1e-3)


def test_the_noise_of_a_part_is_no_louder_than_its_quietest_tenth() -> None:
    levels = [0.5, 0.5, 0.1, 0.1, 0.1] + [0.001, 0.01] + [0.5] * 18
    speech = "xx..." + ".." + "x" * 18
    for part, expected in (("", -20.0), ("." * 5 + "x" * 20, -42.967), ("." * 7 + "x" * 18, -20.0)):
        noise_dbfs = _measured(levels, speech, part).noise_dbfs
        assert noise_dbfs == pytest.approx(expected, abs=1e-3), part


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


def test_the_echo_is_measured_from_the_first_speech_to_what_fades_after_the_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[tuple[FloatArray, float]] = []

    def measured(samples: FloatArray, snr_db: float) -> float:
        given.append((samples, snr_db))
        return 0.7

    monkeypatch.setattr("edge.audio.quality.reverberation_s", measured)
    samples = _steps([number / 1000 for number in range(100)])
    speech = np.zeros(100, np.bool_)
    speech[20:50] = speech[90:95] = True
    quality = measure_quality(samples, speech)
    assert quality.reverberation_s == 0.7
    assert given[0][1] == quality.snr_db
    np.testing.assert_array_equal(given[0][0], samples[20 * FRAME_SAMPLES :])
    part = np.zeros(100, np.bool_)
    part[30:60] = True
    measure_quality(samples, speech, part)
    # Half a second after the last speech is 16 frames.
    np.testing.assert_array_equal(
        given[1][0], samples[30 * FRAME_SAMPLES : (50 + 16) * FRAME_SAMPLES]
    )

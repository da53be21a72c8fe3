"""The reverberation time, of sounds that fade at a known rate and of speech in such rooms."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from edge.audio.echo import LONGEST_S, reverberation_s
from edge.types import SAMPLE_RATE, FloatArray
from tests.unit.voices import samples_of

VOICES = ("ada_right_phrase", "robin_right_phrase", "ada_enroll_1", "robin_enroll_1")


def fading(seconds: float, count: int, seed: int) -> FloatArray:
    """Noise that falls by 60 dB in these seconds."""
    noise = np.random.default_rng(seed).standard_normal(count)
    found: FloatArray = (noise * 10 ** (-3 * np.arange(count) / SAMPLE_RATE / seconds)).astype(
        np.float32
    )
    return found


def bursts(seconds: float, seed: int = 0) -> FloatArray:
    """A burst of noise each second for five seconds, which then fades at this rate."""
    chance = np.random.default_rng(seed)
    parts = []
    for number in range(5):
        parts.append(chance.standard_normal(SAMPLE_RATE // 10).astype(np.float32))
        parts.append(fading(seconds, SAMPLE_RATE * 9 // 10, 10 * seed + number))
    return np.float32(0.1) * np.concatenate(parts)


@functools.cache
def in_a_room(voice: str, seconds: float) -> FloatArray:
    """A voice of the demo in a room of this reverberation time, shape (n,)."""
    samples = np.concatenate((samples_of(voice), np.zeros(SAMPLE_RATE // 2, np.float32)))
    if not seconds:
        return samples
    room = fading(seconds, round(seconds * SAMPLE_RATE), VOICES.index(voice))
    room /= np.linalg.norm(room)
    size = 1 << (len(samples) + len(room)).bit_length()
    heard = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(room, size), size)
    return heard[: len(samples)].astype(np.float32)


def with_noise(samples: FloatArray, snr_db: float) -> FloatArray:
    noise = np.random.default_rng(7).standard_normal(len(samples))
    noise *= np.sqrt(np.mean(np.square(samples)) / 10 ** (snr_db / 10))
    return (samples + noise).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.4, 0.6, 0.9, 1.2, 1.5])
def test_the_rate_at_which_noise_fades(seconds: float) -> None:
    found = [reverberation_s(bursts(seconds, seed), 60.0) for seed in range(3)]
    assert float(np.mean(found)) == pytest.approx(seconds, abs=0.35)


@pytest.mark.parametrize("seconds", [0.05, 0.2])
def test_what_fades_at_once_has_no_echo(seconds: float) -> None:
    assert reverberation_s(bursts(seconds), 60.0) == 0.0


@pytest.mark.parametrize(("seconds", "off"), [(0.0, 0.05), (0.3, 0.15), (0.6, 0.3), (1.2, 0.3)])
def test_voices_in_a_room(seconds: float, off: float) -> None:
    found = [reverberation_s(in_a_room(voice, seconds), 60.0) for voice in VOICES]
    assert float(np.mean(found)) == pytest.approx(seconds, abs=off)


@pytest.mark.parametrize("voice", VOICES)
def test_a_longer_echo_is_found_to_be_longer(voice: str) -> None:
    found = [reverberation_s(in_a_room(voice, seconds), 60.0) for seconds in (0.0, 0.3, 0.6, 1.2)]
    assert (np.diff(found) > 0.1).all()


@pytest.mark.parametrize("seconds", [0.0, 0.3, 0.6, 1.2])
def test_noise_hardly_changes_it(seconds: float) -> None:
    rooms = [in_a_room(voice, seconds) for voice in VOICES]
    quiet = np.mean([reverberation_s(room, 60.0) for room in rooms])
    noisy = np.mean([reverberation_s(with_noise(room, 10.0), 10.0) for room in rooms])
    assert abs(noisy - quiet) < 0.4


@pytest.mark.parametrize("gain", [0.01, 0.1, 10.0])
def test_the_level_is_nothing_to_it(gain: float) -> None:
    samples = in_a_room("ada_right_phrase", 0.6)
    louder = reverberation_s(np.float32(gain) * samples, 60.0)
    assert louder == pytest.approx(reverberation_s(samples, 60.0), abs=0.05)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [0, 1, 400, 512, 1600, 3000, 48_000])
def test_silence_and_what_is_too_short_have_none(count: int) -> None:
    assert reverberation_s(np.zeros(count, np.float32), 0.0) == 0.0
    if count <= 3000:
        assert reverberation_s(bursts(0.6)[:count], 60.0) == 0.0


@pytest.mark.parametrize("snr_db", [-60.0, 0.0, 60.0])
def test_it_has_ends(snr_db: float) -> None:
    steady = np.random.default_rng(1).standard_normal(3 * SAMPLE_RATE).astype(np.float32)
    endless = fading(20.0, 5 * SAMPLE_RATE, 2)
    for samples in (steady, endless, bursts(8.0)):
        assert 0.0 <= reverberation_s(samples, snr_db) <= LONGEST_S


def test_of_a_long_recording_the_middle_counts() -> None:
    middle = np.concatenate((bursts(0.6), bursts(0.6, 1)[:SAMPLE_RATE]))
    assert len(middle) == 6 * SAMPLE_RATE
    around = np.concatenate((bursts(0.05)[: 2 * SAMPLE_RATE], middle, bursts(0.05)[:32_000]))
    assert reverberation_s(around, 60.0) == reverberation_s(middle, 60.0)

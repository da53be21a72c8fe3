"""Late echo is taken off; speech is left as it was."""

from __future__ import annotations

import numpy as np
import pytest

from edge.audio import dereverberation
from edge.audio.dereverberation import dereverberated
from edge.recognition.augmentation import Augmentation, augmented
from edge.types import FloatArray
from tests.unit.voices import recording

HALL = Augmentation(rt60_s=1.2, direct_db=-6.0)


def loudness(samples: FloatArray) -> FloatArray:
    """Decibels of each frame of 8 ms in each band of 125 Hz."""
    frames = samples[: len(samples) // 128 * 128].reshape(-1, 128)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1))).astype(np.float32)
    decibels: FloatArray = 10.0 * np.log10(power + 1e-7)
    return decibels


def distance(one: FloatArray, other: FloatArray) -> float:
    """Of two recordings of the same speech: median difference in loudness, decibels."""
    return float(np.median(np.abs(loudness(one) - loudness(other))))


@pytest.mark.parametrize("name", ["ada_right_phrase", "stranger_adas_phrase"])
def test_speech_without_an_echo_is_hardly_changed(name: str) -> None:
    dry = recording(name).samples
    found = dereverberated(dry)
    assert found.shape == dry.shape
    assert found.dtype == np.float32
    assert distance(found, dry) < 1.0


@pytest.mark.parametrize(("delay", "left"), [(100, 0.5), (500, 0.38), (900, 0.38), (1_900, 0.5)])
def test_an_echo_of_24_to_104_ms_is_foretold(delay: int, left: float) -> None:
    """An earlier one is the sound itself, as far as anybody can tell; a later one is out of reach.

    How much of it can be foretold goes by how it falls into the frames.
    """
    noise = np.random.default_rng(0).normal(0.0, 0.1, 64_000).astype(np.float32)
    echoing = noise.copy()
    echoing[delay:] += 0.5 * noise[:-delay]
    # Correlation with the sound of `delay` samples before.
    before, after = (
        float(each[delay:] @ noise[:-delay]) / float(noise @ noise)
        for each in (echoing, dereverberated(echoing))
    )
    assert before == pytest.approx(0.5, abs=0.03)
    assert after == pytest.approx(left, abs=0.05)


@pytest.mark.parametrize("samples", [1, 127, 1_600, 16_001])
@pytest.mark.parametrize("level", [0.0, 1e-20, 1.0])
def test_any_sound_comes_out_finite_and_as_long(samples: int, level: float) -> None:
    noise = np.random.default_rng(samples).uniform(-level, level, samples).astype(np.float32)
    constant = np.full(samples, level, np.float32)
    half = np.concatenate((noise, np.zeros(samples, np.float32)))
    for sound in (noise, constant, half):
        found = dereverberated(sound)
        assert len(found) == len(sound)
        assert np.isfinite(found).all()
        assert np.abs(found).max() <= 2.0 * level


def test_the_level_makes_no_difference() -> None:
    sound = augmented(recording("ada_right_phrase"), HALL).samples
    quiet = dereverberated(sound * np.float32(0.01))
    assert quiet * 100.0 == pytest.approx(dereverberated(sound), abs=1e-3)


def test_frames_add_up_to_the_samples_again() -> None:
    for count in (1, 500, 16_000):
        sound = np.random.default_rng(count).normal(0.0, 0.1, count).astype(np.float32)
        spectra = dereverberation._spectra(sound)
        assert dereverberation._samples(spectra, count) == pytest.approx(sound, abs=1e-5)

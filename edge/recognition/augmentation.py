"""A saying as it would sound in other places: made at enrollment, kept as further examples.

Noise and echo move a phrase embedding further than another saying of the same phrase does. Who is
enrolled in a quiet room is therefore enrolled in a noisy and in an echoing one too: the echo is
noise that decays exponentially (the statistical model of late reverberation, J. D. Polack, 1988),
the noise has about the spectrum of speech.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edge.recognition.embedders import voice_samples
from edge.types import SAMPLE_RATE, FloatArray, Utterance


@dataclass(frozen=True)
class Augmentation:
    """A place to hear an utterance in.

    Attributes:
        snr_db: mean power of the speech over that of the noise, dB; None without noise.
        rt60_s: time in which the echo decays by 60 dB; None without echo.
        direct_db: energy of the direct sound over that of the echo, dB.
    """

    snr_db: float | None = None
    rt60_s: float | None = None
    direct_db: float = 0.0


PLACES = (
    Augmentation(snr_db=10.0),
    Augmentation(rt60_s=0.6, direct_db=-3.0),
    Augmentation(snr_db=20.0, rt60_s=0.8, direct_db=-4.0),
)
"""Chosen among fourteen places and their combinations: with three, most of what all of them do."""

_GAP_S = 0.002
"""From the direct sound to the first of the echo."""
_LOWEST_HZ = 60.0
_KNEE_HZ = 500.0
"""Up to here the noise is flat, beyond it falls by 9 dB an octave."""


def heard_in(utterance: Utterance, place: Augmentation) -> Utterance:
    """The same utterance somewhere else, cut at the same moments and as loud as it was.

    Nothing is left to chance: the same utterance sounds the same every time.

    Args:
        utterance: as it was recorded.
        place: where.
    """
    samples = utterance.samples
    speech = voice_samples(utterance)
    power = float(np.mean(np.square(speech))) if len(speech) else 0.0
    if power == 0.0:
        return utterance
    # Another stretch of noise and another echo for each saying, or all would have that in common.
    chance = np.random.default_rng((len(samples), PLACES.index(place) if place in PLACES else 0))
    if place.rt60_s is not None:
        samples = _with_echo(samples, place.rt60_s, place.direct_db, chance)
    if place.snr_db is not None:
        noise = _noise(len(samples), chance)
        samples = samples + noise * np.float32(np.sqrt(power * 10.0 ** (-place.snr_db / 10.0)))
    return replace(utterance, samples=samples)


def _with_echo(
    samples: FloatArray, rt60_s: float, direct_db: float, chance: np.random.Generator
) -> FloatArray:
    time = np.arange(int(rt60_s * SAMPLE_RATE)) / SAMPLE_RATE
    response = chance.standard_normal(len(time)) * 10.0 ** (-3.0 * time / rt60_s)
    response[: int(_GAP_S * SAMPLE_RATE)] = 0.0
    response *= 10.0 ** (-direct_db / 20.0) / np.linalg.norm(response)
    response[0] = 1.0
    size = 1 << (len(samples) + len(response) - 1).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    heard = np.fft.irfft(spectrum, size)[: len(samples)]
    heard *= np.linalg.norm(samples) / max(float(np.linalg.norm(heard)), 1e-12)
    return heard.astype(np.float32)


def _noise(count: int, chance: np.random.Generator) -> FloatArray:
    """Noise of unit power with about the long-term spectrum of speech, shape (count,)."""
    size = 1 << (count - 1).bit_length()
    spectrum = np.fft.rfft(chance.standard_normal(size))
    frequency = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
    spectrum /= 1.0 + (frequency / _KNEE_HZ) ** 1.5
    spectrum[frequency < _LOWEST_HZ] = 0.0
    noise = np.fft.irfft(spectrum, size)[:count]
    return (noise / max(float(np.sqrt(np.mean(np.square(noise)))), 1e-12)).astype(np.float32)

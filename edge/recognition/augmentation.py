"""Augmentation: an enrolled utterance with noise and echo added, kept as a further example.

Noise and echo move a phrase embedding further than a repetition of the phrase does. Enrollment in a
quiet room therefore covers a noisy and an echoing one too: the echo is noise that decays
exponentially (the statistical model of late reverberation, J. D. Polack, 1988), the noise has about
the spectrum of speech.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.recognition.dtw import unit
from edge.recognition.embedders import voice_samples
from edge.types import SAMPLE_RATE, FloatArray, Utterance


@dataclass(frozen=True)
class Augmentation:
    """Noise and echo to add to an utterance.

    Attributes:
        snr_db: mean power of the speech over that of the noise, dB; None without noise.
        rt60_s: time in which the echo decays by 60 dB; None without echo.
        direct_db: energy of the direct sound over that of the echo, dB.
    """

    snr_db: float | None = None
    rt60_s: float | None = None
    direct_db: float = 0.0


AUGMENTATIONS = (
    Augmentation(snr_db=10.0),
    Augmentation(rt60_s=0.6, direct_db=-3.0),
    Augmentation(snr_db=20.0, rt60_s=0.8, direct_db=-4.0),
)
"""Chosen among fourteen and their combinations: three do most of what all of them do."""

_GAP_S = 0.002
"""From the direct sound to the first of the echo."""
_LOWEST_HZ = 60.0
_KNEE_HZ = 500.0
"""Up to here the noise is flat, beyond it falls by 9 dB an octave."""


def augmented(utterance: Utterance, augmentation: Augmentation) -> Utterance:
    """The utterance with noise and echo, cut at the same moments and as loud as it was.

    It is deterministic: the same utterance gives the same samples every time.
    """
    samples = utterance.samples
    power = float(np.mean(np.square(voice_samples(utterance))))
    # Noise and echo differ from utterance to utterance, or all would have them in common.
    index = AUGMENTATIONS.index(augmentation) if augmentation in AUGMENTATIONS else 0
    random = np.random.default_rng((len(samples), index))
    if augmentation.rt60_s is not None:
        samples = _with_echo(samples, augmentation.rt60_s, augmentation.direct_db, random)
    if augmentation.snr_db is not None:
        noise = _noise(len(samples), random)
        samples = samples + noise * np.float32(
            np.sqrt(power * 10.0 ** (-augmentation.snr_db / 10.0))
        )
    return replace(utterance, samples=samples)


def in_echo_and_noise(voices: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """A voice in an echoing room and in noise, from one embedding for each of `AUGMENTATIONS`."""
    echoing = [voice for voice, each in zip(voices, AUGMENTATIONS) if each.rt60_s is not None]
    noisy = [voice for voice, each in zip(voices, AUGMENTATIONS) if each.rt60_s is None]
    return unit(np.sum(echoing, axis=0)), unit(np.sum(noisy, axis=0))


def _with_echo(
    samples: FloatArray, rt60_s: float, direct_db: float, random: np.random.Generator
) -> FloatArray:
    time = np.arange(int(rt60_s * SAMPLE_RATE)) / SAMPLE_RATE
    response = random.standard_normal(len(time)) * 10.0 ** (-3.0 * time / rt60_s)
    response[: int(_GAP_S * SAMPLE_RATE)] = 0.0
    response *= 10.0 ** (-direct_db / 20.0) / np.linalg.norm(response)
    response[0] = 1.0
    size = 1 << (len(samples) + len(response) - 1).bit_length()
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    echoed = np.fft.irfft(spectrum, size)[: len(samples)]
    echoed *= np.linalg.norm(samples) / max(float(np.linalg.norm(echoed)), 1e-12)
    return echoed.astype(np.float32)


def _noise(count: int, random: np.random.Generator) -> FloatArray:
    """Noise of unit power with about the long-term spectrum of speech, shape (count,)."""
    size = 1 << (count - 1).bit_length()
    spectrum = np.fft.rfft(random.standard_normal(size))
    frequency = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
    spectrum /= 1.0 + (frequency / _KNEE_HZ) ** 1.5
    spectrum[frequency < _LOWEST_HZ] = 0.0
    noise = np.fft.irfft(spectrum, size)[:count]
    unit_power: FloatArray = (noise / np.sqrt(np.mean(np.square(noise)))).astype(np.float32)
    return unit_power

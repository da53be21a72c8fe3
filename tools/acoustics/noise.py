"""Background noise: added at a given signal-to-noise ratio, or generated."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.audio.blocks import FRAME_SAMPLES
from edge.audio.files import read_audio
from edge.errors import InputError
from edge.types import SAMPLE_RATE, FloatArray
from tools.acoustics.levels import Signal, active_frames, speech_power, unclipped

NOISE_DBFS = -20.0
"""Level of the noises made here, dB relative to full scale; `add_noise` sets its own."""

_CROSS_FADE = SAMPLE_RATE // 20
_LOWEST_PINK_HZ = 40.0
_TALKERS = 6


def add_noise(samples: FloatArray, noise: FloatArray, snr_db: float, seed: int) -> FloatArray:
    """Add noise to speech.

    Args:
        samples: mono speech at `SAMPLE_RATE`, shape (n,), n at least `FRAME_SAMPLES`.
        noise: mono noise at `SAMPLE_RATE`, of any length; a random part is used, looped with
            a cross-fade of 50 ms if it is shorter than the speech.
        snr_db: mean power of the active speech over the mean power of the noise used, dB.
        seed: of the random part.

    Returns:
        Shape (n,). If the sum would clip, speech and noise are both attenuated.

    Raises:
        InputError: the speech or the noise is silent.
    """
    power = speech_power(samples)
    if power == 0.0:
        raise InputError("the speech is digital silence or under 32 ms: noise has no ratio to it")
    segment = _segment(noise, len(samples), np.random.default_rng(seed))
    noise_power = float(np.mean(np.square(segment))) if len(segment) else 0.0
    if noise_power == 0.0:
        raise InputError("the noise is empty or digitally silent; use another recording of noise")
    gain = np.sqrt(power / noise_power * 10.0 ** (-snr_db / 10.0))
    return unclipped(samples.astype(np.float64) + gain * segment)


def _segment(noise: FloatArray, length: int, generator: np.random.Generator) -> Signal:
    source = noise.astype(np.float64)
    if len(source) >= length:
        start = int(generator.integers(len(source) - length + 1))
        return source[start : start + length]
    # Cross-fade the end into the beginning (equal power), so that the result is periodic.
    fade = min(_CROSS_FADE, len(source) // 2)
    period = source[: len(source) - fade].copy()
    angle = (np.arange(fade) + 0.5) / max(fade, 1) * (np.pi / 2)
    tail = source[len(source) - fade :]
    period[:fade] = np.sin(angle) * period[:fade] + np.cos(angle) * tail
    if len(period) == 0:
        return period
    start = int(generator.integers(len(period)))
    return np.take(period, np.arange(start, start + length), mode="wrap")


def pink_noise(seconds: float, seed: int) -> FloatArray:
    """Noise of equal power in every octave from 40 Hz up, at -20 dB full scale.

    It is periodic: its end joins its beginning.

    Returns:
        Shape (round(seconds * SAMPLE_RATE),).
    """
    count = round(seconds * SAMPLE_RATE)
    generator = np.random.default_rng(seed)
    spectrum = np.fft.rfft(generator.standard_normal(count)) if count else np.zeros(1)
    frequency = np.fft.rfftfreq(max(count, 1), 1.0 / SAMPLE_RATE)
    spectrum = spectrum / np.sqrt(np.maximum(frequency, _LOWEST_PINK_HZ))
    spectrum[0] = 0.0
    return _at_noise_level(np.fft.irfft(spectrum, count) if count else np.zeros(0))


def babble(recordings: Sequence[Path], seconds: float, seed: int) -> FloatArray:
    """Six people talking at once, from recordings of speech, at -20 dB full scale.

    Each talker is a random sequence of recordings without their outer silence, all equally loud. Do
    not use recordings of the tested speakers.

    Args:
        recordings: WAV or FLAC files of speech.
        seconds: length of the babble.
        seed: of the random order.

    Returns:
        Shape (round(seconds * SAMPLE_RATE),).

    Raises:
        InputError: there is no speech in the recordings.
        AudioFormatError: one of them cannot be read.
    """
    count = round(seconds * SAMPLE_RATE)
    generator = np.random.default_rng(seed)
    mixed = np.zeros(count)
    for _ in range(_TALKERS):
        order = [recordings[i] for i in generator.permutation(len(recordings))]
        mixed += _talker(order, count)
    return _at_noise_level(mixed)


def _talker(order: Sequence[Path], count: int) -> Signal:
    parts: list[Signal] = []
    filled = silent = 0
    for path in itertools.cycle(order):
        if filled >= count or silent >= len(order):
            break
        samples = read_audio(path).samples
        active = np.flatnonzero(active_frames(samples))
        if len(active) == 0:
            silent += 1
            continue
        silent = 0
        spoken = samples[active[0] * FRAME_SAMPLES : (active[-1] + 1) * FRAME_SAMPLES]
        parts.append(spoken / np.sqrt(speech_power(samples)))
        filled += len(spoken)
    if filled < count:
        raise InputError("there is no speech to make babble of; give recordings of speech")
    return np.concatenate(parts)[:count] if parts else np.zeros(0)


def _at_noise_level(signal: Signal) -> FloatArray:
    power = float(np.mean(np.square(signal))) if len(signal) else 0.0
    gain = np.sqrt(10.0 ** (NOISE_DBFS / 10.0) / power) if power > 0 else 0.0
    return unclipped(signal * gain)

"""Speech through another microphone than at enrollment."""

from __future__ import annotations

import functools

import numpy as np

from edge.errors import InputError
from edge.types import SAMPLE_RATE, FloatArray
from tools.acoustics.levels import Signal, at_level_of, library, unclipped

MICROPHONES = ("cheap_usb", "phone", "far_quiet")


def microphone(samples: FloatArray, kind: str, seed: int = 0) -> FloatArray:
    """Speech through another microphone than at enrollment.

    `cheap_usb` passes 150 Hz to 7 kHz with a peak of +6 dB at 3 kHz; `phone` passes 300 to 3,400
    Hz; `far_quiet` is 20 dB quieter and adds noise at -75 dB full scale. The first two keep the
    level of the speech.

    Args:
        samples: mono speech at `SAMPLE_RATE`, shape (n,).
        kind: one of `MICROPHONES`.
        seed: of its own noise.

    Raises:
        EnvironmentFault: scipy is not installed.
        InputError: unknown microphone.
    """
    if kind not in MICROPHONES:
        raise InputError(f"there is no microphone {kind!r}; there are {', '.join(MICROPHONES)}")
    signal = samples.astype(np.float64)
    if kind == "far_quiet":
        own = np.random.default_rng(seed).standard_normal(len(samples)) * 10.0 ** (-75.0 / 20.0)
        return unclipped(signal * 10.0 ** (-20.0 / 20.0) + own)
    sections = _cheap_usb() if kind == "cheap_usb" else _phone()
    heard: Signal = library("scipy.signal").sosfilt(sections, signal)
    return unclipped(at_level_of(samples, heard))


@functools.cache
def _cheap_usb() -> Signal:
    signal = library("scipy.signal")
    low = signal.butter(2, 150.0, "highpass", fs=SAMPLE_RATE, output="sos")
    high = signal.butter(4, 7000.0, "lowpass", fs=SAMPLE_RATE, output="sos")
    sections: Signal = np.concatenate((low, _peak(3000.0, 6.0, 2.0), high))
    return sections


@functools.cache
def _phone() -> Signal:
    sections: Signal = library("scipy.signal").butter(
        4, (300.0, 3400.0), "bandpass", fs=SAMPLE_RATE, output="sos"
    )
    return sections


def _peak(frequency_hz: float, gain_db: float, quality: float) -> Signal:
    """A peaking filter: R. Bristow-Johnson, "Cookbook formulae for audio equalizer biquads"."""
    gain = 10.0 ** (gain_db / 40.0)
    angle = 2.0 * np.pi * frequency_hz / SAMPLE_RATE
    alpha = np.sin(angle) / (2.0 * quality)
    middle = -2.0 * np.cos(angle)
    zeros = np.asarray((1 + alpha * gain, middle, 1 - alpha * gain))
    poles = np.asarray((1 + alpha / gain, middle, 1 - alpha / gain))
    section: Signal = np.concatenate((zeros, poles))[None] / poles[0]
    return section

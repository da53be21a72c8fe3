"""Changes the tempo of speech, and not its pitch: a phase vocoder."""

from __future__ import annotations

import numpy as np

from edge.types import FloatArray

_WINDOW = 1024
_HOP = 256


def stretched(samples: FloatArray, ratio: float) -> FloatArray:
    """Faster by a ratio, at the same pitch."""
    shape = np.hanning(_WINDOW)
    padded = np.concatenate((np.zeros(_WINDOW), samples, np.zeros(_WINDOW)))
    starts = np.arange(0.0, len(padded) - _WINDOW - _HOP, _HOP * ratio).astype(np.intp)
    expected = 2.0 * np.pi * _HOP * np.arange(_WINDOW // 2 + 1) / _WINDOW
    result = np.zeros(len(starts) * _HOP + _WINDOW)
    weight = np.zeros_like(result)
    phase = np.zeros_like(expected)
    for number, start in enumerate(starts):
        before, now = np.fft.rfft(
            shape * [padded[at : at + _WINDOW] for at in (start, start + _HOP)], axis=1
        )
        advance = np.angle(now) - np.angle(before) - expected
        advance -= 2.0 * np.pi * np.round(advance / (2.0 * np.pi))
        phase = phase + expected + advance if number else np.angle(now)
        here = slice(number * _HOP, number * _HOP + _WINDOW)
        result[here] += shape * np.fft.irfft(np.abs(now) * np.exp(1j * phase))
        weight[here] += np.square(shape)
    first = round((_WINDOW - _HOP) / ratio)
    return (result / np.maximum(weight, 0.1))[first : first + round(len(samples) / ratio)].astype(
        np.float32
    )

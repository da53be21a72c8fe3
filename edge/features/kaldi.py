"""The 80-band log-mel filterbank that the speaker model was trained on.

It is Kaldi's `compute-fbank-feats` with `--num-mel-bins=80 --dither=0`: D. Povey et al., "The Kaldi
speech recognition toolkit", ASRU 2011; the tests hold it against `kaldi-native-fbank`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edge.features.filterbank import (
    FFT_LENGTH,
    FRAME_LENGTH,
    FRAME_SHIFT,
    Axis,
    band_energies,
    triangles,
)
from edge.types import SAMPLE_RATE, FloatArray

BANDS = 80

_INT16_SCALE = 32_768.0
_PREEMPHASIS = 0.97
_LOWEST_HZ = 20.0
_FLOOR = float(np.finfo(np.float32).eps)


def frame_count(samples: int) -> int:
    """Whole 25 ms frames, 10 ms apart, in that many samples."""
    return max(0, 1 + (samples - FRAME_LENGTH) // FRAME_SHIFT)


def log_mel(samples: FloatArray) -> FloatArray:
    """Log-mel filterbank of a recording, frame by frame.

    Only whole frames count: what is left at the end, shorter than a frame, is dropped. The mean is
    left in; see `remove_mean`.

    Args:
        samples: mono audio at 16 kHz, shape (n,), full scale is [-1, 1).

    Returns:
        Natural logarithm of the energy in 80 mel bands from 20 Hz to 8 kHz (at the scale of 16-bit
        samples), shape (frames, 80), one frame every 10 ms; no frames when n < 400.
    """
    energies = band_energies(samples, frame_count(len(samples)), _prepare, _bank())
    np.maximum(energies, _FLOOR, out=energies)
    np.log(energies, out=energies)
    return energies


def remove_mean(features: FloatArray) -> FloatArray:
    """Features with each band's mean over the utterance taken off: evens out the microphone.

    Args:
        features: shape (frames, bands).

    Returns:
        Same shape; each band has mean 0 over the frames.
    """
    if len(features) == 0:
        return features
    mean: FloatArray = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    return features - mean


def _prepare(block: FloatArray) -> None:
    block -= block.mean(axis=1, keepdims=True)
    # Pre-emphasis takes the sample before; the first has none and stands in for it.
    first = block[:, 0] * (1.0 - _PREEMPHASIS)
    block[:, 1:] -= _PREEMPHASIS * block[:, :-1]
    block[:, 0] = first
    block *= _window()


@lru_cache(maxsize=1)
def _window() -> FloatArray:
    # Kaldi's "povey" window: a Hann window to the power 0.85. The int16 scale rides along.
    n = np.arange(FRAME_LENGTH)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * n / (FRAME_LENGTH - 1))
    return np.asarray(_INT16_SCALE * hann**0.85, dtype=np.float32)


@lru_cache(maxsize=1)
def _bank() -> FloatArray:
    # Triangles on the mel axis; the bin at Nyquist belongs to no band.
    hertz = np.arange(FFT_LENGTH // 2) * SAMPLE_RATE / FFT_LENGTH
    edges = np.linspace(_mel(np.array(_LOWEST_HZ)), _mel(np.array(SAMPLE_RATE / 2)), BANDS + 2)
    bank = np.zeros((FFT_LENGTH // 2 + 1, BANDS), dtype=np.float32)
    bank[:-1] = triangles(edges[:-2], edges[1:-1], edges[2:], _mel(hertz))
    return bank


def _mel(hertz: Axis) -> Axis:
    return np.asarray(1127.0 * np.log1p(hertz / 700.0))

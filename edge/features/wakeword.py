"""The 32-band mel front end that the phrase model was trained on.

It computes what the `melspectrogram.tflite` of the open wake-word frameworks computes (a Hann
window of 25 ms, Slaney's mel bands with unit area, decibels with 80 dB of range), and then the
`x / 10 + 2` that those frameworks apply before Google's speech embedding.
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

BANDS = 32

_INT16_SCALE = 32_768.0
_LOWEST_HZ = 60.0
_HIGHEST_HZ = 3_800.0
_FLOOR = 1e-10
_RANGE_DB = 80.0
_MARGIN = (FFT_LENGTH - FRAME_LENGTH) // 2


def mel_frames(samples: FloatArray) -> FloatArray:
    """Scaled mel spectrogram of a recording.

    What lies more than 80 dB below the loudest value of the whole recording is lifted to there.

    Args:
        samples: mono audio at 16 kHz, shape (n,), full scale is [-1, 1).

    Returns:
        Energy in 32 mel bands from 60 Hz to 3.8 kHz as decibels / 10 + 2, shape (frames, 32), one
        frame every 10 ms; no frames when n < 512.
    """
    # The original's frames are 512 samples long, its window 400 in their middle.
    frames = max(0, 1 + (len(samples) - FFT_LENGTH) // FRAME_SHIFT)
    energies = band_energies(samples[_MARGIN:], frames, _prepare, _bank())
    if frames == 0:
        return energies
    np.maximum(energies, _FLOOR, out=energies)
    scaled = np.log10(energies, out=energies)
    np.maximum(scaled, scaled.max() - _RANGE_DB / 10.0, out=scaled)
    scaled += 2.0
    return scaled


def _prepare(block: FloatArray) -> None:
    block *= _window()


@lru_cache(maxsize=1)
def _window() -> FloatArray:
    n = np.arange(FRAME_LENGTH)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * n / FRAME_LENGTH)
    return np.asarray(_INT16_SCALE * hann, dtype=np.float32)


@lru_cache(maxsize=1)
def _bank() -> FloatArray:
    # Triangles on the hertz axis between points evenly apart in Slaney's mel, each of area 1.
    hertz = np.arange(FFT_LENGTH // 2 + 1) * SAMPLE_RATE / FFT_LENGTH
    edges = _hertz(np.linspace(_mel(_LOWEST_HZ), _mel(_HIGHEST_HZ), BANDS + 2))
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    area = triangles(left, center, right, hertz) * 2.0 / (right - left)
    return area.astype(np.float32)


# Slaney's mel ("Auditory Toolbox", 1998): linear to 1 kHz at 200/3 Hz a mel, then 27 steps to each
# factor of 6.4.
_BREAK_HZ = 1_000.0
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = float(np.log(6.4)) / 27.0


def _mel(hertz: float) -> float:
    if hertz < _BREAK_HZ:
        return hertz / _HZ_PER_MEL
    return _BREAK_MEL + float(np.log(hertz / _BREAK_HZ)) / _LOG_STEP


def _hertz(mel: Axis) -> Axis:
    low = mel * _HZ_PER_MEL
    return np.where(mel < _BREAK_MEL, low, _BREAK_HZ * np.exp((mel - _BREAK_MEL) * _LOG_STEP))

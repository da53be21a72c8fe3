"""Cutting a signal into frames and summing their power spectrum into mel bands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE, FloatArray

Axis = NDArray[np.float64]
"""Points or weights of a frequency axis; double precision until the bank is made."""

FFT_LENGTH = 512
FRAME_SHIFT = SAMPLE_RATE // 100
"""Samples from one frame to the next: 10 ms."""
FRAME_LENGTH = SAMPLE_RATE // 40
"""Samples in a frame: 25 ms."""

_BLOCK = 256
"""Frames worked on at once; bounds the memory that a ten-minute recording takes."""


def band_energies(
    samples: FloatArray,
    frames: int,
    prepare: Callable[[FloatArray], None],
    bank: FloatArray,
) -> FloatArray:
    """Energy of each frame in each band.

    Args:
        samples: the signal, shape (n,); must hold `frames` whole frames.
        frames: how many frames to cut, 10 ms apart from sample 0 on.
        prepare: changes a block of frames, shape (b, 400), in place before the transform
            (window and the like).
        bank: weights from the power spectrum to the bands, shape (257, bands).

    Returns:
        Energies, shape (frames, bands).
    """
    energies = np.empty((frames, bank.shape[1]), dtype=np.float32)
    if frames == 0:
        return energies
    windows = np.lib.stride_tricks.sliding_window_view(samples, FRAME_LENGTH)[::FRAME_SHIFT]
    for first in range(0, frames, _BLOCK):
        last = min(first + _BLOCK, frames)
        block = windows[first:last].astype(np.float32)
        prepare(block)
        spectrum = np.fft.rfft(block, FFT_LENGTH)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        np.matmul(power.astype(np.float32, copy=False), bank, out=energies[first:last])
    return energies


def triangles(left: Axis, center: Axis, right: Axis, at: Axis) -> Axis:
    """Triangular weights that rise from `left` to 1 at `center` and fall to 0 at `right`.

    Args:
        left: lower edge of each band, shape (bands,).
        center: peak of each band, shape (bands,).
        right: upper edge of each band, shape (bands,).
        at: where to evaluate, on the same axis (mel or hertz), shape (points,).

    Returns:
        Weights, shape (points, bands), 0 to 1.
    """
    points = at[:, np.newaxis]
    rise = (points - left) / (center - left)
    fall = (right - points) / (right - center)
    return np.maximum(0.0, np.minimum(rise, fall))

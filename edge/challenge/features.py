"""Features that digits are recognized by: cepstra every 10 ms, and how they change.

The phrase model's vectors cover 750 ms: a digit and half of its neighbors. These cover 25 ms and
the 80 ms on both sides: mel-frequency cepstra (Davis and Mermelstein, 1980) with regression slopes
and curvatures (Furui, 1986). The answer and the enrolled digits are raised to the level of the
answer's noise, band by band, before they are compared: below it, sound carries no information.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from edge.features import mel_frames
from edge.types import FloatArray

HOP_S = 0.01
BANDS = 32
DIMENSIONS = 39

RANGE = 10.4
"""Range of levels below the loudest, natural logarithms (45 dB)."""
AUDIBLE = 6.9
"""Level below the loudest at which a word begins and ends, natural logarithms (30 dB)."""

_CEPSTRA = 13
_SLOPE_FRAMES = 5
_LOUDEST_PERCENTILE = 98.0
_QUIETEST_PERCENTILE = 10.0
_ABOVE_NOISE = -1.0
"""Floor of a band relative to the mean of its noise, natural logarithms. A higher one would hide
more of the noise, and with it faint sounds that distinguish some digits."""


def spectrum_of(samples: FloatArray) -> FloatArray:
    """Mel spectrum of mono audio at 16 kHz, shape (n,), relative to its loudest sounds.

    Natural logarithms of energy from -`RANGE` up, shape (t, 32), one row every 10 ms; none if
    n < 512.
    """
    frames = mel_frames(samples)
    if len(frames) == 0:
        return frames
    logs = frames * np.float32(np.log(10.0))
    loudest = np.percentile(logs.max(axis=1), _LOUDEST_PERCENTILE)
    relative: FloatArray = np.maximum(logs - np.float32(loudest), np.float32(-RANGE))
    return relative


def noise_of(spectrum: FloatArray) -> FloatArray:
    """Level below which a band is only noise, from the quietest frames, shape (32,)."""
    means = spectrum.mean(axis=1)
    quiet = spectrum[means <= np.percentile(means, _QUIETEST_PERCENTILE)]
    level: FloatArray = np.minimum(quiet.mean(axis=0) + np.float32(_ABOVE_NOISE), 0.0)
    return np.maximum(level, np.float32(-RANGE))


def loudness_of(spectrum: FloatArray, noise: FloatArray) -> FloatArray:
    """How far each frame's loudest band is above the noise, natural logarithms, shape (t,)."""
    loudness: FloatArray = np.maximum(spectrum - noise, 0.0).max(axis=1)
    return loudness


def word_in(spectrum: FloatArray) -> FloatArray:
    """The rows from the first to the last audible one; none if there are none."""
    peaks = spectrum.max(axis=1) if len(spectrum) else np.zeros(0, np.float32)
    threshold = max(-AUDIBLE, float(noise_of(spectrum).max()) if len(spectrum) else 0.0)
    loud = np.flatnonzero(peaks > min(threshold, -1.0))
    if len(loud) == 0:
        return spectrum[:0]
    return spectrum[max(0, loud[0] - 1) : loud[-1] + 2]


def features_of(spectrum: FloatArray, noise: FloatArray) -> FloatArray:
    """Cepstra with slopes and curvatures, shape (t, 39).

    From a spectrum of shape (t, 32), t >= 1, and the level to raise each band to, shape (32,).
    """
    cepstra = np.maximum(spectrum, noise) @ _transform()
    slopes = _slopes(cepstra)
    return np.concatenate((cepstra, slopes, _slopes(slopes)), axis=1)


def _slopes(rows: FloatArray) -> FloatArray:
    """Regression over `_SLOPE_FRAMES` on both sides, as the change over that many frames."""
    width, count = _SLOPE_FRAMES, len(rows)
    padded = np.pad(rows, ((width, width), (0, 0)), "edge")
    total = np.zeros_like(rows)
    for step in range(1, width + 1):
        later, earlier = padded[width + step :], padded[width - step :]
        total += np.float32(step) * (later[:count] - earlier[:count])
    weight = width / (2.0 * sum(step * step for step in range(1, width + 1)))
    return total * np.float32(weight)


@lru_cache(maxsize=1)
def _transform() -> FloatArray:
    """The discrete cosine transform, shape (32, 13)."""
    order = np.arange(_CEPSTRA)[None, :]
    band = np.arange(BANDS)[:, None]
    cosines = np.sqrt(2.0 / BANDS) * np.cos(np.pi * order * (2 * band + 1) / (2 * BANDS))
    return np.asarray(cosines, dtype=np.float32)

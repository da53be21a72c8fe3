"""How many syllables were said, by the peaks of loudness in the band of the vowels.

A syllable has one vowel, and a vowel is louder than the consonants around it (Mermelstein 1975;
De Jong and Wempe 2009 count such peaks too). It is an estimate: where vowels follow each other, or
are swallowed, it finds fewer. So few are refused, those that leave little doubt.

Measured on 588 utterances of 24 synthetic and some 100 real voices, the syllables of each known,
2 syllables or fewer counted as too few (`FEW`):

    syllables said             1      2      3      4 and more
    counted as too few       100 %   73 %   45 %    0.3 %

With noise at 12 dB below the speech the last figure is 0.6 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE, FloatArray

WANTED = 4
"""Syllables that a passphrase should have."""
FEW = 2
"""Up to here an estimate leaves little doubt that there are fewer than `WANTED`."""

_LENGTH = SAMPLE_RATE // 40
_HOP = SAMPLE_RATE // 100
_FFT = 512
_LOWEST_HZ, _HIGHEST_HZ = 300.0, 2500.0
_SMOOTHING_HOPS = 4.0
"""Standard deviation of the smoothing: 40 ms, half of a fast syllable."""
_DIP_DB = 1.5
"""How far the level falls between two vowels at least."""
_DEPTH_DB = 30.0
"""A vowel is no further than this below the loudest one."""


def count_syllables(samples: FloatArray) -> int:
    """Estimate the number of syllables in an utterance.

    Args:
        samples: mono audio at `SAMPLE_RATE`, shape (n,).

    Returns:
        0 and up.
    """
    level = _vowel_level(samples)
    if len(level) < 3:
        return 0
    middle = level[1:-1]
    tops = (middle >= level[:-2]) & (middle > level[2:]) & (middle > level.max() - _DEPTH_DB)
    peaks: list[int] = []
    for top in np.flatnonzero(tops) + 1:
        if not peaks:
            peaks.append(int(top))
            continue
        last = peaks[-1]
        dip = min(level[last], level[top]) - level[last : top + 1].min()
        if dip >= _DIP_DB:
            peaks.append(int(top))
        elif level[top] > level[last]:
            peaks[-1] = int(top)
    return len(peaks)


def _vowel_level(samples: FloatArray) -> NDArray[np.float64]:
    """Smoothed level of the vowels' band every 10 ms, dB, shape (t,)."""
    if len(samples) < _LENGTH:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _LENGTH)[::_HOP]
    spectrum = np.fft.rfft(frames * np.hanning(_LENGTH).astype(np.float32), _FFT, axis=1)
    frequencies = np.fft.rfftfreq(_FFT, 1.0 / SAMPLE_RATE)
    band = (frequencies >= _LOWEST_HZ) & (frequencies <= _HIGHEST_HZ)
    power = (np.abs(spectrum[:, band]) ** 2).sum(axis=1)
    reach = int(3 * _SMOOTHING_HOPS)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SMOOTHING_HOPS) ** 2)
    smooth = np.convolve(power, bell / bell.sum(), "same")[: len(power)]
    level: NDArray[np.float64] = 10.0 * np.log10(smooth + 1e-9)
    return level

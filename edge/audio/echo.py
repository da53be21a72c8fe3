"""Echo: how long a room rings, estimated from the speech in it.

In a room, no sound fades faster than the room lets it. So the fastest fading sounds of an utterance
tell the reverberation time (J. Y. C. Wen, E. A. P. Habets, P. A. Naylor, "Blind estimation of
reverberation time based on the distribution of signal decay rates", ICASSP 2008). Noise covers the
end of what fades, as an echo does, and is allowed for.
"""

from __future__ import annotations

import numpy as np

from edge.features import mel_frames
from edge.types import SAMPLE_RATE, FloatArray

LONGEST_S = 2.0
"""Longest reverberation time that is told from a longer one."""
_SPAN = 6
"""Frames of 10 ms over which a fall is measured."""
_ABOVE_NOISE_DB = 6.0
"""How far above a band's noise a fall must end to count."""
_FASTEST = 0.05
"""Share of a band's falls that counts as the fastest."""
_FEWEST = 8
_DRY_S = 0.2
"""Time in which the fastest sounds fade by 60 dB where there is no echo."""
_PER_ECHO = 0.19
"""How much longer they take for each second of reverberation time, measured in simulated rooms."""
_AT_MOST_S = 6.0
"""Of a longer recording the middle is measured."""


def reverberation_s(samples: FloatArray, snr_db: float) -> float:
    """Reverberation time in seconds, 0 to `LONGEST_S`, of sound with speech, shape (n,).

    It is 0 where there is too little to measure. `snr_db` is the speech's signal-to-noise ratio.
    """
    most = int(_AT_MOST_S * SAMPLE_RATE)
    skipped = max(0, len(samples) - most) // 2
    levels = 10.0 * mel_frames(samples[skipped : skipped + most])
    if len(levels) < 3 * _SPAN:
        return 0.0
    smooth = (levels[:-2] + levels[1:-1] + levels[2:]) / np.float32(3.0)
    slopes = (smooth[_SPAN:] - smooth[:-_SPAN]) * np.float32(100.0 / _SPAN)
    counted = (smooth[_SPAN:] > np.quantile(smooth, 0.1, axis=0) + _ABOVE_NOISE_DB) & (slopes < 0)
    fastest = [
        float(np.quantile(slopes[counted[:, band], band], _FASTEST))
        for band in range(slopes.shape[1])
        if counted[:, band].sum() >= _FEWEST
    ]
    if not fastest:
        return 0.0
    fading_s = 60.0 / max(-float(np.median(fastest)), 1.0)
    return float(np.clip((fading_s - _DRY_S - _noise_s(snr_db)) / _PER_ECHO, 0.0, LONGEST_S))


def _noise_s(snr_db: float) -> float:
    """How much longer the fastest sounds seem to take to fade because of noise."""
    return float(0.1 * np.exp(-0.12 * (np.clip(snr_db, 0.0, 40.0) - 10.0)))

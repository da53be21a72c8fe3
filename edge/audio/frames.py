"""The grid on which speech is detected, shared by detector, end-pointer and quality."""

from __future__ import annotations

import numpy as np

from edge.types import SAMPLE_RATE, FloatArray

FRAME_SAMPLES = 512
"""Samples in a frame, and in the blocks that sources deliver: 32 ms.

The neural detector takes exactly this much at a time, so that one block is one frame and nothing
waits for a second one; 20 ms blocks would cost half as many wake-ups again and gain nothing.
"""

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE

QUIETEST_DB = -100.0
"""Level given to digital silence, dB relative to full scale."""


def level_db(samples: FloatArray) -> float:
    """Mean level, dB relative to full scale (a full-scale sine is -3), `QUIETEST_DB` at least."""
    if len(samples) == 0:
        return QUIETEST_DB
    return power_db(float(np.dot(samples, samples)) / len(samples))


def power_db(power: float) -> float:
    """Power as dB relative to full scale, `QUIETEST_DB` at least."""
    return float(10.0 * np.log10(power)) if power > 1e-10 else QUIETEST_DB

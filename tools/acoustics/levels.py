"""Levels of speech, and limits against clipping.

The level of "speech" is the mean power of the frames no more than 15.9 dB below that mean, the
margin of active speech in ITU-T P.56 (12/2011). It does not use the product's own speech detector,
because the tools test that too.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.audio.blocks import FRAME_SAMPLES
from edge.errors import EnvironmentFault
from edge.types import FloatArray

PEAK = 0.99
"""Largest output sample; the product counts samples from 0.999 as clipped."""

_ACTIVE_MARGIN = 10.0 ** (-15.9 / 10.0)

Signal = NDArray[np.float64]


def active_frames(samples: FloatArray) -> NDArray[np.bool_]:
    """Which frames of `FRAME_SAMPLES` are active speech, shape (n // FRAME_SAMPLES,).

    The least fixed point of "no more than 15.9 dB below the mean of the active frames"; all False
    for digital silence.
    """
    power = frame_power(samples)
    active = power > 0
    while active.any():
        louder = power >= _ACTIVE_MARGIN * power[active].mean()
        # Each round leaves out more frames or none, so the loop ends.
        if louder.sum() >= active.sum():
            break
        active = louder
    return active


def speech_power(samples: FloatArray) -> float:
    """Mean power of the active speech, full scale being 1; 0 for digital silence."""
    active = active_frames(samples)
    return float(frame_power(samples)[active].mean()) if active.any() else 0.0


def frame_power(samples: FloatArray) -> Signal:
    """Mean power of each frame of `FRAME_SAMPLES`, full scale being 1."""
    frames = len(samples) // FRAME_SAMPLES
    grid = samples[: frames * FRAME_SAMPLES].reshape(frames, FRAME_SAMPLES).astype(np.float64)
    power: Signal = np.mean(np.square(grid), axis=1)
    return power


def unclipped(signal: Signal) -> FloatArray:
    """The signal, attenuated if a sample exceeds `PEAK`."""
    peak = float(np.abs(signal).max(initial=0.0))
    return (signal * (PEAK / peak) if peak > PEAK else signal).astype(np.float32)


def at_level_of(samples: FloatArray, signal: Signal) -> Signal:
    """`signal` at the power of `samples`, over the frames where these are active speech."""
    active = active_frames(samples)
    if not active.any():
        return signal
    before = float(frame_power(samples)[active].mean())
    after = float(np.mean(frame_power(signal.astype(np.float32))[active]))
    return signal * np.sqrt(before / after) if after > 0 else signal


def library(name: str) -> Any:
    """A module of the optional extra `measure`.

    Raises:
        EnvironmentFault: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".", maxsplit=1)[0]
        raise EnvironmentFault(
            f"{package} is not installed, which simulated acoustics need; "
            "install it: pip install -e '.[measure]'"
        ) from error

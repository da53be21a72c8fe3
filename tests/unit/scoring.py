"""Frames and calibrations whose scores can be worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge.recognition.scoring import (
    OperatingCurve,
    PhraseCalibration,
    Scorer,
    VoiceCalibration,
)
from edge.types import FloatArray

VOICE_CURVE = OperatingCurve(((0.1, -4.0), (0.01, 1.0), (0.001, 4.0), (0.0001, 6.0)))
PHRASE_CURVE = OperatingCurve(((0.1, 0.0), (0.01, 0.5), (0.0001, 2.5)))

PLAIN_VOICE: dict[str, Any] = {
    "offset": -9.0,
    "similarity": 30.0,
    "speech": 0.0,
    "enrollments": 0.0,
    "curve": VOICE_CURVE,
}


def spelled(text: str) -> FloatArray:
    """One frame a letter: the same letters are 0 apart, different ones 1."""
    return np.eye(128, dtype=np.float32)[[ord(letter) for letter in text]]


def plain_scorer(dimensions: int = 3, rate: float = 0.001) -> Scorer:
    """Voices count -9 + 30 x their cosine, phrases 8 - 18 x their distance; nothing is taken off.

    Args:
        dimensions: length of an embedding.
        rate: the false-accept rate asked for.
    """
    return Scorer(
        center=np.zeros(dimensions, np.float32),
        voice=VoiceCalibration(**PLAIN_VOICE),
        phrase=PhraseCalibration(8.0, -18.0, -1.0, 4.0, PHRASE_CURVE),
        rate=rate,
    )

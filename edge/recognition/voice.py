"""A profile's voice signature and how near a voice comes to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.types import EnrolmentSample, FloatArray


def signature_of(samples: Sequence[EnrolmentSample]) -> FloatArray:
    """The direction in which all of a profile's embeddings lie.

    Each sample counts by its seconds of speech, up to 3 s: beyond that an embedding hardly gets
    any better.

    Args:
        samples: at least one.

    Returns:
        Unit length, shape (d,).

    Raises:
        ValueError: if there are no samples.

    """
    if not samples:
        raise ValueError("a signature needs at least one enrolment sample")
    weights = np.asarray([min(s.net_speech_s, 3.0) for s in samples], dtype=np.float32)
    total = weights @ np.stack([s.speaker_embedding for s in samples])
    unit: FloatArray = total / max(float(np.linalg.norm(total)), 1e-9)
    return unit


def cosine(one: FloatArray, other: FloatArray) -> float:
    """Cosine similarity of two embeddings of unit length, -1 to 1."""
    return float(np.clip(one @ other, -1.0, 1.0))

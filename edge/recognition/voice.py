"""A profile's voice signature and how near a voice comes to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.types import EnrolmentSample, FloatArray


def signature_of(samples: Sequence[EnrolmentSample]) -> FloatArray:
    """The direction in which all of a profile's embeddings lie.

    Each sample counts by its seconds of speech, up to 3 s: beyond that an embedding hardly gets
    any better. What was learned from accepted utterances counts for at most as much as what was
    enrolled, in weight and in length of the sum. So the signature lies at most halfway between the
    two directions: if every learned sample has a cosine of at least c with the enrolled signature,
    so has their sum, and the signature one of at least sqrt((1 + c) / 2), the half-angle formula.

    Args:
        samples: at least one that was enrolled.

    Returns:
        Unit length, shape (d,).

    Raises:
        ValueError: if there are no enrolled samples.

    """
    enrolled = [sample for sample in samples if not sample.adapted]
    if not enrolled:
        raise ValueError("a signature needs at least one enrolment sample")
    total, weight = _sum(enrolled)
    learned = [sample for sample in samples if sample.adapted]
    if learned:
        more, more_weight = _sum(learned)
        share = min(1.0, weight / max(more_weight, 1e-9), _length(total) / max(_length(more), 1e-9))
        total = total + np.float32(share) * more
    unit: FloatArray = total / max(_length(total), 1e-9)
    return unit


def _sum(samples: Sequence[EnrolmentSample]) -> tuple[FloatArray, float]:
    weights = np.asarray([min(s.net_speech_s, 3.0) for s in samples], dtype=np.float32)
    return weights @ np.stack([s.speaker_embedding for s in samples]), float(weights.sum())


def _length(vector: FloatArray) -> float:
    return float(np.linalg.norm(vector))


def cosine(one: FloatArray, other: FloatArray) -> float:
    """Cosine similarity of two embeddings of unit length, -1 to 1."""
    return float(np.clip(one @ other, -1.0, 1.0))

"""What a profile and its samples may be, and how many of each there are."""

from __future__ import annotations

import math

from edge.errors import ProfileError
from edge.types import EnrolmentSample, ProfileKind

MAX_PROFILES = 200
MAX_SAMPLES = 50
"""Enrolled samples of one profile."""
MAX_ADAPTED = 20
"""Samples of one profile that were learned from accepted utterances."""
MAX_REQUIRED_SECONDS = 3600.0


def check_required(kind: ProfileKind, required: float) -> None:
    """Raise `ProfileError` for what cannot make a profile complete."""
    most = MAX_SAMPLES if kind is ProfileKind.PHRASE else MAX_REQUIRED_SECONDS
    if not (math.isfinite(required) and 0 < required <= most):
        raise ProfileError(f"an enrolment can require more than 0 and up to {most:g}: {required}")


def check_sample(
    kind: ProfileKind, sample: EnrolmentSample, speaker_model: str, phrase_model: str
) -> None:
    """Raise `ValueError` for a sample that is not one of this kind of profile."""
    if not speaker_model:
        raise ValueError("a sample needs the model that made it")
    by_phrase = kind is ProfileKind.PHRASE
    if by_phrase is not (sample.phrase_embedding is not None) or by_phrase is not bool(
        phrase_model
    ):
        raise ValueError("a phrase embedding and its model go with a phrase profile, and only it")


def check_learned(sample: EnrolmentSample, most: int) -> None:
    """Raise `ValueError` for a sample that was not learned, or an impossible number of them."""
    if not sample.adapted:
        raise ValueError("a learned sample must say so")
    if not 1 <= most <= MAX_ADAPTED:
        raise ValueError(f"1 to {MAX_ADAPTED} samples can be learned, not {most}")

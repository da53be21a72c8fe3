"""How sure a result is, as the three words that people know from the cloud service."""

from __future__ import annotations

from collections.abc import Iterable

from edge.types import Confidence, PhraseMatch, SpeakerMatch

_VOICE_STEP = 0.05
"""Cosine similarity that makes one step of confidence."""
_PHRASE_STEP = 0.06
"""Warping distance that makes one step of confidence."""


def voice_margin(match: SpeakerMatch) -> float:
    """How far a voice is from its threshold, in steps; positive when accepted."""
    return (match.score - match.threshold) / _VOICE_STEP


def phrase_margin(match: PhraseMatch) -> float:
    """How far a phrase is from its threshold, in steps; positive when accepted."""
    return (match.threshold - match.distance) / _PHRASE_STEP


def confidence_of(margins: Iterable[float]) -> Confidence:
    """Confidence in a result from the margins of its parts, each in steps.

    Something is accepted only if every part is, so the weakest part says how sure it is; it is
    rejected as soon as one part is, so then the most clearly missed part does.
    """
    margin = abs(min(margins))
    if margin >= 2.0:
        return Confidence.HIGH
    return Confidence.NORMAL if margin >= 1.0 else Confidence.LOW

"""Low, normal and high."""

from __future__ import annotations

import pytest

from edge.recognition.confidence import confidence_of, phrase_margin, voice_margin
from edge.types import Confidence, PhraseMatch, SpeakerMatch


def voice(score: float) -> float:
    return voice_margin(SpeakerMatch("id", "Ada", score, 0.5))


def phrase(distance: float) -> float:
    return phrase_margin(PhraseMatch("id", "", distance, 0.45))


@pytest.mark.parametrize(
    ("score", "distance", "expected"),
    [
        (0.80, 0.20, Confidence.HIGH),
        (0.56, 0.20, Confidence.NORMAL),  # the weaker part of an accept counts
        (0.80, 0.44, Confidence.LOW),
        (0.51, 0.20, Confidence.LOW),
        (0.80, 0.90, Confidence.HIGH),  # the part that is clearly wrong makes a sure reject
        (0.48, 0.20, Confidence.LOW),
        (0.10, 0.46, Confidence.HIGH),
    ],
)
def test_of_both_parts(score: float, distance: float, expected: Confidence) -> None:
    assert confidence_of((voice(score), phrase(distance))) is expected


def test_at_the_threshold_it_is_low() -> None:
    assert voice(0.5) == 0.0
    assert phrase(0.45) == 0.0
    assert confidence_of((0.0,)) is Confidence.LOW

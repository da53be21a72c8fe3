"""Low, normal and high, from how far the log-likelihood ratios are from their thresholds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.recognition.scoring import confidence_of
from edge.types import Confidence, PhraseMatch, SpeakerMatch


def voice(score: float) -> float:
    return SpeakerMatch("id", "Ada", 0.7, score, 3.0).margin


def phrase(score: float) -> float:
    return PhraseMatch("id", "", 0.3, score, 1.0).margin


@pytest.mark.parametrize(
    ("voice_score", "phrase_score", "expected"),
    [
        (9.0, 5.0, Confidence.HIGH),
        (4.5, 5.0, Confidence.NORMAL),  # the weaker part of an accept counts
        (9.0, 1.5, Confidence.LOW),
        (3.2, 5.0, Confidence.LOW),
        (9.0, -4.0, Confidence.HIGH),  # the part that is clearly wrong makes a sure reject
        (2.8, 5.0, Confidence.LOW),
        (1.5, 5.0, Confidence.NORMAL),
        (-9.0, 0.9, Confidence.HIGH),
    ],
)
def test_of_both_parts(voice_score: float, phrase_score: float, expected: Confidence) -> None:
    assert confidence_of((voice(voice_score), phrase(phrase_score))) is expected


def test_at_the_threshold_it_is_accepted() -> None:
    assert SpeakerMatch("id", "Ada", 0.7, 3.0, 3.0).accepted
    assert not PhraseMatch("id", "", 0.3, 0.999, 1.0).accepted


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("odds", "expected"),
    [
        (1.0, Confidence.LOW),
        (2.999, Confidence.LOW),
        (3.0, Confidence.NORMAL),
        (9.999, Confidence.NORMAL),
        (10.0, Confidence.HIGH),
    ],
)
def test_it_goes_by_the_odds(sign: float, odds: float, expected: Confidence) -> None:
    assert confidence_of((sign * math.log(odds),)) is expected


_ORDER = [Confidence.LOW, Confidence.NORMAL, Confidence.HIGH]


@given(st.floats(-20, 20), st.floats(0, 20))
def test_an_accept_is_never_surer_than_either_part(one: float, other: float) -> None:
    both = _ORDER.index(confidence_of((abs(one), other)))
    assert both == min(_ORDER.index(confidence_of((part,))) for part in (abs(one), other))

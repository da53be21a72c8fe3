"""Low, normal and high, from how far the log-likelihood ratios are from their thresholds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.recognition.scoring import HIGH_FROM, NORMAL_FROM, confidence_of
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


def test_at_the_threshold_it_is_low() -> None:
    assert voice(3.0) == 0.0
    assert phrase(1.0) == 0.0
    assert confidence_of((0.0,)) is Confidence.LOW


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_words_begin_at_three_and_at_ten_times_the_odds(sign: float) -> None:
    assert math.exp(NORMAL_FROM) == pytest.approx(3.0)
    assert math.exp(HIGH_FROM) == pytest.approx(10.0)
    steps = [(0.999 * NORMAL_FROM, Confidence.LOW), (1.001 * NORMAL_FROM, Confidence.NORMAL)]
    steps += [(0.999 * HIGH_FROM, Confidence.NORMAL), (1.001 * HIGH_FROM, Confidence.HIGH)]
    for margin, expected in steps:
        assert confidence_of((sign * margin,)) is expected


_ORDER = [Confidence.LOW, Confidence.NORMAL, Confidence.HIGH]


@given(st.floats(-20, 20), st.floats(0, 20))
def test_an_accept_is_never_surer_than_either_part(one: float, other: float) -> None:
    both = _ORDER.index(confidence_of((abs(one), other)))
    assert both == min(_ORDER.index(confidence_of((part,))) for part in (abs(one), other))

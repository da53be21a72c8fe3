"""What a score means: operating curves and log-likelihood ratios."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge.recognition.scoring import (
    OperatingCurve,
    PhraseCalibration,
    VoiceCalibration,
    phrase_terms,
)
from tests.unit.scoring import PHRASE_CURVE, PLAIN_VOICE, VOICE_CURVE

RATES = st.floats(1e-8, 0.9)


@st.composite
def curves(draw: st.DrawFn) -> OperatingCurve:
    steps = draw(st.lists(st.tuples(st.floats(0.1, 3.0), st.floats(0.05, 5.0)), min_size=1))
    rarity, ratio = draw(st.floats(0.2, 3.0)), draw(st.floats(-10.0, 5.0))
    points = [(math.exp(-rarity), ratio)]
    for rarer, higher in steps:
        rarity, ratio = rarity + rarer, ratio + higher
        points.append((math.exp(-rarity), ratio))
    return OperatingCurve(tuple(points))


@given(curves(), RATES)
def test_rarity_is_the_inverse_of_the_threshold(curve: OperatingCurve, rate: float) -> None:
    assert curve.rarity(curve.threshold(rate)) == pytest.approx(-math.log(rate), abs=1e-3, rel=1e-4)


@given(curves(), RATES, RATES)
def test_the_rarer_the_higher(curve: OperatingCurve, one: float, other: float) -> None:
    assume(one < other * (1 - 1e-6))
    assert curve.threshold(one) > curve.threshold(other)


@given(st.lists(st.floats(-30.0, 30.0), min_size=2))
def test_a_higher_ratio_is_never_more_common(ratios: list[float]) -> None:
    rarities = VOICE_CURVE.rarity(np.sort(np.asarray(ratios)))
    assert (np.diff(rarities) >= 0.0).all()


def test_the_points_themselves_and_halfway_between() -> None:
    for rate, ratio in VOICE_CURVE.points:
        assert VOICE_CURVE.threshold(rate) == pytest.approx(ratio)
        assert VOICE_CURVE.rarity(ratio) == pytest.approx(-math.log(rate))
    # Straight over the logarithm of the rate: 0.0316 lies halfway from 0.1 to 0.01.
    assert VOICE_CURVE.threshold(10.0**-1.5) == pytest.approx((-4.0 + 1.0) / 2)


def test_beyond_its_ends_the_last_slope_goes_on() -> None:
    assert VOICE_CURVE.threshold(1e-5) == pytest.approx(6.0 + 2.0)
    assert VOICE_CURVE.threshold(1e-6) == pytest.approx(6.0 + 4.0)
    assert VOICE_CURVE.threshold(10.0**-0.1) == pytest.approx(-4.0 - 4.5)
    assert VOICE_CURVE.rarity(10.0) == pytest.approx(6 * math.log(10.0))
    assert VOICE_CURVE.rarity(-9.0) == pytest.approx(0.0, abs=1e-6)
    assert VOICE_CURVE.rarity(-14.0) == pytest.approx(-math.log(10.0))


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, math.nan, math.inf, -math.inf])
def test_what_is_no_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        VOICE_CURVE.threshold(rate)


@given(st.lists(st.floats(-20.0, 20.0), min_size=1, max_size=4))
def test_many_ratios_at_once_are_as_one_by_one(ratios: list[float]) -> None:
    table = np.asarray([ratios, ratios[::-1]])
    rarities = VOICE_CURVE.rarity(table)
    assert rarities.shape == table.shape
    for found, ratio in zip(rarities[0], ratios):
        assert found == pytest.approx(VOICE_CURVE.rarity(ratio), abs=1e-5)


FULL = VoiceCalibration(**{**PLAIN_VOICE, "speech": 2.0, "enrollments": -1.5, "curve": VOICE_CURVE})


def ratio(
    calibration: VoiceCalibration = FULL,
    similarity: float = 0.5,
    enrollments: int = 3,
    net_speech_s: float = 2.0,
) -> float:
    found = calibration.ratio(np.asarray([[similarity]], np.float32), [enrollments], [net_speech_s])
    assert found.shape == (1, 1)
    assert found.dtype == np.float32
    return float(found[0, 0])


def test_a_ratio_by_hand() -> None:
    # At 2 s only the enrollments add something to -9 + 30 x 0.5.
    assert ratio() == pytest.approx(6.0 - 1.5 * math.log(3))
    assert ratio(enrollments=1) == pytest.approx(6.0)
    assert ratio(enrollments=1, net_speech_s=1.0) == pytest.approx(6.0 - 2.0 * math.log(2))


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_more_similar_the_likelier(one: float, other: float) -> None:
    assume(other - one > 1e-4)
    assert ratio(similarity=other) > ratio(similarity=one)


@pytest.mark.parametrize(
    ("fact", "low", "high", "below_adds", "above_adds"),
    [
        ("net_speech_s", 0.4, 2.0, 2.0 * math.log(0.2), 0.0),
        ("enrollments", 1, 5, 1.5 * math.log(3), -1.5 * math.log(5 / 3)),
    ],
)
def test_beyond_what_was_measured_the_end_counts(
    fact: str, low: float, high: float, below_adds: float, above_adds: float
) -> None:
    def added(value: float) -> float:
        facts: dict[str, Any] = {fact: value}
        return ratio(**facts) - ratio()

    assert added(low) == pytest.approx(below_adds, abs=1e-5)
    assert added(high) == pytest.approx(above_adds, abs=1e-5)
    assert [added(low - 100), added(0), added(high + 100)] == [added(low), added(low), added(high)]
    for end, inside in ((low, low * 1.1 + 0.1), (high, high * 0.9)):
        assert added(inside) != pytest.approx(added(end), abs=0.1)


@pytest.mark.parametrize(
    ("enrollments", "shift"),
    [(0, 1.5 * math.log(3)), (1, 1.5 * math.log(3)), (3, 0.0), (6, -1.5 * math.log(5 / 3))],
)
def test_the_threshold_goes_with_the_number_of_enrollments(enrollments: int, shift: float) -> None:
    assert FULL.shift(enrollments) == pytest.approx(shift)


def test_each_voice_and_signature_is_judged_by_its_own_quality() -> None:
    similarity = np.asarray([[0.5, 0.6, 0.7], [0.1, 0.2, 0.3]], np.float32)
    enrollments, speech = [1, 4], [0.5, 1.5, 5.0]
    together = FULL.ratio(similarity, enrollments, speech)
    for row in range(2):
        for column in range(3):
            alone = ratio(FULL, similarity[row, column], enrollments[row], speech[column])
            assert together[row, column] == pytest.approx(alone, abs=1e-5)


def test_quality_that_weighs_nothing_changes_nothing() -> None:
    plain = replace(FULL, speech=0.0, enrollments=0.0)
    assert ratio(plain, net_speech_s=0.4, enrollments=5) == pytest.approx(6.0)


@given(st.floats(-1.0, 1.0), st.floats(0.0, 10.0), st.floats(0.0, 10.0), st.floats(0.0, 5.0))
def test_saying_less_is_never_to_anybodys_advantage(
    similarity: float, one: float, other: float, speech: float
) -> None:
    calibration = replace(FULL, speech=speech)
    less, more = (
        ratio(calibration, similarity, net_speech_s=seconds) for seconds in sorted((one, other))
    )
    assert less <= more
    # From 2 s on there is no more to be had, so nothing is to be won by talking on.
    assert ratio(calibration, similarity, net_speech_s=max(one, 2.0)) == ratio(
        calibration, similarity
    )


PHRASE = PhraseCalibration(8.0, -18.0, -1.0, 4.0, PHRASE_CURVE)


@pytest.mark.parametrize(
    ("distance", "snr_db", "reverberation_s", "expected"),
    [
        (0.0, 40.0, 0.0, 8.0),
        (0.5, 25.0, 0.0, -1.0),
        (0.5, 15.0, 0.0, 0.0),  # noise adds to a distance
        (0.5, 24.0, 0.0, -0.9),
        (0.5, 4.0, 0.0, 1.1),
        (0.5, 3.0, 0.0, 1.2),
        (0.5, -20.0, 0.0, 1.2),
        (0.5, 25.0, 0.5, 1.0),  # and so does an echo
        (0.5, 15.0, 0.5, 2.0),
        (0.5, 25.0, 1.4, 4.6),
        (0.5, 25.0, 1.5, 5.0),
        (0.5, 25.0, 2.0, 5.0),
        (0.5, 25.0, -1.0, -1.0),
    ],
)
def test_a_phrase_by_hand(
    distance: float, snr_db: float, reverberation_s: float, expected: float
) -> None:
    assert PHRASE.ratio(distance, snr_db, reverberation_s) == pytest.approx(expected)


def test_many_phrases_at_once_are_as_one_by_one() -> None:
    distances, snr_db, echo = np.array([0.1, 0.5]), np.array([10.0, 30.0]), np.array([0.3, 0.9])
    together = PHRASE.ratio(distances, snr_db, echo)
    assert together == pytest.approx([PHRASE.ratio(*one) for one in zip(distances, snr_db, echo)])
    noise, seconds = phrase_terms(snr_db, echo)
    assert noise == pytest.approx([-1.5, 0.0])
    assert seconds == pytest.approx([0.3, 0.9])

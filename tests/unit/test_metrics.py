from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.evaluation.metrics import (
    CHALLENGE,
    NIST,
    Costs,
    eer,
    error_curves,
    false_reject_at,
    min_dcf,
)

scores = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-5, 5, width=16))


def test_separated_scores_have_no_error_and_a_threshold_in_the_gap() -> None:
    rate, threshold = eer(error_curves([0.7, 0.9, 0.8], [0.1, 0.3]))
    assert rate == 0.0
    assert threshold == pytest.approx(0.5)


def test_equal_error_of_two_unit_gaussians() -> None:
    # Closed form: with means d apart, both errors are Phi(-d / 2) at the middle.
    rng = np.random.default_rng(1)
    d = 2.0
    rate, threshold = eer(error_curves(rng.normal(d, 1, 200_000), rng.normal(0, 1, 200_000)))
    assert rate == pytest.approx(0.5 * math.erfc(d / 2 / math.sqrt(2)), abs=0.002)
    assert threshold == pytest.approx(d / 2, abs=0.02)


def test_one_error_on_each_side() -> None:
    targets = [0.2, 0.6, 0.7, 0.8, 0.9]
    nontargets = [0.0, 0.1, 0.1, 0.3, 0.65]
    assert eer(error_curves(targets, nontargets)).rate == pytest.approx(0.2)


def test_reversed_scores_are_all_wrong() -> None:
    assert eer(error_curves([0.0, 0.1], [0.8, 0.9])).rate == pytest.approx(1.0)


def test_identical_scores_are_a_coin() -> None:
    assert eer(error_curves([0.5, 0.5], [0.5, 0.5, 0.5])).rate == pytest.approx(0.5)


@given(scores, scores)
def test_rate_does_not_change_when_scores_are_swapped_and_negated(
    targets: np.ndarray, nontargets: np.ndarray
) -> None:
    assert eer(error_curves(targets, nontargets)).rate == pytest.approx(
        eer(error_curves(-nontargets, -targets)).rate
    )


@given(scores, scores, st.floats(0, 1))
def test_thresholds_keep_their_promise(
    targets: np.ndarray, nontargets: np.ndarray, allowed: float
) -> None:
    rejected, threshold = false_reject_at(error_curves(targets, nontargets), allowed)
    assert np.mean(nontargets >= threshold) <= allowed + 1e-9
    assert np.mean(targets < threshold) == pytest.approx(rejected)


def test_false_reject_at_one_in_ten() -> None:
    nontargets = np.arange(10) / 10  # 0.9 may pass, 0.8 may not
    rate, threshold = false_reject_at(error_curves([0.82, 0.85, 0.95, 0.99], nontargets), 0.1)
    assert rate == 0.0
    assert 0.8 < threshold <= 0.82


def test_detection_cost_by_hand() -> None:
    # Rejecting 1 of 4 targets lets no stranger in; accepting all four lets in 1 of 10.
    targets, nontargets = [1.0, 5.0, 6.0, 7.0], [2.0] + [0.0] * 9
    curves = error_curves(targets, nontargets)
    # NIST: 0.01 * 0.25 = 0.0025 against 0.99 * 0.1 = 0.099; normalized by 0.01.
    assert min_dcf(curves, NIST) == pytest.approx(0.25)
    # The challenge: 10 * 0.01 * 0.25 = 0.025 against 0.099; normalized by 0.1.
    assert min_dcf(curves, CHALLENGE) == pytest.approx(0.25)
    # Misses so dear that the one false accept is the lesser evil: 0.9 * 0.1 against 25 * 0.1.
    assert min_dcf(curves, Costs(0.1, 100.0, 1.0)) == pytest.approx(0.1)


def test_detection_cost_of_two_unit_gaussians() -> None:
    # Closed form: the least cost is at score = d/2 + ln(c_fa (1 - p) / (c_miss p)) / d.
    rng = np.random.default_rng(2)
    d = 4.0
    curves = error_curves(rng.normal(d, 1, 400_000), rng.normal(0, 1, 400_000))
    for costs in (NIST, CHALLENGE):
        p, miss, alarm = costs
        at = d / 2 + math.log(alarm * (1 - p) / (miss * p)) / d
        misses = 0.5 * math.erfc((d - at) / math.sqrt(2))
        alarms = 0.5 * math.erfc(at / math.sqrt(2))
        cost = (miss * p * misses + alarm * (1 - p) * alarms) / min(miss * p, alarm * (1 - p))
        assert min_dcf(curves, costs) == pytest.approx(cost, rel=0.04)


@given(scores, scores)
def test_detection_cost_is_never_worse_than_not_listening(
    targets: np.ndarray, nontargets: np.ndarray
) -> None:
    curves = error_curves(targets, nontargets)
    assert 0.0 <= min_dcf(curves, NIST) <= 1.0 + 1e-12
    assert 0.0 <= min_dcf(curves, CHALLENGE) <= 1.0 + 1e-12


def test_impossible_questions() -> None:
    with pytest.raises(ValueError, match="target"):
        eer(error_curves([], [1.0]))
    with pytest.raises(ValueError, match="finite"):
        eer(error_curves([float("nan")], [1.0]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        false_reject_at(error_curves([1.0], [0.0]), 1.5)
    with pytest.raises(ValueError, match="costs"):
        min_dcf(error_curves([1.0], [0.0]), Costs(1.0, 1.0, 1.0))

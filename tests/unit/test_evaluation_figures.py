"""Rates with their intervals: right on average, honest where there is too little to tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.evaluation import metrics
from edge.evaluation.evaluate import kind_figures, preset_figures, units
from edge.evaluation.metrics import (
    Order,
    Resampler,
    Weights,
    bound_without_error,
    independent_limits,
    supports,
)
from edge.evaluation.trials import Trials
from tests.unit.evaluation import THRESHOLDS, voices


def test_what_no_error_shows() -> None:
    assert bound_without_error(1) == pytest.approx(0.95)
    assert bound_without_error(59) == pytest.approx(0.05, abs=0.001)
    assert bound_without_error(3000) == pytest.approx(3 / 3000, rel=0.01)  # the rule of three
    assert bound_without_error(0) == 1.0


def test_independent_attempts_by_hand() -> None:
    # Wilson's interval of 1 in 10: (0.1 + 0.19207 +- 1.95996 * 0.13640) / 1.38415.
    low, high = independent_limits(0.1, 10)
    assert low == pytest.approx(0.0179, abs=1e-4)
    assert high == pytest.approx(0.4042, abs=1e-4)
    assert independent_limits(0.0, 59) == (0.0, bound_without_error(59))
    assert independent_limits(0.5, 0) == (0.0, 1.0)
    # Fewer errors never allow for a higher upper limit.
    tops = [independent_limits(errors / 40, 40)[1] for errors in range(41)]
    assert tops == sorted(tops)


def test_how_many_trials_a_rate_needs() -> None:
    assert supports(1_000, 0.01)
    assert not supports(999, 0.01)
    assert supports(100_000, 0.0001)


@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=30),
    st.lists(st.integers(0, 3), min_size=30, max_size=30),
    st.integers(1, 29),
)
def test_weighted_curves_are_those_of_trials_that_often(
    values: list[int], counts: list[int], split: int
) -> None:
    scores = np.asarray(values, dtype=np.float64)
    target = np.arange(len(scores)) < split
    weights = np.asarray(counts[: len(scores)])
    repeated = np.repeat(scores, weights)
    is_target = np.repeat(target, weights)
    curves = Order(scores, target).curves(weights.astype(np.float64))
    if is_target.all() or not is_target.any():
        assert curves is None
        return
    assert curves is not None
    plain = metrics.error_curves(repeated[is_target], repeated[~is_target])
    # Thresholds that no trial is at make no difference to any figure.
    assert metrics.eer(curves).rate == pytest.approx(metrics.eer(plain).rate)
    assert metrics.min_dcf(curves, metrics.NIST) == pytest.approx(
        metrics.min_dcf(plain, metrics.NIST)
    )
    for far in (0.0, 0.1, 0.5):
        assert metrics.false_reject_at(curves, far).rate == pytest.approx(
            metrics.false_reject_at(plain, far).rate
        )


def rejected(trials: Trials, weights: Weights) -> np.ndarray:
    counted = weights * trials.target
    return np.asarray([counted @ (trials.scores < 0.0) / counted.sum()])


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    # Targets of a person are N(m, 1) with m ~ N(1, 1), so a target is N(1, 2) over people.
    truth = 0.5 * math.erfc(1.0 / math.sqrt(2.0) / math.sqrt(2.0))
    held = naive = 0
    for seed in range(100):
        trials = voices(30, 8, target=1.0, person_spread=1.0, seed=seed)
        trials = trials.of(trials.target)
        (low,), (high,) = Resampler(trials, rounds=120).limits(rejected)
        held += low <= truth <= high
        rate = float(rejected(trials, np.ones(len(trials.scores)))[0])
        error = 1.96 * math.sqrt(rate * (1.0 - rate) / len(trials.scores))
        naive += rate - error <= truth <= rate + error
    assert held >= 86
    assert naive < held  # taking trials for independent would promise too much


def test_intervals_are_the_same_every_time() -> None:
    assert kind_figures(voices()) == kind_figures(voices())


def test_independent_attempts() -> None:
    trials = voices(4, 5)
    assert units(trials.of(trials.target)) == 20  # recordings
    assert units(trials.of(~trials.target)) == 6  # pairs of people


def test_no_error_in_few_trials_is_not_a_rate() -> None:
    trials = voices(8, 5, target=20.0, stranger=-20.0)
    relaxed, _, strict = preset_figures(trials, THRESHOLDS)
    assert relaxed.false_reject.value == 0.0
    assert relaxed.false_reject.high == pytest.approx(bound_without_error(40))
    (kind, accepted) = strict.false_accepts[0]
    assert (kind, accepted.value, accepted.errors, accepted.trials) == ("impostor", None, 0, 280)
    assert accepted.high == pytest.approx(bound_without_error(28))
    (row,) = kind_figures(trials)
    assert [figure.value for _, figure in row.false_rejects] == [None] * 3


def test_errors_that_happened_are_told_however_few_the_trials() -> None:
    trials = voices(8, 5, stranger=0.0)
    strict = preset_figures(trials, THRESHOLDS)[2]
    accepted = strict.false_accepts[0][1]
    errors = int((trials.scores[trials.kind == "impostor"] >= 1.0).sum())
    assert accepted.errors == errors > 0
    assert accepted.value == pytest.approx(errors / 280)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 6), st.integers(1, 4), st.floats(-3, 8), st.floats(-8, 3), st.integers(0, 99))
def test_every_interval_holds_its_figure(
    people: int, tests: int, target: float, stranger: float, seed: int
) -> None:
    trials = voices(people, tests, target=target, stranger=stranger, seed=seed)
    rows = kind_figures(trials)
    figures = [figure for row in rows for figure in (row.eer, row.min_dcf_nist)]
    for preset in preset_figures(trials, THRESHOLDS):
        figures += [preset.false_reject, *(figure for _, figure in preset.false_accepts)]
    for figure in figures:
        if figure.value is not None:
            assert figure.low is not None
            assert figure.high is not None
            assert 0.0 <= figure.low <= figure.value <= figure.high <= 1.0 + 1e-9


def test_rates_that_can_be_told() -> None:
    trials = voices(40, 8, seed=3)  # 12,480 trials of strangers
    (row,) = kind_figures(trials)
    targets, others = trials.scores[trials.target], trials.scores[~trials.target]
    for far, figure in row.false_rejects:
        if far < 0.001:
            assert figure.value is None
        else:
            assert (
                figure.value
                == metrics.false_reject_at(metrics.error_curves(targets, others), far).rate
            )

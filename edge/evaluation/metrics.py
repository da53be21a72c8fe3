"""Error rates of a detector, with confidence intervals; it accepts at `score >= threshold`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.evaluation.trials import Trials

Scores = Sequence[float] | NDArray[np.floating]


Rates = TypeVar("Rates", float, NDArray[np.float64])
Curves = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Thresholds, false-reject and false-accept rates at them, each of shape (k,)."""


class Costs(NamedTuple):
    """Prior probability of a target trial, and the costs of a false reject and false accept."""

    p_target: float
    c_miss: float
    c_fa: float


NIST = Costs(p_target=0.01, c_miss=1.0, c_fa=1.0)
"""NIST's Speaker Recognition Evaluation: first operating point of its plans of 2016 and 2018."""
CHALLENGE = Costs(p_target=0.01, c_miss=10.0, c_fa=1.0)
"""The Text-dependent Speaker Verification Challenge 2024; also NIST's of 1996 to 2008."""


class Rate(NamedTuple):
    """An error rate, 0 to 1, and the threshold that gives it."""

    rate: float
    threshold: float


def error_curves(targets: Scores, nontargets: Scores) -> Curves:
    """False rejects and false accepts at every threshold that makes a difference.

    The scores have shapes (m,) and (n,), m, n >= 1. Thresholds rise; the last one lies just above
    every score, so the last false-accept rate is 0 and the first false-reject rate is 0.

    Raises:
        ValueError: one of the two is empty or holds a value that is not finite.
    """
    positive = np.asarray(targets, dtype=np.float64).ravel()
    negative = np.asarray(nontargets, dtype=np.float64).ravel()
    if not len(positive) or not len(negative):
        raise ValueError("error rates need target and non-target scores")
    scores = np.concatenate([positive, negative])
    if not np.isfinite(scores).all():
        raise ValueError("error rates need finite scores")
    curves = Order(scores, np.arange(len(scores)) < len(positive)).curves(np.ones(len(scores)))
    assert curves is not None  # noqa: S101 (there are targets and non-targets)
    return curves


def eer(curves: Curves) -> Rate:
    """Equal error rate, where the straight lines between the points of both curves cross."""
    thresholds, false_reject, false_accept = curves
    gap = false_reject - false_accept
    above = int(np.argmax(gap >= 0))
    if above == 0 or gap[above] == 0:
        # Separable scores leave a range of thresholds without error: take its middle.
        level = np.flatnonzero(gap == gap[above]) if gap[above] == 0 else np.array([above])
        low = thresholds[level[0] - 1] if level[0] > 0 else thresholds[level[0]]
        threshold = 0.5 * (float(low) + float(thresholds[level[-1]]))
        return Rate(float(false_reject[above]), threshold)
    share = -gap[above - 1] / (gap[above] - gap[above - 1])
    before, after = false_reject[above - 1], false_reject[above]
    rate = before + share * (after - before)
    threshold = thresholds[above - 1] + share * (thresholds[above] - thresholds[above - 1])
    return Rate(float(rate), float(threshold))


def false_reject_at(curves: Curves, far: float) -> Rate:
    """False-reject rate at the lowest threshold that keeps false accepts at `far` or below.

    With fewer than 1 / `far` non-targets, the threshold lies above them all.

    Raises:
        ValueError: `far` is not within 0 to 1.
    """
    if not 0.0 <= far <= 1.0:
        raise ValueError(f"a false-accept rate is between 0 and 1, not {far}")
    thresholds, false_reject, false_accept = curves
    first = int(np.argmax(false_accept <= far + 1e-12))
    return Rate(float(false_reject[first]), float(thresholds[first]))


def min_dcf(curves: Curves, costs: Costs) -> float:
    """Normalized minimum of the detection cost function; 0 is no error, 1 no better than guessing.

    C = c_miss * P_miss * p_target + c_fa * P_fa * (1 - p_target), the least over all thresholds,
    divided by the cost of accepting or rejecting everything, min(c_miss * p_target,
    c_fa * (1 - p_target)). Source: NIST 2016 Speaker Recognition Evaluation Plan, "Performance
    Measurement". Raises `ValueError` for an impossible cost or prior.
    """
    p_target, c_miss, c_fa = costs
    if not (0.0 < p_target < 1.0 and c_miss > 0.0 and c_fa > 0.0):
        raise ValueError(f"invalid costs: {costs}")
    return float(np.min(normalized_cost(costs, *curves[1:])))


def normalized_cost(costs: Costs, false_reject: Rates, false_accept: Rates) -> Rates:
    """The normalized detection cost of two error rates, each 0 to 1, or of arrays of them."""
    p_target, c_miss, c_fa = costs
    cost = c_miss * p_target * false_reject + c_fa * (1.0 - p_target) * false_accept
    return cost / min(c_miss * p_target, c_fa * (1.0 - p_target))


ROUNDS = 300
CONFIDENCE = 0.95
TRIALS_A_RATE_NEEDS = 10
"""Times 1 / rate, the trials that it takes to measure a rate."""

Weights = NDArray[np.float64]


def bound_without_error(count: int) -> float:
    """The upper 95 % limit of an error rate when none of `count` independent attempts failed.

    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial" (1934), one-sided: 1 - 0.05 ** (1 / count); 1 without any attempt.
    """
    return 1.0 if count <= 0 else float(1.0 - (1.0 - CONFIDENCE) ** (1.0 / count))


def exact_limits(errors: int, count: int) -> tuple[float, float]:
    """The exact 95 % interval of an error rate, 0 to 1, from `errors` among `count` trials.

    Clopper and Pearson (1934), two-sided; 0 to 1 without a trial.
    """
    tail = 0.5 * (1.0 - CONFIDENCE)
    low = _crossing(lambda rate: 1.0 - _at_most(errors - 1, count, rate) - tail) if errors else 0.0
    if errors >= count:
        return low, 1.0
    return low, _crossing(lambda rate: tail - _at_most(errors, count, rate))


def _crossing(rising: Callable[[float], float]) -> float:
    """Where a function that rises with a rate, 0 to 1, is 0."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if rising(middle) > 0.0 else (middle, high)
    return high


def _at_most(errors: int, count: int, rate: float) -> float:
    """The probability of at most so many errors in independent trials."""
    if not 0.0 < rate < 1.0:
        return float(rate <= 0.0)
    terms = (
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
        + k * math.log(rate) + (count - k) * math.log1p(-rate)
        for k in range(errors + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, terms)))


def independent_limits(rate: float, count: int) -> tuple[float, float]:
    """The 95 % interval of an error rate, 0 to 1, measured in `count` independent attempts.

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927); without
    an error, 0 to `bound_without_error`.
    """
    if count <= 0 or rate <= 0.0:
        return 0.0, bound_without_error(count)
    z = NormalDist().inv_cdf(0.5 + 0.5 * CONFIDENCE)
    scale = 1.0 + z * z / count
    middle = rate + z * z / (2.0 * count)
    half = z * math.sqrt(rate * (1.0 - rate) / count + z * z / (4.0 * count * count))
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def supports(trials: int, rate: float) -> bool:
    """Whether that many trials can show an error rate as low as `rate`."""
    return trials * rate >= TRIALS_A_RATE_NEEDS * (1.0 - 1e-9)


class Resampler:
    """Bootstrap over people; the same trials always give the same intervals."""

    def __init__(self, trials: Trials, rounds: int = ROUNDS, seed: int = 0) -> None:
        count = len(trials.people)
        rng = np.random.default_rng(seed)
        self._draws = rng.multinomial(count, np.full(count, 1.0 / count), size=rounds)
        self._trials = trials

    def limits(
        self, figures: Callable[[Trials, Weights], NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The 95 % intervals of several figures: (lower, upper), each of shape (k,).

        `figures` computes them, shape (k,), from the trials and their weights, shape (n,). A draw
        without the trials for a figure gives NaN and is ignored; without any other draw, the
        limits are NaN.
        """
        found = np.asarray([figures(self._trials, weights) for weights in self._weights()])
        tail = 50.0 * (1.0 - CONFIDENCE)
        limits = np.full((2, found.shape[1]), np.nan)
        known = np.isfinite(found).any(axis=0)
        limits[:, known] = np.nanpercentile(found[:, known], [tail, 100.0 - tail], axis=0)
        return limits[0], limits[1]

    def _weights(self) -> Iterator[Weights]:
        trials = self._trials
        own = trials.owner == trials.speaker
        for draw in self._draws.astype(np.float64):
            owner = draw[trials.owner]
            yield np.where(own, owner, owner * draw[trials.speaker])


class Order:
    """Scores sorted once, so that the curves of each draw take one pass."""

    def __init__(self, scores: NDArray[np.float64], target: NDArray[np.bool_]) -> None:
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        # Equal scores are accepted or rejected together.
        self._first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        last = np.nextafter(ordered[-1], np.inf)
        self._thresholds = np.append(ordered[self._first], last)
        self._target = target[self._order]

    def curves(self, weights: Weights) -> Curves | None:
        """As `error_curves`, with a weight for each trial; None without weight on either side."""
        ordered = weights[self._order]
        target = np.where(self._target, ordered, 0.0)
        targets = np.concatenate(([0.0], np.cumsum(target)))
        nontargets = np.concatenate(([0.0], np.cumsum(ordered - target)))
        if targets[-1] <= 0.0 or nontargets[-1] <= 0.0:
            return None
        at = np.append(self._first, len(ordered))
        return (self._thresholds, targets[at] / targets[-1], 1.0 - nontargets[at] / nontargets[-1])

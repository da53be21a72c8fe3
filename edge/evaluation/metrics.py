"""Error rates of a detector from the scores of its trials.

Every function takes the scores of target trials (the right voice, the right phrase) and of
non-target trials, higher meaning nearer; a trial is accepted when `score >= threshold`. Hand in
distances negated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.evaluation.trials import Trials

Scores = Sequence[float] | NDArray[np.floating]


Curves = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Thresholds, false-reject and false-accept rates at them, each of shape (k,)."""


class Costs(NamedTuple):
    """What the two errors cost, and how often the right person is there.

    Attributes:
        p_target: prior probability of a target trial.
        c_miss: cost of a false reject.
        c_fa: cost of a false accept.
    """

    p_target: float
    c_miss: float
    c_fa: float


NIST = Costs(p_target=0.01, c_miss=1.0, c_fa=1.0)
"""NIST's Speaker Recognition Evaluation: first operating point of its plans of 2016 and 2018."""
CHALLENGE = Costs(p_target=0.01, c_miss=10.0, c_fa=1.0)
"""The Text-dependent Speaker Verification Challenge 2024; also NIST's of 1996 to 2008."""


class Rate(NamedTuple):
    """An error rate and the threshold that gives it.

    Attributes:
        rate: share of trials, 0 to 1.
        threshold: a score; trials from it on are accepted.
    """

    rate: float
    threshold: float


def error_curves(targets: Scores, nontargets: Scores) -> Curves:
    """False rejects and false accepts at every threshold that makes a difference.

    Args:
        targets: scores of target trials, shape (m,), m >= 1.
        nontargets: scores of non-target trials, shape (n,), n >= 1.

    Returns:
        (thresholds, false_reject, false_accept), each of shape (k,), thresholds rising. The last
        threshold lies just above every score, so the last false-accept rate is 0 and the first
        false-reject rate is 0.

    Raises:
        ValueError: one of the two is empty or holds a value that is not finite.
    """
    positive = np.sort(np.asarray(targets, dtype=np.float64).ravel())
    negative = np.sort(np.asarray(nontargets, dtype=np.float64).ravel())
    if not len(positive) or not len(negative):
        raise ValueError("error rates need target and non-target scores")
    thresholds = np.unique(np.concatenate([positive, negative]))
    if not np.isfinite(thresholds).all():
        raise ValueError("error rates need finite scores")
    thresholds = np.append(thresholds, np.nextafter(thresholds[-1], np.inf))
    false_reject = np.searchsorted(positive, thresholds, side="left") / len(positive)
    false_accept = 1.0 - np.searchsorted(negative, thresholds, side="left") / len(negative)
    return thresholds, false_reject, false_accept


def eer(targets: Scores, nontargets: Scores) -> Rate:
    """Equal error rate: where false rejects and false accepts are as frequent.

    Both rates are step functions of the threshold. Where they cross between two thresholds, the
    crossing of the straight line between the two points of the curve is taken, so the rate does
    not depend on which side of the step is looked at.

    Args:
        targets: scores of target trials, shape (m,), m >= 1.
        nontargets: scores of non-target trials, shape (n,), n >= 1.

    Returns:
        The rate (0 to 1, below 0.5 for a detector that works) and its threshold.

    Raises:
        ValueError: one of the two is empty or holds a value that is not finite.
    """
    return eer_of(error_curves(targets, nontargets))


def eer_of(curves: Curves) -> Rate:
    """`eer` from the curves."""
    thresholds, false_reject, false_accept = curves
    gap = false_reject - false_accept
    above = int(np.argmax(gap >= 0))
    if above == 0 or gap[above] == 0:
        # Perfectly separated scores leave a range of thresholds without error: take its middle.
        level = np.flatnonzero(gap == gap[above]) if gap[above] == 0 else np.array([above])
        low = thresholds[level[0] - 1] if level[0] > 0 else thresholds[level[0]]
        threshold = 0.5 * (float(low) + float(thresholds[level[-1]]))
        return Rate(float(false_reject[above]), threshold)
    share = -gap[above - 1] / (gap[above] - gap[above - 1])
    before, after = false_reject[above - 1], false_reject[above]
    rate = before + share * (after - before)
    threshold = thresholds[above - 1] + share * (thresholds[above] - thresholds[above - 1])
    return Rate(float(rate), float(threshold))


def false_reject_at(targets: Scores, nontargets: Scores, far: float) -> Rate:
    """False-reject rate at the lowest threshold that keeps false accepts at `far` or below.

    Args:
        targets: scores of target trials, shape (m,), m >= 1.
        nontargets: scores of non-target trials, shape (n,), n >= 1. With fewer than 1 / `far` of
            them the threshold lies above them all.
        far: the false-accept rate allowed, 0 to 1.

    Returns:
        The false-reject rate (0 to 1) and the threshold.

    Raises:
        ValueError: `far` is no rate, or the scores are empty or not finite.
    """
    return false_reject_of(error_curves(targets, nontargets), far)


def false_reject_of(curves: Curves, far: float) -> Rate:
    """`false_reject_at` from the curves."""
    if not 0.0 <= far <= 1.0:
        raise ValueError(f"a false-accept rate lies between 0 and 1, not {far}")
    thresholds, false_reject, false_accept = curves
    first = int(np.argmax(false_accept <= far + 1e-12))
    return Rate(float(false_reject[first]), float(thresholds[first]))


def false_accept_at(targets: Scores, nontargets: Scores, frr: float) -> Rate:
    """False-accept rate at the highest threshold that keeps false rejects at `frr` or below.

    Args:
        targets: scores of target trials, shape (m,), m >= 1.
        nontargets: scores of non-target trials, shape (n,), n >= 1.
        frr: the false-reject rate allowed, 0 to 1.

    Returns:
        The false-accept rate (0 to 1) and the threshold.

    Raises:
        ValueError: `frr` is no rate, or the scores are empty or not finite.
    """
    if not 0.0 <= frr <= 1.0:
        raise ValueError(f"a false-reject rate lies between 0 and 1, not {frr}")
    thresholds, false_reject, false_accept = error_curves(targets, nontargets)
    last = int(np.flatnonzero(false_reject <= frr + 1e-12)[-1])
    return Rate(float(false_accept[last]), float(thresholds[last]))


def min_dcf(
    targets: Scores, nontargets: Scores, p_target: float, c_miss: float, c_fa: float
) -> float:
    """Normalized minimum of the detection cost function.

    C = c_miss * P_miss * p_target + c_fa * P_fa * (1 - p_target), the least over all thresholds,
    divided by the cost of the better of accepting everything and rejecting everything,
    min(c_miss * p_target, c_fa * (1 - p_target)). That is how the NIST 2016 Speaker Recognition
    Evaluation Plan ("Performance Measurement") defines and normalizes it; for its costs see
    `NIST`, for those of the challenge in text-dependent verification `CHALLENGE`.

    Args:
        targets: scores of target trials, shape (m,), m >= 1.
        nontargets: scores of non-target trials, shape (n,), n >= 1.
        p_target: prior probability of a target trial, above 0 and below 1.
        c_miss: cost of a false reject, above 0.
        c_fa: cost of a false accept, above 0.

    Returns:
        0 (no error) to 1 (no better than deciding without listening).

    Raises:
        ValueError: a cost or the prior is impossible, or the scores are empty or not finite.
    """
    return min_dcf_of(error_curves(targets, nontargets), Costs(p_target, c_miss, c_fa))


def min_dcf_of(curves: Curves, costs: Costs) -> float:
    """`min_dcf` from the curves."""
    p_target, c_miss, c_fa = costs
    if not (0.0 < p_target < 1.0 and c_miss > 0.0 and c_fa > 0.0):
        raise ValueError(f"these are no costs to decide by: {costs}")
    _, false_reject, false_accept = curves
    cost = c_miss * p_target * false_reject + c_fa * (1.0 - p_target) * false_accept
    return float(cost.min()) / _least_effort(costs)


def normalized_cost(costs: Costs, false_reject: float, false_accept: float) -> float:
    """The normalized detection cost of two error rates, each 0 to 1."""
    p_target, c_miss, c_fa = costs
    cost = c_miss * p_target * false_reject + c_fa * (1.0 - p_target) * false_accept
    return cost / _least_effort(costs)


def _least_effort(costs: Costs) -> float:
    """What deciding without listening costs: always yes, or always no."""
    return min(costs.c_miss * costs.p_target, costs.c_fa * (1.0 - costs.p_target))


ROUNDS = 300
CONFIDENCE = 0.95
TRIALS_A_RATE_NEEDS = 10
"""Trials for each expected error from which a rate can be told at all."""

Weights = NDArray[np.float64]


def bound_without_error(count: int) -> float:
    """The error rate that is not exceeded, with 95 % confidence, when none of `count` went wrong.

    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial" (1934), one-sided: 1 - 0.05 ** (1 / count), the "rule of three" (3 / count) exactly.

    Args:
        count: independent attempts, 0 or more; with none, anything is possible (1).
    """
    return 1.0 if count <= 0 else float(1.0 - (1.0 - CONFIDENCE) ** (1.0 / count))


def independent_limits(rate: float, count: int) -> tuple[float, float]:
    """The 95 % interval of an error rate seen in so many independent attempts.

    Wilson, "Probable inference, the law of succession, and statistical inference" (1927); where
    there was no error, 0 to `bound_without_error`.

    Args:
        rate: the share that went wrong, 0 to 1.
        count: independent attempts, 0 or more; with none, anything is possible.
    """
    if count <= 0 or rate <= 0.0:
        return 0.0, bound_without_error(count)
    z = NormalDist().inv_cdf(0.5 + 0.5 * CONFIDENCE)
    scale = 1.0 + z * z / count
    middle = rate + z * z / (2.0 * count)
    half = z * math.sqrt(rate * (1.0 - rate) / count + z * z / (4.0 * count * count))
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def supports(trials: int, rate: float) -> bool:
    """Whether so many trials can show an error rate as low as `rate`."""
    return trials * rate >= TRIALS_A_RATE_NEEDS * (1.0 - 1e-9)


class Resampler:
    """People drawn again and again, and what the figures would then have been.

    Args:
        trials: the trials.
        rounds: how often to draw.
        seed: of the draws; the same trials always give the same intervals.
    """

    def __init__(self, trials: Trials, rounds: int = ROUNDS, seed: int = 0) -> None:
        count = len(trials.people)
        rng = np.random.default_rng(seed)
        self._draws = rng.multinomial(count, np.full(count, 1.0 / count), size=rounds)
        self._trials = trials

    def limits(
        self, figures: Callable[[Trials, Weights], NDArray[np.float64]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The 95 % intervals of several figures that are found together.

        Args:
            figures: gives them, shape (k,), from the trials and how often each counts, shape (n,);
                NaN where a draw has no trial to give one from, which is then passed over.

        Returns:
            (lower, upper), each of shape (k,); NaN where no draw gave the figure.
        """
        found = np.asarray([figures(self._trials, weights) for weights in self._weights()])
        tail = 50.0 * (1.0 - CONFIDENCE)
        limits = np.full((2, found.shape[1]), np.nan)
        told = np.isfinite(found).any(axis=0)
        limits[:, told] = np.nanpercentile(found[:, told], [tail, 100.0 - tail], axis=0)
        return limits[0], limits[1]

    def _weights(self) -> Iterator[Weights]:
        trials = self._trials
        own = trials.owner == trials.speaker
        for draw in self._draws.astype(np.float64):
            owner = draw[trials.owner]
            yield np.where(own, owner, owner * draw[trials.speaker])


class Order:
    """Scores sorted once, so that the curves of every draw cost one pass."""

    def __init__(self, scores: NDArray[np.float64], target: NDArray[np.bool_]) -> None:
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        # Equal scores are accepted or rejected together.
        self._first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        last = np.nextafter(ordered[-1], np.inf)
        self._thresholds = np.append(ordered[self._first], last)
        self._target = target[self._order]

    def curves(self, weights: Weights) -> Curves | None:
        """As `metrics.error_curves`, each trial counting `weights`; None without any to count."""
        ordered = weights[self._order]
        right = np.where(self._target, ordered, 0.0)
        rejects = np.concatenate(([0.0], np.cumsum(right)))
        turned_away = np.concatenate(([0.0], np.cumsum(ordered - right)))
        if rejects[-1] <= 0.0 or turned_away[-1] <= 0.0:
            return None
        at = np.append(self._first, len(ordered))
        return (
            self._thresholds,
            rejects[at] / rejects[-1],
            1.0 - turned_away[at] / turned_away[-1],
        )

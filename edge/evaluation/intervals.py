"""How far a measured error rate can be trusted: 95 % confidence intervals.

Trials are not independent of each other: those of one person go right or wrong together. So it
is people who are drawn again, with replacement, not trials: a person drawn twice counts twice, and
a trial of two people as often as both were drawn together (Bolle, Ratha, Pankanti, "Error analysis
of pattern recognition systems: the subsets bootstrap", 2004, with people as the subsets).

Drawing few people again shows too little, and an error that never occurred not at all. So no
interval is narrower than that of as many attempts as are nearly independent: recordings for false
rejects, pairs of people for false accepts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edge.evaluation.metrics import Curves
from edge.evaluation.trials import Trials

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

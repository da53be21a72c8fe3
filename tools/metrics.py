"""Error rates of a detector from the scores of its trials.

Every function takes the scores of target trials (the right voice, the right phrase) and of
non-target trials, higher meaning nearer; a trial is accepted when `score >= threshold`. Hand in
distances negated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Union

import numpy as np
from numpy.typing import NDArray

Scores = Union[Sequence[float], NDArray[np.floating]]


class Rate(NamedTuple):
    """An error rate and the threshold that gives it.

    Attributes:
        rate: share of trials, 0 to 1.
        threshold: a score; trials from it on are accepted.
    """

    rate: float
    threshold: float


def error_curves(
    targets: Scores, nontargets: Scores
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
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
    thresholds, false_reject, false_accept = error_curves(targets, nontargets)
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
    if not 0.0 <= far <= 1.0:
        raise ValueError(f"a false-accept rate lies between 0 and 1, not {far}")
    thresholds, false_reject, false_accept = error_curves(targets, nontargets)
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

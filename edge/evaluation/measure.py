"""The error rates of scored trials, each with its interval, or the word that it cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

import numpy as np
from numpy.typing import NDArray

from edge.evaluation import metrics
from edge.evaluation.intervals import Order, Resampler, Weights, bound_without_error, supports
from edge.evaluation.metrics import Curves
from edge.evaluation.results import Figure, KindFigures, PresetFigures
from edge.evaluation.scores import PRESETS
from edge.evaluation.trials import Trials

RATES = (0.01, 0.001, 0.0001)
"""False-accept rates at which false rejects are reported."""
ALL = "all"
"""Every kind of trial that must be rejected, together."""


def kind_figures(trials: Trials) -> tuple[KindFigures, ...]:
    """The targets against each kind of non-target, and against all where there are several."""
    kinds = trials.nontarget_kinds
    rows = [_against(trials.against(kind), kind) for kind in kinds]
    if len(kinds) > 1:
        rows.append(_against(trials, ALL))
    return tuple(rows)


def preset_figures(trials: Trials, thresholds: Mapping[str, float]) -> tuple[PresetFigures, ...]:
    """What each preset would have let in and turned away."""
    rows = []
    targets = trials.of(trials.target)
    for name, asked in PRESETS:
        threshold = thresholds[name]
        rejects = _share(targets, targets.scores < threshold, None)
        accepts = []
        for kind in trials.nontarget_kinds:
            some = trials.of(trials.kind == kind)
            accepts.append((kind, _share(some, some.scores >= threshold, asked)))
        rows.append(PresetFigures(name, asked, float(threshold), rejects, tuple(accepts)))
    return tuple(rows)


def units(trials: Trials) -> int:
    """In how much that is as good as independent an error could have shown up.

    Of different voices, the pairs of people; of a person's own trials, their test recordings.
    """
    own = trials.owner == trials.speaker
    pairs = np.stack([trials.owner[~own], trials.speaker[~own]])
    return len(np.unique(np.sort(pairs, axis=0), axis=1).T) + len(np.unique(trials.recording[own]))


def _against(trials: Trials, kind: str) -> KindFigures:
    order = Order(trials.scores, trials.target)

    def figures(_trials: Trials, weights: Weights) -> NDArray[np.float64]:
        curves = order.curves(weights)
        if curves is None:
            return np.full(3 + len(RATES), np.nan)
        return _figures(curves)

    plain = order.curves(np.ones(len(trials.scores)))
    if plain is None:
        raise ValueError("error rates need target and non-target trials")
    values = _figures(plain)
    low, high = Resampler(trials).limits(figures)
    recordings = units(trials.of(trials.target))
    nontargets = int((~trials.target).sum())
    floor = bound_without_error(recordings)

    def figure(index: int, least_high: float = 0.0) -> Figure:
        top = max(high[index], least_high, values[index])
        return Figure(
            float(values[index]), float(min(low[index], values[index])), float(top), nontargets
        )

    rejects = []
    for index, rate in enumerate(RATES, start=3):
        told = supports(nontargets, rate)
        rejects.append((rate, figure(index, floor) if told else unknown(nontargets)))
    return KindFigures(kind, nontargets, figure(0, floor), figure(1), figure(2), tuple(rejects))


def _figures(curves: Curves) -> NDArray[np.float64]:
    return np.asarray(
        [
            metrics.eer_of(curves).rate,
            metrics.min_dcf_of(curves, metrics.NIST),
            metrics.min_dcf_of(curves, metrics.CHALLENGE),
            *(metrics.false_reject_of(curves, rate).rate for rate in RATES),
        ]
    )


def _share(trials: Trials, wrong: NDArray[np.bool_], asked: Optional[float]) -> Figure:
    """How often it went wrong; not told where nothing did and too few trials could have shown it.

    Args:
        trials: of one kind.
        wrong: which of them went wrong, shape (n,).
        asked: the error rate that it should have; None where any will do.
    """

    def share(_trials: Trials, weights: Weights) -> NDArray[np.float64]:
        total = weights.sum()
        return np.asarray([(weights @ wrong) / total if total > 0.0 else np.nan])

    errors, count = int(wrong.sum()), len(wrong)
    bound = bound_without_error(units(trials))
    if not errors:
        told = asked is None or supports(count, asked)
        return Figure(0.0 if told else None, 0.0, bound, count, 0)
    (low,), (high,) = Resampler(trials).limits(share)
    value = errors / count
    return Figure(value, float(min(low, value)), float(max(high, value, bound)), count, errors)


def unknown(trials: int) -> Figure:
    """What so few trials cannot tell."""
    return Figure(None, None, None, trials)

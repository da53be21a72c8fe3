"""The error rates of scored trials, each with its interval, or the word that it cannot be told."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edge.evaluation import metrics
from edge.evaluation.metrics import (
    Curves,
    Order,
    Resampler,
    Weights,
    bound_without_error,
    independent_limits,
    supports,
)
from edge.evaluation.results import Figure, KindFigures, PresetFigures
from edge.evaluation.trials import PRESETS, Trials

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
    one, other = trials.owner[~own], trials.speaker[~own]
    pairs = np.minimum(one, other) * len(trials.people) + np.maximum(one, other)
    return len(np.unique(pairs)) + len(np.unique(trials.recording[own]))


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
    nontargets = int((~trials.target).sum())
    attempts = units(trials.of(trials.target))
    others = units(trials.of(~trials.target))

    def rate(index: int) -> Figure:
        return _figure(values[index], low[index], high[index], attempts, nontargets)

    def cost(index: int, costs: metrics.Costs) -> Figure:
        bounds = bound_without_error(attempts), bound_without_error(others)
        top = max(high[index], values[index], min(1.0, metrics.normalized_cost(costs, *bounds)))
        return Figure(
            float(values[index]), float(min(low[index], values[index])), float(top), nontargets
        )

    return KindFigures(
        kind=kind,
        trials=nontargets,
        eer=rate(0),
        min_dcf_nist=cost(1, metrics.NIST),
        min_dcf_challenge=cost(2, metrics.CHALLENGE),
        false_rejects=tuple(
            (far, rate(index) if supports(nontargets, far) else unknown(nontargets))
            for index, far in enumerate(RATES, start=3)
        ),
    )


def _figure(
    value: float, low: float, high: float, attempts: int, trials: int, errors: int | None = None
) -> Figure:
    """A rate with the wider of its two intervals."""
    least, most = independent_limits(value, attempts)
    return Figure(
        float(value), float(np.fmin(low, least)), float(np.fmax(high, most)), trials, errors
    )


def _figures(curves: Curves) -> NDArray[np.float64]:
    return np.asarray(
        [
            metrics.eer_of(curves).rate,
            metrics.min_dcf_of(curves, metrics.NIST),
            metrics.min_dcf_of(curves, metrics.CHALLENGE),
            *(metrics.false_reject_of(curves, rate).rate for rate in RATES),
        ]
    )


def _share(trials: Trials, wrong: NDArray[np.bool_], asked: float | None) -> Figure:
    """How often it went wrong; not told where nothing did and too few trials could have shown it.

    Args:
        trials: of one kind.
        wrong: which of them went wrong, shape (n,).
        asked: the error rate that it should have; None where any will do.
    """
    where = np.flatnonzero(wrong)  # mostly few, so that their sum beats a product with all

    def share(_trials: Trials, weights: Weights) -> NDArray[np.float64]:
        total = weights.sum()
        return np.asarray([weights[where].sum() / total if total > 0.0 else np.nan])

    errors, count = int(wrong.sum()), len(wrong)
    attempts = units(trials)
    if not errors and asked is not None and not supports(count, asked):
        return Figure(None, 0.0, bound_without_error(attempts), count, 0)
    (low,), (high,) = Resampler(trials).limits(share)
    return _figure(errors / count, low, high, attempts, count, errors)


def unknown(trials: int) -> Figure:
    """What so few trials cannot tell."""
    return Figure(None, None, None, trials)

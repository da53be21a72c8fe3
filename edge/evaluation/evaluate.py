"""From a folder of recordings to error rates with intervals, and a suggested setting."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge import __version__
from edge.errors import AudioFormatError, InputError
from edge.evaluation import corpus, metrics
from edge.evaluation.corpus import CorpusFile, Track, unwatched, warn_in_log
from edge.evaluation.metrics import (
    Curves,
    Order,
    Resampler,
    Weights,
    bound_without_error,
    independent_limits,
    supports,
)
from edge.evaluation.results import Evaluation, Figure, KindFigures, PresetFigures, suggest
from edge.evaluation.trials import PRESETS, Trials, score, split
from edge.evaluation.trials import thresholds as preset_thresholds
from edge.evaluation.turned_away import not_judged, turned_away
from edge.recognition import Engine
from edge.types import ProfileKind
from edge.types.decision import utc

RATES = (0.01, 0.001, 0.0001)
"""False-accept rates at which false rejects are reported."""
ALL = "all"
"""Every kind of non-target together."""


@dataclass(frozen=True, eq=False)
class Evaluated:
    """The results, and the trials and thresholds (by preset) that plots are drawn from."""

    evaluation: Evaluation
    trials: Trials
    thresholds: Mapping[str, float]


def evaluate(
    engine: Engine,
    folder: Path,
    *,
    enroll: int = 3,
    track: Track = unwatched,
    on_unreadable: Callable[[AudioFormatError], None] = warn_in_log,
) -> Evaluated:
    """Error rates on recordings, of which the first `enroll` are enrolled. Raises `InputError`."""
    items = corpus.find_items(folder)
    by_phrase = _layout(folder, items)
    unreadable: list[AudioFormatError] = []
    unheard: list[CorpusFile] = []

    def skip(error: AudioFormatError) -> None:
        unreadable.append(error)
        on_unreadable(error)

    spoken = corpus.analyze_all(
        engine,
        items,
        with_phrase=by_phrase,
        track=track,
        on_unreadable=skip,
        on_silent=unheard.append,
    )
    parts = split([one for one in spoken if one.refusal is None], enroll)
    trials = score(engine, parts, track)
    kind = ProfileKind.PHRASE if by_phrase else ProfileKind.VOICE
    thresholds = preset_thresholds(engine, kind)
    presets = preset_figures(trials, thresholds)
    suggestion = suggest(presets, len(trials.people), engine.config.security)
    evaluation = Evaluation(
        folder=folder.resolve().name,
        created_at=utc(time.time()),
        software=__version__,
        speaker_model=engine.models.speaker.sha256,
        phrase_model=engine.models.phrase.sha256,
        by_phrase=by_phrase,
        enroll=enroll,
        people=len(trials.people),
        profiles=len(parts.enrolled),
        recordings=len(items),
        tested=len(parts.tested),
        refused=corpus.refusals(items, spoken, len(unreadable)),
        kinds=kind_figures(trials),
        presets=presets,
        suggestion=suggestion,
        turned_away=tuple(turned_away(engine, parts, trials, thresholds[suggestion.preset])),
        not_judged=tuple(not_judged(spoken, unheard, engine.config.recognition)),
    )
    return Evaluated(evaluation, trials, thresholds)


def _layout(folder: Path, items: Sequence[CorpusFile]) -> bool:
    """Whether there are phrases; an error if only some recordings have one."""
    free = [item.path for item in items if not item.phrase]
    phrases = [item.path for item in items if item.phrase]
    if free and phrases:
        raise InputError(
            f"{folder}: holds both PERSON/FILE ({free[0].relative_to(folder)}) and"
            f" PERSON/PHRASE/FILE ({phrases[0].relative_to(folder)}); put them in two folders and"
            " evaluate each"
        )
    return bool(phrases)


def kind_figures(trials: Trials) -> tuple[KindFigures, ...]:
    """The targets against each kind of non-target, and against all if there are several."""
    kinds = trials.nontarget_kinds
    rows = [_against(trials.against(kind), kind) for kind in kinds]
    if len(kinds) > 1:
        rows.append(_against(trials, ALL))
    return tuple(rows)


def preset_figures(trials: Trials, thresholds: Mapping[str, float]) -> tuple[PresetFigures, ...]:
    """What each preset would have accepted and rejected."""
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
    """Practically independent trials: pairs of people, or test recordings of one's own voice."""
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
            (
                far,
                rate(index) if supports(nontargets, far) else Figure(None, None, None, nontargets),
            )
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
            metrics.eer(curves).rate,
            metrics.min_dcf(curves, metrics.NIST),
            metrics.min_dcf(curves, metrics.CHALLENGE),
            *(metrics.false_reject_at(curves, rate).rate for rate in RATES),
        ]
    )


def _share(trials: Trials, wrong: NDArray[np.bool_], expected: float | None) -> Figure:
    """The error rate of trials of one kind, of which those in `wrong`, shape (n,), are errors.

    Unknown without errors and with too few trials to show a rate as low as `expected`.
    """
    where = np.flatnonzero(wrong)  # mostly few, so that summing them beats a product with all

    def share(_trials: Trials, weights: Weights) -> NDArray[np.float64]:
        total = weights.sum()
        return np.asarray([weights[where].sum() / total if total > 0.0 else np.nan])

    errors, count = int(wrong.sum()), len(wrong)
    attempts = units(trials)
    if not errors and expected is not None and not supports(count, expected):
        return Figure(None, 0.0, bound_without_error(attempts), count, 0)
    (low,), (high,) = Resampler(trials).limits(share)
    return _figure(errors / count, low, high, attempts, count, errors)

"""The results of an evaluation, and their words for people."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.evaluation.trials import STRANGER, STRANGER_WRONG_PHRASE, VOICE_STRANGER, WRONG_PHRASE

FORMAT = "edge-voice evaluation"
VERSION = 1


@dataclass(frozen=True)
class Figure:
    """A measured figure with its 95 % interval, `low` to `high`; None with too few trials.

    `errors` is the number of wrong trials, if the figure is a share of them.
    """

    value: float | None
    low: float | None
    high: float | None
    trials: int
    errors: int | None = None


@dataclass(frozen=True)
class KindFigures:
    """The targets against one kind of non-target, such as `IC`, or against `all` of them.

    `min_dcf_nist` and `min_dcf_challenge` are normalized minimum detection costs. `false_rejects`
    has (false-accept rate, false-reject rate there) for 1 in 100, 1,000 and 10,000.
    """

    kind: str
    trials: int
    eer: Figure
    min_dcf_nist: Figure
    min_dcf_challenge: Figure
    false_rejects: tuple[tuple[float, Figure], ...]


@dataclass(frozen=True)
class PresetFigures:
    """The error rates of a preset, meant to have `false_accept_rate`, on these recordings.

    `threshold` is the lowest score that it accepts; `false_accepts` has (kind, rate) for each kind
    of non-target.
    """

    name: str
    false_accept_rate: float
    threshold: float
    false_reject: Figure
    false_accepts: tuple[tuple[str, Figure], ...]


@dataclass(frozen=True)
class Suggestion:
    """The preset to use, and why; each warning says what the recordings cannot show."""

    preset: str
    reason: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation.

    Models are SHA-256, and `created_at` is ISO 8601 with the offset. `refused` counts unusable
    recordings by reason. `kinds` begins with the main one, `presets` with the most forgiving.
    """

    folder: str
    created_at: str
    software: str
    speaker_model: str
    phrase_model: str
    by_phrase: bool
    enroll: int
    people: int
    profiles: int
    recordings: int
    tested: int
    refused: Mapping[str, int]
    kinds: tuple[KindFigures, ...]
    presets: tuple[PresetFigures, ...]
    suggestion: Suggestion

    @property
    def suggested(self) -> PresetFigures:
        """The figures of the suggested preset."""
        return next(one for one in self.presets if one.name == self.suggestion.preset)

    def as_dict(self) -> dict[str, Any]:
        """All of it under its JSON names; rates are 0 to 1."""
        content = dataclasses.asdict(self)
        for kind in content["kinds"]:
            kind["false_rejects"] = [
                {"false_accept_rate": far, **figure} for far, figure in kind["false_rejects"]
            ]
        for preset in content["presets"]:
            preset["false_accepts"] = dict(preset["false_accepts"])
        return {"format": FORMAT, "version": VERSION, **content}


LABELS = {
    STRANGER: "stranger, right phrase (IC)",
    VOICE_STRANGER: "stranger",
    WRONG_PHRASE: "resident, wrong phrase (TW)",
    STRANGER_WRONG_PHRASE: "stranger, wrong phrase (IW)",
    "all": "all of these",
    "TC": "resident, right phrase (TC)",
    "target": "resident",
}
"""Kinds of trial, for people."""


def percent(rate: float) -> str:
    """A rate with two significant digits: 12 %, 1.5 %, 0.02 %."""
    value = 100.0 * rate
    if value >= 9.95:
        return f"{value:.0f} %"
    return f"{value:.2g} %" if value >= 0.0001 else "0 %"


def one_in(rate: float) -> str:
    """A small rate as 1 in 1,000."""
    return f"1 in {round(1.0 / rate):,}"


def figure_words(figure: Figure) -> str:
    """A rate with its interval, or why there is none."""
    if figure.value is None:
        text = f"too few trials ({figure.trials:,})"
        if figure.errors is not None and figure.high is not None:
            text += f", no error (at most {percent(figure.high)})"
        return text
    high = percent(figure.high if figure.high is not None else 1.0)
    if figure.value <= 0.0:
        return f"0 % (at most {high})"
    return f"{percent(figure.value)} ({percent(figure.low or 0.0)} to {high})"


def cost_words(figure: Figure) -> str:
    """A detection cost with its interval."""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def strangers_sentence(evaluation: Evaluation, preset: PresetFigures) -> str:
    """How often strangers would be accepted."""
    kinds = dict(preset.false_accepts)
    who = "strangers who know the phrase" if evaluation.by_phrase else "strangers"
    figure: Figure | None = kinds.get(STRANGER if evaluation.by_phrase else VOICE_STRANGER)
    if figure is None:
        return f"Unknown how often {who} would be accepted: none were recorded."
    high = figure.high if figure.high is not None else 1.0
    if not figure.value:
        return (
            f"None of {figure.trials:,} attempts by {who} was accepted, so at most"
            f" {_of(high)} would be."
        )
    size = 1_000
    while figure.value * size < 1.0:
        size *= 10
    return (
        f"About {figure.value * size:.2g} of {size:,} attempts by {who} would be accepted"
        f" (at most {_of(high)})."
    )


def residents_sentence(preset: PresetFigures) -> str:
    """How often residents would be rejected."""
    figure = preset.false_reject
    high = percent(figure.high if figure.high is not None else 1.0)
    if not figure.value:
        return (
            f"No resident was rejected in {figure.trials:,} attempts, so at most {high} of"
            " them would be."
        )
    return (
        f"Residents are rejected {100.0 * figure.value:.2g} times in 100"
        f" ({percent(figure.low or 0.0)} to {high})."
    )


def _of(rate: float) -> str:
    """An upper limit as a count, rounded up: `3 of 1,000`."""
    size = 100 if rate >= 0.01 else 1_000 if rate >= 0.001 else 10_000
    return f"{math.ceil(rate * size - 1e-9):,} of {size:,}"

"""Figures in words that need no explanation."""

from __future__ import annotations

import math

from edge.evaluation.results import Evaluation, Figure, PresetFigures
from edge.evaluation.trials import (
    STRANGER,
    STRANGER_WRONG_PHRASE,
    VOICE_STRANGER,
    WRONG_PHRASE,
)

LABELS = {
    STRANGER: "stranger, right phrase (IC)",
    VOICE_STRANGER: "stranger",
    WRONG_PHRASE: "resident, wrong phrase (TW)",
    STRANGER_WRONG_PHRASE: "stranger, wrong phrase (IW)",
    "all": "all of these",
    "TC": "resident, right phrase (TC)",
    "target": "resident",
}
"""What a kind of trial is called in front of people."""


def percent(rate: float) -> str:
    """A rate with two digits that mean something: 12 %, 1.5 %, 0.02 %."""
    value = 100.0 * rate
    if value >= 9.95:
        return f"{value:.0f} %"
    return f"{value:.2g} %" if value >= 0.0001 else "0 %"


def thousands(count: int) -> str:
    """A count with its thousands apart: 1,000."""
    return f"{count:,}"


def one_in(rate: float) -> str:
    """A small rate as people say it: 1 in 1,000."""
    return f"1 in {thousands(round(1.0 / rate))}"


def told(figure: Figure) -> str:
    """A rate with its interval, or why there is none."""
    if figure.value is None:
        plural = "" if figure.trials == 1 else "s"
        text = f"cannot be told from {thousands(figure.trials)} trial{plural}"
        if figure.errors is not None and figure.high is not None:
            text += f" (none; at most {percent(figure.high)})"
        return text
    high = percent(figure.high if figure.high is not None else 1.0)
    if figure.value <= 0.0:
        return f"0 % (at most {high})"
    return f"{percent(figure.value)} ({percent(figure.low or 0.0)} to {high})"


def told_cost(figure: Figure) -> str:
    """A detection cost with its interval."""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"


def strangers_sentence(evaluation: Evaluation, preset: PresetFigures) -> str:
    """How often strangers would get in."""
    kinds = dict(preset.false_accepts)
    who = "strangers who know the phrase" if evaluation.by_phrase else "strangers"
    figure: Figure | None = kinds.get(STRANGER if evaluation.by_phrase else VOICE_STRANGER)
    if figure is None:
        return f"How many {who} would get in cannot be told: none were recorded."
    high = figure.high if figure.high is not None else 1.0
    if not figure.value:
        attempts = f"{thousands(figure.trials)} attempts by {who}"
        return (
            f"Of {attempts}, none got in, which shows no more than that at most {_of(high)} would."
        )
    size = 1_000
    while figure.value * size < 1.0:
        size *= 10
    return (
        f"Of {thousands(size)} {who}, about {figure.value * size:.2g} would get in"
        f" (at most {_of(high)})."
    )


def residents_sentence(preset: PresetFigures) -> str:
    """How often residents would be turned away."""
    figure = preset.false_reject
    high = percent(figure.high if figure.high is not None else 1.0)
    if not figure.value:
        return (
            f"No resident was turned away in {thousands(figure.trials)} attempts; it may happen in"
            f" up to {high} of them."
        )
    return (
        f"Residents are turned away {100.0 * figure.value:.2g} times in 100"
        f" (between {percent(figure.low or 0.0)} and {high})."
    )


def _of(rate: float) -> str:
    """A rate as a count: `3 of 1,000`, rounded up, since it is a limit."""
    size = 100 if rate >= 0.01 else 1_000 if rate >= 0.001 else 10_000
    return f"{thousands(math.ceil(rate * size - 1e-9))} of {thousands(size)}"

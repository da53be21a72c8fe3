"""What an evaluation found, as the report shows it and `edge-voice calibrate` reads it again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.evaluation.trials import STRANGER, STRANGER_WRONG_PHRASE, VOICE_STRANGER, WRONG_PHRASE

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


FORMAT = "edge-voice evaluation"
VERSION = 1


@dataclass(frozen=True)
class Figure:
    """A measured figure and how far it can be trusted.

    Attributes:
        value: the figure; None where it cannot be told from so few trials.
        low: lower limit of the 95 % interval; None where it cannot be told.
        high: its upper limit; None where it cannot be told.
        trials: how many trials it rests on.
        errors: how many of them went wrong, where the figure is a share of them; else None.
    """

    value: float | None
    low: float | None
    high: float | None
    trials: int
    errors: int | None = None


@dataclass(frozen=True)
class KindFigures:
    """The targets against one kind of trial that must be rejected.

    Attributes:
        kind: which, such as `IC`; `all` for all of them together.
        trials: how many of that kind.
        eer: equal error rate.
        min_dcf_nist: normalized minimum detection cost at NIST's costs.
        min_dcf_challenge: the same at those of the challenge in text-dependent verification.
        false_rejects: (false-accept rate, false-reject rate there) of 1 in 100, 1,000, 10,000.
    """

    kind: str
    trials: int
    eer: Figure
    min_dcf_nist: Figure
    min_dcf_challenge: Figure
    false_rejects: tuple[tuple[float, Figure], ...]


@dataclass(frozen=True)
class PresetFigures:
    """What a preset would do on these recordings.

    Attributes:
        name: `relaxed`, `balanced` or `strict`.
        asked: the false-accept rate that it stands for.
        threshold: the score from which it accepts.
        false_reject: how often the right voice with the right phrase is turned away.
        false_accepts: (kind, how often it gets in) of each kind of trial that must be rejected.
    """

    name: str
    asked: float
    threshold: float
    false_reject: Figure
    false_accepts: tuple[tuple[str, Figure], ...]


@dataclass(frozen=True)
class Suggestion:
    """Which preset suits these people.

    Attributes:
        preset: its name.
        reason: why, in a sentence.
        warnings: what the recordings cannot show or show to be wrong, a sentence each.
    """

    preset: str
    reason: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """All that was found.

    Attributes:
        folder: name of the folder of recordings.
        made_at: when, ISO 8601 with the offset.
        software: version of the software.
        speaker_model: SHA-256 of the speaker model.
        phrase_model: SHA-256 of the phrase model.
        by_phrase: whether phrases were compared too.
        enroll: recordings enrolled for each profile.
        people: how many people speak.
        profiles: how many profiles were enrolled.
        recordings: how many recordings there were.
        tested: how many were tested.
        refused: how many were left out, by reason.
        kinds: the figures against each kind of trial, the main one first.
        presets: what each preset would do, from the most forgiving to the strictest.
        suggestion: which preset suits.
    """

    folder: str
    made_at: str
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
        """What the suggested preset would do."""
        return next(one for one in self.presets if one.name == self.suggestion.preset)

    def as_dict(self) -> dict[str, Any]:
        """All of it under its JSON names; rates are shares, 0 to 1."""
        content = dataclasses.asdict(self)
        for kind in content["kinds"]:
            kind["false_rejects"] = [
                {"false_accept_rate": far, **figure} for far, figure in kind["false_rejects"]
            ]
        for preset in content["presets"]:
            preset["false_accepts"] = dict(preset["false_accepts"])
        return {"format": FORMAT, "version": VERSION, **content}

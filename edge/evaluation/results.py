"""The results of an evaluation, the setting that they suggest, and their words for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge.config.settings import FALSE_ACCEPT_PRESETS, SecurityConfig
from edge.evaluation.trials import STRANGER, STRANGER_WRONG_PHRASE, VOICE_STRANGER, WRONG_PHRASE
from edge.evaluation.turned_away import TurnedAway

FORMAT = "edge-voice evaluation"
VERSION = 1
SUMMARY_KEY = "evaluation"
"""Under which the device's state has the summary of the latest evaluation, as JSON."""
LABELS = {
    STRANGER: "stranger, right phrase (IC)",
    VOICE_STRANGER: "stranger",
    WRONG_PHRASE: "resident, wrong phrase (TW)",
    STRANGER_WRONG_PHRASE: "stranger, wrong phrase (IW)",
    "all": "all of these",
    "TC": "resident, right phrase (TC)",
    "target": "resident",
}
BEARABLE = 0.05
"""False-reject rate that people accept: one attempt in twenty."""
ENOUGH_PEOPLE = 10
ENOUGH_RECORDINGS = 60
"""With this many test recordings of residents, no false reject shows a rate of at most 5 %."""
FAR_OFF = 3.0
"""Times the preset's false-accept rate from which a warning is given."""


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval, None with too few trials; `errors` counts wrong trials."""

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

    `threshold` is the lowest score accepted; `false_accepts` has (kind, rate) of non-targets.
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
    """The results of an evaluation; models are SHA-256, `created_at` is ISO 8601 in UTC.

    `refused` counts unusable recordings by reason, `not_judged` names them; `turned_away` names
    those of residents that the suggested preset rejects. `kinds` begins with the main one,
    `presets` with the most forgiving.
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
    turned_away: tuple[TurnedAway, ...]
    not_judged: tuple[TurnedAway, ...]

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

    def summary(self) -> dict[str, Any]:
        """What the device keeps of it: how often people are accepted and rejected, in words."""
        return {
            "created_at": self.created_at,
            "people": self.people,
            "tested": self.tested,
            "strangers": strangers_sentence(self, self.suggested),
            "residents": residents_sentence(self.suggested),
            "suggested": self.suggestion.preset,
            "reason": self.suggestion.reason,
            "presets": [
                {
                    "name": preset.name,
                    "meant": one_in(preset.false_accept_rate),
                    "residents": figure_words(preset.false_reject),
                    "strangers": figure_words(preset.false_accepts[0][1]),
                }
                for preset in self.presets
            ],
        }


def digits(value: float) -> str:
    """A number with two significant digits: 12, 1.5, 0.02; whole from 10 on."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"


def percent(rate: float) -> str:
    """A rate with two significant digits: 12 %, 1.5 %, 0.02 %."""
    return f"{digits(100.0 * rate)} %" if rate >= 1e-6 else "0 %"


def one_in(rate: float) -> str:
    """A small rate as 1 in 1,000."""
    return f"1 in {round(1.0 / rate):,}"


def figure_words(figure: Figure) -> str:
    """A rate with its interval, or why there is none."""
    if figure.value is None:
        if figure.errors is None or figure.high is None:
            return f"too few trials ({figure.trials:,})"
        return f"{figure.errors} of {figure.trials:,} (at most {percent(figure.high)})"
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
    high = percent(figure.high if figure.high is not None else 1.0)
    if not figure.value:
        return (
            f"None of {figure.trials:,} attempts by {who} was accepted, so at most {high} of them"
            " would be."
        )
    size = 1_000
    while figure.value * size < 1.0:
        size *= 10
    return (
        f"About {digits(figure.value * size)} of {size:,} attempts by {who} would be accepted"
        f" (at most {high})."
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
        f"Residents are rejected {digits(100.0 * figure.value)} times in 100"
        f" ({percent(figure.low or 0.0)} to {high})."
    )


def suggest(presets: Sequence[PresetFigures], people: int, security: SecurityConfig) -> Suggestion:
    """The strictest of presets, ordered by strictness, that rejects at most 5 % of residents.

    The measured rate counts: with few recordings its upper limit is always above 5 %, which would
    suggest the preset that accepts most strangers. If every preset rejects more, being laxer does
    not mend it: it is the preset of the door, or the next stricter one. A laxer one than the door's
    is suggested with what it costs.
    """
    rates = [_rate(preset.false_reject) for preset in presets]
    bearable = [index for index, rate in enumerate(rates) if rate <= BEARABLE]
    if bearable:
        index = bearable[-1]
        chosen = presets[index]
        reason = (
            f"{chosen.name} is the strictest setting that rejects residents in at most 5 of 100"
            f" attempts: here in {percent(rates[index])}"
        )
        if index + 1 < len(presets):
            next_rate = percent(rates[index + 1])
            reason += f"; {presets[index + 1].name} would in {next_rate}"
    else:
        as_strict = (one for one in presets if one.false_accept_rate <= security.far)
        chosen = next(as_strict, presets[-1])
        reason = (
            f"every setting rejects residents in more than 5 of 100 attempts, {chosen.name} in"
            f" {percent(_rate(chosen.false_reject))}; mend what turns them away, which is listed,"
            " rather than let more strangers in"
        )
    cost = laxer_than(security, chosen.name, presets)
    return Suggestion(
        chosen.name, f"{reason}.{f' {cost}' if cost else ''}", tuple(_warnings(chosen, people))
    )


def laxer_than(security: SecurityConfig, preset: str, presets: Sequence[PresetFigures] = ()) -> str:
    """What a preset costs that is laxer than the configured setting; empty if it is not laxer.

    It is what the two are meant to let in, or what they let in here (`presets`) if that is more.
    """
    more = 1_000.0 * (FALSE_ACCEPT_PRESETS[preset] - security.far)
    if more <= 0.0:
        return ""
    measured = {one.name: _strangers(one) for one in presets}
    now, then = measured.get(str(security.false_accept_rate)), measured.get(preset)
    if now and then and now.trials and then.trials:
        counted = 1_000.0 * ((then.errors or 0) - (now.errors or 0)) / then.trials
        more = max(more, counted)
    name = security.false_accept_rate
    setting = name if isinstance(name, str) else one_in(name)
    return (
        f"It is laxer than the door's present setting ({setting}): about {digits(more)} more of"
        " 1,000 attempts by strangers would be accepted."
    )


def _strangers(preset: PresetFigures) -> Figure | None:
    kinds = dict(preset.false_accepts)
    return kinds.get(STRANGER) or kinds.get(VOICE_STRANGER)


def _rate(figure: Figure) -> float:
    return 1.0 if figure.value is None else figure.value


def _warnings(chosen: PresetFigures, people: int) -> list[str]:
    found = []
    if people < ENOUGH_PEOPLE:
        found.append(
            f"{people} people are too few to measure false accepts; the rate of {chosen.name}"
            f" ({percent(chosen.false_accept_rate)}) was measured on other people. Record"
            f" {ENOUGH_PEOPLE} or more to measure your own."
        )
    rejects = chosen.false_reject
    if rejects.trials < ENOUGH_RECORDINGS:
        found.append(
            f"{rejects.trials} attempts by residents are few: up to {percent(rejects.high or 1.0)}"
            f" may be rejected. Record {ENOUGH_RECORDINGS} or more."
        )
    strangers = _strangers(chosen)
    if strangers is None:
        found.append(
            "Nobody was recorded saying another person's phrase, so it is unknown how often a"
            " stranger who knows the phrase would be accepted: record people saying each other's"
            " phrases, in folders named after them."
        )
    elif (
        strangers.value
        and strangers.low is not None
        and strangers.low > FAR_OFF * chosen.false_accept_rate
    ):
        found.append(
            f"Strangers were accepted more often ({strangers.errors} of"
            f" {strangers.trials:,} attempts) than {chosen.name} allows"
            f" ({percent(chosen.false_accept_rate)}): the voices are alike, or the microphone or"
            " room blurs them. Choose a stricter setting if that matters."
        )
    return found

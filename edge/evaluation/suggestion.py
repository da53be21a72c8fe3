"""Which preset suits the people who were recorded, and what their recordings cannot show."""

from __future__ import annotations

from collections.abc import Sequence

from edge.evaluation.results import Figure, PresetFigures, Suggestion, percent, thousands
from edge.evaluation.trials import STRANGER, VOICE_STRANGER

BEARABLE = 0.05
"""False rejects that people put up with: one attempt in twenty is said again."""
ENOUGH_PEOPLE = 10
ENOUGH_RECORDINGS = 60
"""With so many test recordings of residents, none turned away shows at most 5 %."""
FAR_OFF = 3.0
"""A false-accept rate this many times what was asked for is not what was asked for."""


def suggest(presets: Sequence[PresetFigures], people: int) -> Suggestion:
    """The strictest preset that turns residents away in 5 of 100 attempts or less.

    It is the rate that was measured which counts, not the upper end of its interval: with few
    recordings that end is above 5 % whatever is measured, and would always suggest what lets most
    strangers in. Where no preset keeps below 5 %, it is the one with the fewest false rejects, the
    strictest of several.

    Args:
        presets: what each would do, from the most forgiving to the strictest.
        people: how many people were recorded.
    """
    rates = [_rate(preset.false_reject) for preset in presets]
    bearable = [index for index, rate in enumerate(rates) if rate <= BEARABLE]
    if bearable:
        index = bearable[-1]
        chosen = presets[index]
        reason = (
            f"{chosen.name} is the strictest setting that turns residents away in no more than 5"
            f" of 100 attempts: here in {percent(rates[index])}"
        )
        if index + 1 < len(presets):
            next_rate = percent(rates[index + 1])
            reason += f"; {presets[index + 1].name} would in {next_rate}"
    else:
        index = max(n for n, rate in enumerate(rates) if rate == min(rates))
        chosen = presets[index]
        reason = (
            f"every setting turns residents away in more than 5 of 100 attempts; {chosen.name} does"
            f" so least often, in {percent(rates[index])}"
        )
    return Suggestion(chosen.name, f"{reason}.", tuple(_warnings(chosen, people)))


def _rate(figure: Figure) -> float:
    return 1.0 if figure.value is None else figure.value


def _warnings(chosen: PresetFigures, people: int) -> list[str]:
    found = []
    if people < ENOUGH_PEOPLE:
        found.append(
            f"{people} people cannot show how often a stranger would get in: how often"
            f" {chosen.name} stands for ({percent(chosen.asked)}) was measured on other people."
            f" Record {ENOUGH_PEOPLE} or more to see for yourself."
        )
    rejects = chosen.false_reject
    if rejects.trials < ENOUGH_RECORDINGS:
        found.append(
            f"{rejects.trials} attempts by residents are few: they may be turned away in up to"
            f" {percent(rejects.high or 1.0)} of them. {ENOUGH_RECORDINGS} tell more."
        )
    kinds = dict(chosen.false_accepts)
    strangers = kinds.get(STRANGER) or kinds.get(VOICE_STRANGER)
    if strangers is None:
        found.append(
            "Nobody was recorded saying another person's phrase, so it cannot be told how often a"
            " stranger who knows the phrase would get in: record people saying each other's"
            " phrases, in folders of the same name."
        )
    elif strangers.value and strangers.low is not None and strangers.low > FAR_OFF * chosen.asked:
        found.append(
            f"Strangers got in more often ({strangers.errors} of"
            f" {thousands(strangers.trials)} attempts) than {chosen.name} stands for"
            f" ({percent(chosen.asked)}): voices that are alike, or a microphone or room that"
            " blurs them. Choose a stricter setting where that matters."
        )
    return found

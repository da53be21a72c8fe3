"""The preset that suits the people who were recorded, and what the recordings cannot show."""

from __future__ import annotations

from collections.abc import Sequence

from edge.evaluation.results import Figure, PresetFigures, Suggestion, percent
from edge.evaluation.trials import STRANGER, VOICE_STRANGER

BEARABLE = 0.05
"""False-reject rate that people accept: one attempt in twenty."""
ENOUGH_PEOPLE = 10
ENOUGH_RECORDINGS = 60
"""With this many test recordings of residents, no false reject shows a rate of at most 5 %."""
FAR_OFF = 3.0
"""Times the preset's false-accept rate from which a warning is given."""


def suggest(presets: Sequence[PresetFigures], people: int) -> Suggestion:
    """The strictest of presets, ordered by strictness, that rejects at most 5 % of residents.

    The measured rate counts, not the upper limit of its interval: with few recordings that is
    always above 5 %, and would suggest the preset that accepts most strangers. If every preset
    rejects more, it is the one with the fewest false rejects, the strictest of several.
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
        index = max(n for n, rate in enumerate(rates) if rate == min(rates))
        chosen = presets[index]
        reason = (
            f"every setting rejects residents in more than 5 of 100 attempts; {chosen.name} does"
            f" so least often, in {percent(rates[index])}"
        )
    return Suggestion(chosen.name, f"{reason}.", tuple(_warnings(chosen, people)))


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
    kinds = dict(chosen.false_accepts)
    strangers = kinds.get(STRANGER) or kinds.get(VOICE_STRANGER)
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

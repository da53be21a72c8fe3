"""What a display says during an enrollment: short enough for a small screen two steps away."""

from __future__ import annotations

from collections.abc import Mapping

from edge.types import Profile, ReasonCode

LOST = "lost"
"""Refused because the device lost audio."""

SHORT_S = 1.0
"""Less speech may be half a phrase."""

_REFUSED: Mapping[str, str] = {
    ReasonCode.TOO_QUIET.value: "too quiet: once more, a little louder or closer",
    ReasonCode.CLIPPED.value: "too loud: once more, a little softer or farther away",
    ReasonCode.TOO_NOISY.value: "too noisy: once more, when it is quieter, or closer",
    ReasonCode.TOO_SHORT.value: (
        "too short: once more, with a longer phrase: four syllables or more"
    ),
    ReasonCode.TOO_LONG.value: "too long: once more, only the phrase, then a pause",
    ReasonCode.WRONG_PHRASE.value: (
        "different phrase: once more, with the same words as the first time"
    ),
    ReasonCode.UNKNOWN_SPEAKER.value: (
        "different voice: once more, by the same person as the first time"
    ),
    ReasonCode.REPEATED.value: "heard before: once more, spoken live",
    ReasonCode.CUT_OFF.value: "cut off: once more, with a pause before and after",
    ReasonCode.OTHER_LENGTH.value: (
        "another length than before: once more, all of it without a stop"
    ),
    LOST: "some audio was lost: once more, please",
}
_REFUSED_FIRST: Mapping[str, str] = {
    ReasonCode.WRONG_PHRASE.value: "choose another phrase",
    ReasonCode.UNKNOWN_SPEAKER.value: "another voice: the named person must speak",
}
"""While nothing is accepted there is no first time to repeat."""

_ENDS: Mapping[str, str] = {
    "nobody_spoke": "nobody spoke",
    "too_long_in_all": "it took too long",
    "too_many_refusals": "too many failed tries",
    "not_listening": "listening was switched off",
    "changed": "the profile was changed meanwhile",
    "stopping": "the device is stopping",
    "other_model": "started with another model: reset first",
    "store": "could not be stored",
}


def started(profile: Profile) -> str:
    """The enrollment begins or continues."""
    done, required = figures(profile)
    if done:
        return f"{done} of {required}: continue with the same passphrase"
    return f"say your passphrase {required} times and pause after each"


def accepted(profile: Profile) -> str:
    """A repetition was accepted."""
    done, required = figures(profile)
    said, again = f"{done} of {required}", "again"
    if required - done == 1:
        again = "once more, in haste: so you get in on busy days too"
    heard_s = profile.enrolled[-1].net_speech_s
    if heard_s < SHORT_S:
        return f"{said}: {in_words(heard_s)}, was that all? {again.partition(':')[0]}"
    return f"{said}: {again}"


def in_words(seconds: float) -> str:
    """A short time, to the half second."""
    halves = max(1, round(2.0 * seconds))
    return {1: "half a second", 2: "one second"}.get(halves, f"{halves / 2:.3g} seconds")


def refused(reason: str, *, first: bool = False) -> str:
    """A repetition was refused, and what to do about it; `first` while nothing is accepted."""
    if first and reason in _REFUSED_FIRST:
        return _REFUSED_FIRST[reason]
    return _REFUSED.get(reason, "once more, please")


def complete(profile: Profile) -> str:
    """The enrollment is complete."""
    return f"{profile.name} is enrolled"


def unconfirmed(profile: Profile, *, twice: bool = False) -> str:
    """The enrollment is complete, but opens nothing yet; `twice`: the voice has another name too.

    Whose voice it is like is for the owner at the device: anyone may read this.
    """
    also = "; this voice is enrolled already" if twice else ""
    return f"{profile.name} is enrolled: now the owner must confirm it{also}"


def ended(reason: str, profile: Profile, *, saved: bool = True) -> str:
    """The enrollment ended early; a reason without a text means that it was canceled."""
    done, required = figures(profile)
    why = _ENDS.get(reason, "canceled")
    kept = f": {done} of {required} saved, start again to continue" if done and saved else ""
    return f"{why}{kept}"


def figures(profile: Profile) -> tuple[int, int]:
    """How many repetitions were accepted, and how many are needed."""
    return int(profile.progress), int(profile.required)

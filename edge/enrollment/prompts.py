"""What a display says while somebody is being enrolled: short, and what to do next comes first.

Whoever reads it stands at the microphone and looks at a small screen, from two steps away.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge.types import Profile, ReasonCode

LOST = "lost"
"""No fault of the speaker's: the device did not keep up."""


_NEXT: Mapping[str, str] = {
    ReasonCode.TOO_QUIET.value: "once more, a little louder or closer",
    ReasonCode.CLIPPED.value: "once more, a little softer or a step back",
    ReasonCode.TOO_NOISY.value: "once more, when it is quieter or from closer",
    ReasonCode.TOO_SHORT.value: "once more, with a longer phrase: four syllables or more",
    ReasonCode.TOO_LONG.value: "once more, the phrase alone, and then a pause",
    ReasonCode.WRONG_PHRASE.value: "once more, the same words as the first time",
    ReasonCode.UNKNOWN_SPEAKER.value: "once more, by the same person as the first time",
    ReasonCode.REPEATED.value: "once more, spoken and not played",
    ReasonCode.CUT_OFF.value: "once more, with a pause before and after",
    LOST: "once more, please",
}
_OTHERWISE = "once more, please"
_FIRST: Mapping[str, str] = {
    ReasonCode.WRONG_PHRASE.value: "not this phrase: choose another one",
    ReasonCode.UNKNOWN_SPEAKER.value: "another voice: whose name it is must speak",
}
"""Where nothing was taken yet, there is no first time to be like."""

WHY: Mapping[str, str] = {
    ReasonCode.TOO_QUIET.value: "too quiet",
    ReasonCode.CLIPPED.value: "too loud",
    ReasonCode.TOO_NOISY.value: "too noisy",
    ReasonCode.TOO_SHORT.value: "too short",
    ReasonCode.TOO_LONG.value: "too long",
    ReasonCode.WRONG_PHRASE.value: "another phrase",
    ReasonCode.UNKNOWN_SPEAKER.value: "another voice",
    ReasonCode.REPEATED.value: "heard before",
    ReasonCode.CUT_OFF.value: "cut off",
    LOST: "some of it was lost",
}
"""Why a repetition was not taken, in two words, by reason."""

_ENDS: Mapping[str, str] = {
    "nobody_spoke": "nobody spoke",
    "too_long_in_all": "it took too long",
    "too_many_refusals": "too many tries went wrong",
    "not_listening": "listening was switched off",
    "changed": "the person was changed meanwhile",
    "stopping": "the device is stopping",
    "other_model": "begun with another model: reset first",
    "store": "it could not be stored",
}


def begun(profile: Profile) -> str:
    """What to do once it begins or goes on."""
    done, required = figures(profile)
    if done:
        return f"{done} of {required}: go on with the same passphrase"
    return f"say your passphrase {required} times, with a pause after each"


def taken(profile: Profile) -> str:
    """A repetition was taken."""
    done, required = figures(profile)
    return f"{done} of {required}: {'once more' if required - done == 1 else 'and again'}"


def refused(reason: str, *, first: bool = False) -> str:
    """A repetition was not taken, and what to do about it.

    Args:
        reason: a `ReasonCode` value.
        first: nothing has been taken yet, so that there is no first time to be like.
    """
    if first and reason in _FIRST:
        return _FIRST[reason]
    why = WHY.get(reason)
    return f"{why}: {_NEXT[reason]}" if why is not None else _OTHERWISE


def complete(profile: Profile) -> str:
    """All of it was taken."""
    return f"{profile.name} is enrolled"


def ended(reason: str, profile: Profile) -> str:
    """It ended before its time.

    Args:
        reason: why, of those that a session ends by; anything else was a wish.
        profile: as far as it came; what was taken of it is kept.
    """
    done, required = figures(profile)
    why = _ENDS.get(reason, "canceled")
    kept = f": {done} of {required} are kept, start again to go on" if done else ""
    return f"{why}{kept}"


def figures(profile: Profile) -> tuple[int, int]:
    """How many repetitions were taken, and how many are needed."""
    return int(profile.progress), int(profile.required)

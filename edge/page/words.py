"""How the page says things: times, figures, reasons, and what would have been needed."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from edge.config import RecognitionConfig
from edge.types import Profile, ProfileKind, ReasonCode

_UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))

REASONS: Mapping[str, str] = {
    ReasonCode.RECOGNIZED.value: "right voice, right passphrase",
    ReasonCode.WRONG_PHRASE.value: "a known voice, but not its passphrase",
    ReasonCode.UNKNOWN_SPEAKER.value: "an enrolled passphrase in another voice",
    ReasonCode.NO_MATCH.value: "neither voice nor passphrase is enrolled",
    ReasonCode.TOO_SHORT.value: "too little speech",
    ReasonCode.TOO_LONG.value: "longer than a passphrase may be",
    ReasonCode.TOO_NOISY.value: "too much noise around the speech",
    ReasonCode.TOO_QUIET.value: "too quiet",
    ReasonCode.CLIPPED.value: "too loud for the microphone",
    ReasonCode.NOBODY_ENROLLED.value: "nobody is enrolled",
    ReasonCode.LOCKED_OUT.value: "the door was locked out",
    ReasonCode.REPLAY_SUSPECTED.value: "sounded like a recording of an earlier time",
    ReasonCode.DISABLED.value: "recognized, but switched off",
    ReasonCode.NOT_HERE.value: "recognized, but not for this door",
    ReasonCode.NOT_NOW.value: "recognized, but not at this time",
    ReasonCode.CHALLENGE_ASKED.value: "recognized, and asked for digits",
    ReasonCode.CHALLENGE_FAILED.value: "wrong digits, another voice, or too late",
}


def day(seconds: float) -> str:
    """A Unix time as a day, in the device's time zone."""
    return _local(seconds, "%Y-%m-%d")


def moment(seconds: float) -> str:
    """A Unix time to the second, in the device's time zone."""
    return _local(seconds, "%Y-%m-%d %H:%M:%S")


def ago(seconds: float) -> str:
    """How long a Unix time is ago."""
    age_s = now() - seconds
    if age_s < 0.0:
        return "in the future, by this device's clock"
    for length_s, unit in _UNITS:
        count = int(age_s / length_s)
        if count:
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return "just now"


def duration(seconds: float) -> str:
    """How long something lasts, to the minute where it is longer than one."""
    if seconds < 90.0:
        return f"{math.ceil(seconds)} seconds"
    return f"{math.ceil(seconds / 60.0)} minutes"


def now() -> float:
    """Unix time."""
    return time.time()


def minus(value: float) -> str:
    """A whole figure with a real minus."""
    return f"{value:.0f}".replace("-", "\N{MINUS SIGN}")


def figure(value: float, places: int = 1) -> str:
    """A figure with its sign, and a real minus."""
    return f"{value:+.{places}f}".replace("-", "\N{MINUS SIGN}")


def sentence(text: str) -> str:
    """A message of one line as a sentence."""
    text = text.strip()
    if not text:
        return ""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?')) else '.'}"


def remaining(profile: Profile) -> str:
    """What an enrollment still needs."""
    if profile.remaining <= 0:
        return "nothing"
    if profile.kind is ProfileKind.PHRASE:
        count = math.ceil(profile.remaining)
        return f"{count} more repetition{'' if count == 1 else 's'}"
    return f"{math.ceil(profile.remaining)} more seconds of speech"


def needed(detail: Mapping[str, Any], limits: RecognitionConfig, rule: str = "") -> str:
    """What would have been needed for the door to open; empty where it did, or is not known.

    Args:
        detail: a decision as the audit trail has it.
        rule: what the person may open and when, in words.
    """
    reason = detail.get("reason")
    if detail.get("outcome") == "granted":
        return ""
    fixed = {
        "too_short": f"At least {limits.min_net_speech_s:g} s of speech.",
        "too_long": "The passphrase alone, then a pause.",
        "clipped": "Speak from farther away, or lower the microphone's level.",
        "nobody_enrolled": "Somebody has to be enrolled first.",
        "locked_out": "Wait until the lock-out is over, or end it on the page Door.",
        "replay_suspected": "Say it anew: no two times are alike.",
        "disabled": "Switch the person on again.",
        "challenge_asked": "Say the digits that were asked for.",
        "challenge_failed": "Say the digits that were asked for, in time.",
    }
    if reason in fixed:
        return fixed[str(reason)]
    if reason in ("not_here", "not_now"):
        return f"The rule now: {rule}." if rule else ""
    snr_db, level_dbfs = (number(detail.get(name)) for name in ("snr_db", "level_dbfs"))
    if reason == "too_noisy" and snr_db is not None:
        return (
            f"Speech {limits.min_snr_db:g} dB above the noise; it was {snr_db:.0f} dB. Come closer,"
            " or wait for a quieter moment."
        )
    if reason == "too_quiet" and level_dbfs is not None:
        return (
            f"Speech at {limits.min_level_dbfs:g} dB or more; it was {level_dbfs:.0f} dB. Come"
            " closer, or speak up."
        )
    return _nearer(detail)


def _nearer(detail: Mapping[str, Any]) -> str:
    """By how much voice and passphrase were below their limits."""
    short = [
        f"{-margin:.1f} more for the {word}"
        for word, margin in (
            ("voice", number(detail.get("voice_margin"))),
            ("passphrase", number(detail.get("phrase_margin"))),
        )
        if margin is not None and margin < 0.0
    ]
    return f"{' and '.join(short)}." if short else ""


def number(value: object) -> float | None:
    """A figure of the audit trail; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _local(seconds: float, form: str) -> str:
    try:
        return datetime.fromtimestamp(seconds).astimezone().strftime(form)
    except (ValueError, OverflowError, OSError):
        return "unknown"

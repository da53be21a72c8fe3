"""Quality gate: refuses recordings that are too poor to recognize anything in."""

from __future__ import annotations

from edge.config import RecognitionConfig
from edge.types import Quality, ReasonCode

MAX_PHRASE_S = 15.0
"""Longest utterance that can be a passphrase."""


def reason_to_refuse(
    quality: Quality,
    config: RecognitionConfig,
    *,
    duration_s: float = 0.0,
    max_duration_s: float = MAX_PHRASE_S,
) -> ReasonCode | None:
    """Why a recording cannot be used, or None when it can.

    What helps the speaker most comes first: a faint recording measures as noisy too, and a clipped
    one as loud enough.
    """
    checks = (
        (quality.net_speech_s <= 0.0, ReasonCode.TOO_SHORT),
        (duration_s > max_duration_s, ReasonCode.TOO_LONG),
        (quality.clipped_fraction > config.max_clipped_fraction, ReasonCode.CLIPPED),
        (quality.level_dbfs < config.min_level_dbfs, ReasonCode.TOO_QUIET),
        (quality.snr_db < config.min_snr_db, ReasonCode.TOO_NOISY),
        (quality.net_speech_s < config.min_net_speech_s, ReasonCode.TOO_SHORT),
    )
    return next((reason for bad, reason in checks if bad), None)


def explain(reason: ReasonCode, quality: Quality, config: RecognitionConfig) -> str:
    """What is wrong with a refused recording, and what to do about it."""
    if reason is ReasonCode.CLIPPED:
        return (
            f"the recording is overdriven ({quality.clipped_fraction:.0%} of it at full scale): "
            "lower the microphone's level or step back"
        )
    if reason is ReasonCode.TOO_QUIET:
        return (
            f"too quiet ({quality.level_dbfs:.0f} dB, at least {config.min_level_dbfs:.0f} needed):"
            " speak up or come closer"
        )
    if reason is ReasonCode.TOO_NOISY:
        return (
            f"too noisy (speech stands {quality.snr_db:.0f} dB above the noise, at least "
            f"{config.min_snr_db:.0f} needed): find a quieter moment or come closer"
        )
    if reason is ReasonCode.TOO_LONG:
        return "too long: say the phrase alone, then pause"
    if quality.net_speech_s <= 0.0:
        return "no speech was found: speak after the recording starts"
    return (
        f"too short ({quality.net_speech_s:.1f} s of speech, at least "
        f"{config.min_net_speech_s:.1f} needed): choose a longer phrase"
    )

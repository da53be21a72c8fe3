"""Quality of a recording: measures it, and the quality gate that refuses a poor one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.audio.blocks import FRAME_S, FRAME_SAMPLES, FULL_SCALE, QUIETEST_DB, power_db
from edge.audio.echo import reverberation_s
from edge.config import RecognitionConfig
from edge.types import FloatArray, Quality, ReasonCode

MAX_SNR_DB = 60.0

_FADING_S = 0.5
"""How long the echo of the last speech is listened to."""

MAX_PHRASE_S = 15.0
"""Longest utterance that can be a passphrase."""


def measure_quality(
    samples: FloatArray,
    speech: NDArray[np.bool_],
    part: NDArray[np.bool_] | None = None,
    clipped: Sequence[float] | None = None,
) -> Quality:
    """Measure an utterance.

    The noise is the median of the frames that are not speech, without those next to speech where
    there are others, since a fading syllable or a breath is no noise. Its power is taken off the
    speech's, so that the ratio is of speech to noise, not of both to noise. Where everything is
    speech, its quietest tenth stands for the noise: the ratio is then too low rather than too high.
    Levels are `QUIETEST_DB` where there is nothing to measure.

    Args:
        samples: mono audio at `SAMPLE_RATE`, shape (n,).
        speech: whether each frame of `FRAME_SAMPLES` is speech, shape (n // FRAME_SAMPLES,).
        part: the frames whose speech is measured, of the same shape; None for all. The noise is
            measured over all of the recording, but is no louder than the quietest tenth of the
            part: what lies between other people's words, or before a fan was switched off, may be
            louder than what there is now.
        clipped: the share of clipped samples in each frame, shape (n // FRAME_SAMPLES,); None to
            look for them in `samples`.
    """
    frames = min(len(samples) // FRAME_SAMPLES, len(speech))
    if frames == 0:
        return Quality(QUIETEST_DB, QUIETEST_DB, 0.0, 0.0, 0.0)
    grid = samples[: frames * FRAME_SAMPLES].reshape(frames, FRAME_SAMPLES)
    speech = speech[:frames]
    power = np.einsum("fn,fn->f", grid, grid, dtype=np.float64) / FRAME_SAMPLES
    measured = speech if part is None else speech & part[:frames]
    if not measured.any():
        return Quality(QUIETEST_DB, power_db(float(power.mean())), 0.0, 0.0, 0.0)

    noise_power = _noise_power(power, speech)
    if part is not None:
        noise_power = min(noise_power, _quietest(power[part[:frames]]))
    loud_power = float(power[measured].mean())
    speech_power = max(loud_power - noise_power, 1e-10)
    snr_db = 10.0 * np.log10(speech_power / max(noise_power, 1e-12))
    if clipped is None:
        clipped = (np.abs(grid) >= FULL_SCALE).mean(axis=1).tolist()
    snr_db = float(np.clip(snr_db, -MAX_SNR_DB, MAX_SNR_DB))
    return Quality(
        level_dbfs=power_db(loud_power),
        noise_dbfs=power_db(noise_power),
        snr_db=snr_db,
        clipped_fraction=float(np.asarray(clipped)[:frames][measured].mean()),
        net_speech_s=float(measured.sum()) * FRAME_S,
        reverberation_s=reverberation_s(_around(samples, measured), snr_db),
    )


def _around(samples: FloatArray, measured: NDArray[np.bool_]) -> FloatArray:
    """The samples from the first speech on to a while after the last, in which it fades."""
    frames = np.flatnonzero(measured)
    last = frames[-1] + 1 + round(_FADING_S / FRAME_S)
    return samples[frames[0] * FRAME_SAMPLES : last * FRAME_SAMPLES]


def _noise_power(power: NDArray[np.float64], speech: NDArray[np.bool_]) -> float:
    padded = np.concatenate(([False], speech, [False]))
    clear = ~(padded[:-2] | padded[1:-1] | padded[2:])
    for quiet in (clear, ~speech):
        if quiet.any():
            return float(np.median(power[quiet]))
    return _quietest(power)


def _quietest(power: NDArray[np.float64]) -> float:
    return float(np.sort(power)[: max(1, len(power) // 10)].mean())


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

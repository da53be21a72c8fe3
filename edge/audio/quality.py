"""Quality of a recording: level, noise, signal-to-noise ratio, clipping, net speech."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.audio.blocks import FRAME_S, FRAME_SAMPLES, QUIETEST_DB, power_db
from edge.types import FloatArray, Quality

FULL_SCALE = 0.999
"""From here on a sample counts as clipped; 16-bit full scale is 0.99997, resampling rings."""

MAX_SNR_DB = 60.0


def measure_quality(
    samples: FloatArray, speech: NDArray[np.bool_], part: NDArray[np.bool_] | None = None
) -> Quality:
    """Measure an utterance.

    The noise is the median of the frames that are not speech, without those next to speech where
    there are others, since a fading syllable or a breath is no noise. Its power is taken off the
    speech's, so that the ratio is of speech to noise, not of both to noise. Where everything is
    speech, its quietest tenth stands for the noise: the ratio is then too low rather than too high.

    Args:
        samples: mono audio at `SAMPLE_RATE`, shape (n,).
        speech: whether each frame of `FRAME_SAMPLES` is speech, shape (n // FRAME_SAMPLES,).
        part: the frames whose speech is measured, of the same shape; None for all. The noise is
            measured over all of the recording, but is no louder than the quietest tenth of the
            part: what lies between other people's words, or before a fan was switched off, may be
            louder than what there is now.

    Returns:
        The figures; levels are `QUIETEST_DB` where there is nothing to measure.
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
    clipped = float((np.abs(grid[measured]) >= FULL_SCALE).mean())
    return Quality(
        level_dbfs=power_db(loud_power),
        noise_dbfs=power_db(noise_power),
        snr_db=float(np.clip(snr_db, -MAX_SNR_DB, MAX_SNR_DB)),
        clipped_fraction=clipped,
        net_speech_s=float(measured.sum()) * FRAME_S,
    )


def _noise_power(power: NDArray[np.float64], speech: NDArray[np.bool_]) -> float:
    padded = np.concatenate(([False], speech, [False]))
    clear = ~(padded[:-2] | padded[1:-1] | padded[2:])
    for quiet in (clear, ~speech):
        if quiet.any():
            return float(np.median(power[quiet]))
    return _quietest(power)


def _quietest(power: NDArray[np.float64]) -> float:
    return float(np.sort(power)[: max(1, len(power) // 10)].mean())

"""Splices: one phrase by two people, cut between words and joined without a break.

Both are cut at the same shares of their speech, each moved to where it is quietest nearby, and
brought to one level. The joints cross-fade.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.recognition.embedders import voice_samples
from edge.types import SAMPLE_RATE, FloatArray, Utterance
from tools.acoustics.levels import speech_power

_SEARCHED_S = 0.12
"""How far a cut is moved to find a quiet moment, on either side."""
_SMOOTHED = round(0.03 * SAMPLE_RATE)
_FADE = round(0.01 * SAMPLE_RATE)


def spliced(utterances: Sequence[Utterance], cuts: Sequence[float]) -> FloatArray:
    """The first part of the first utterance, the next one of the second, and so on.

    Args:
        utterances: of the same phrase, one for each part; the first one's level is kept.
        cuts: where one part ends, as shares of the speech, rising; one less than utterances.

    Returns:
        Mono audio with the silence that is kept at both ends, shape (n,).
    """
    level = speech_power(voice_samples(utterances[0]))
    joined = np.zeros(0, np.float32)
    for number, utterance in enumerate(utterances):
        start = _cut(utterance, cuts[number - 1]) if number else 0
        stop = _cut(utterance, cuts[number]) if number < len(cuts) else len(utterance.samples)
        gain = np.sqrt(level / max(speech_power(voice_samples(utterance)), 1e-12))
        joined = _faded(joined, utterance.samples[start:stop] * np.float32(gain))
    return joined


def _cut(utterance: Utterance, share: float) -> int:
    """The sample nearest to a share of the speech where it is quietest."""
    start = round(utterance.lead_s * SAMPLE_RATE)
    stop = len(utterance.samples) - round(utterance.tail_s * SAMPLE_RATE)
    center = start + round(share * (stop - start))
    reach = round(_SEARCHED_S * SAMPLE_RATE)
    first, last = max(start, center - reach), min(stop, center + reach)
    power = np.convolve(np.square(utterance.samples), np.ones(_SMOOTHED), "same")
    return first + int(np.argmin(power[first:last]))


def _faded(one: FloatArray, other: FloatArray) -> FloatArray:
    count = min(_FADE, len(one), len(other))
    rise = np.linspace(0.0, 1.0, count, dtype=np.float32)
    middle = one[len(one) - count :] * (1.0 - rise) + other[:count] * rise
    return np.concatenate((one[: len(one) - count], middle, other[count:]))

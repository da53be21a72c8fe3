"""Which part of an utterance each model gets to hear."""

from __future__ import annotations

import numpy as np

from edge.types import SAMPLE_RATE, FloatArray, Utterance

PHRASE_CONTEXT_S = 0.54
"""Sound on both sides of the speech that the phrase model is given.

One of its embeddings covers 0.775 s; half of that centres the first one on the onset of speech.
The rest lets the warping path begin and end in silence: phrases were told apart best so, and
least upset by an end-pointer that is 0.3 s off.
"""

_PADDING_LEVEL = 1e-4
"""Noise that stands in for missing context, -80 dB full scale: digital zero is no room."""


def voice_samples(utterance: Utterance) -> FloatArray:
    """The speech alone: silence says nothing of a voice."""
    start, stop = _speech_bounds(utterance)
    return utterance.samples[start:stop]


def phrase_samples(utterance: Utterance) -> FloatArray:
    """The speech with `PHRASE_CONTEXT_S` on both sides, filled up with faint noise."""
    context = int(PHRASE_CONTEXT_S * SAMPLE_RATE)
    start, stop = _speech_bounds(utterance)
    before, after = max(0, context - start), max(0, stop + context - len(utterance.samples))
    inside = utterance.samples[max(0, start - context) : stop + context]
    if not before and not after:
        return inside
    # Seeded: the same utterance must always give the same embedding.
    noise = np.random.default_rng(0).standard_normal(before + after, dtype=np.float32)
    noise *= np.float32(_PADDING_LEVEL)
    return np.concatenate((noise[:before], inside, noise[before:]))


def _speech_bounds(utterance: Utterance) -> tuple[int, int]:
    total = len(utterance.samples)
    start = min(round(utterance.lead_s * SAMPLE_RATE), total)
    stop = max(start, total - round(utterance.tail_s * SAMPLE_RATE))
    return (start, stop) if stop > start else (0, total)

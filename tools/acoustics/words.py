"""Phrases put together from recordings of single words."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.types import SAMPLE_RATE, FloatArray

_KEPT_S = 0.05
"""Of its own quiet, what a word keeps where another one follows."""
_ENDS_S = 0.25
"""What is kept before the first word and after the last one, if there is as much."""
_FADE_S = 0.02


def recorded(paths: Sequence[Path]) -> FloatArray:
    """A recording, or several words one after the other, shape (n,).

    The gaps between words are of the recordings' own quiet, up to 0.1 s of it.

    Raises:
        AudioFormatError: a recording cannot be read.
    """
    if len(paths) == 1:
        return read_audio(paths[0]).samples
    parts = []
    for index, path in enumerate(paths):
        samples, start, stop = _word(path)
        before = _ENDS_S if index == 0 else _KEPT_S
        after = _ENDS_S if index == len(paths) - 1 else _KEPT_S
        first = max(0, start - round(before * SAMPLE_RATE))
        last = min(len(samples), stop + round(after * SAMPLE_RATE))
        part = samples[first:last].copy()
        _fade(part)
        parts.append(part)
    return np.concatenate(parts)


@functools.lru_cache(maxsize=512)
def _word(path: Path) -> tuple[FloatArray, int, int]:
    """A recording, and where its speech begins and ends."""
    utterance = utterance_of(read_audio(path).samples)
    samples = utterance.samples
    start = round(utterance.lead_s * SAMPLE_RATE)
    return samples, start, max(start, len(samples) - round(utterance.tail_s * SAMPLE_RATE))


def _fade(part: FloatArray) -> None:
    count = min(round(_FADE_S * SAMPLE_RATE), len(part) // 2)
    ramp = np.linspace(0.0, 1.0, count, dtype=np.float32)
    part[:count] *= ramp
    part[len(part) - count :] *= ramp[::-1]

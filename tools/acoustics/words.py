"""Phrases put together from recordings of single words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.audio.blocks import FRAME_SAMPLES
from edge.audio.files import read_audio
from edge.types import SAMPLE_RATE, FloatArray
from tools.acoustics.levels import active_frames

KEPT_SPEAKERS = ("11", "12", "13", "14", "15")
"""Speakers of `words` that nothing is learned from: they are for measuring."""
_KEPT_S = 0.08
"""What a word keeps of what is around its loud part, faint sounds too, where another follows."""
_ENDS_S = 0.25
"""What is kept before the first word and after the last one, if there is as much."""
_FADE_S = 0.02


def recorded(paths: Sequence[Path]) -> FloatArray:
    """A recording, or several words one after the other, shape (n,).

    The gaps between words are the recordings' own, 0.16 s at most.

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


def _word(path: Path) -> tuple[FloatArray, int, int]:
    """A recording, and where its speech begins and ends; all of it for digital silence."""
    samples = read_audio(path).samples
    active = np.flatnonzero(active_frames(samples))
    if len(active) == 0:
        return samples, 0, len(samples)
    return samples, int(active[0]) * FRAME_SAMPLES, int(active[-1] + 1) * FRAME_SAMPLES


def _fade(part: FloatArray) -> None:
    count = min(round(_FADE_S * SAMPLE_RATE), len(part) // 2)
    ramp = np.linspace(0.0, 1.0, count, dtype=np.float32)
    part[:count] *= ramp
    part[len(part) - count :] *= ramp[::-1]

"""From samples as they come to blocks of one length, with their place in the stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import soxr

from edge.types import SAMPLE_RATE, AudioBlock, FloatArray

FRAME_SAMPLES = 512
"""Samples in a frame, and in the blocks that sources deliver: 32 ms.

The neural detector takes exactly this much at a time, so that one block is one frame and nothing
waits for a second one; 20 ms blocks would cost half as many wake-ups again and gain nothing.
"""

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE

QUIETEST_DB = -100.0
"""Level given to digital silence, dB relative to full scale."""


def level_db(samples: FloatArray) -> float:
    """Mean level, dB relative to full scale (a full-scale sine is -3), `QUIETEST_DB` at least."""
    if len(samples) == 0:
        return QUIETEST_DB
    return power_db(float(np.dot(samples, samples)) / len(samples))


def power_db(power: float) -> float:
    """Power as dB relative to full scale, `QUIETEST_DB` at least."""
    return float(10.0 * np.log10(power)) if power > 1e-10 else QUIETEST_DB


class BlockMaker:
    """Resamples a stream to `SAMPLE_RATE` and cuts it into blocks of `FRAME_SAMPLES`.

    Args:
        rate: samples per second of what comes in.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._resampler = _resampler(rate)
        self._rest: FloatArray = np.zeros(0, np.float32)
        self._position = 0
        self._lost = 0

    def feed(self, samples: FloatArray, captured_at: float, lost: int = 0) -> Iterator[AudioBlock]:
        """Take in samples and give out the blocks that are complete.

        Args:
            samples: mono, shape (n,), at the rate that comes in.
            captured_at: `time.monotonic()` when the last of them was there.
            lost: samples lost before these, at the rate that comes in.
        """
        if lost:
            self._lose(lost)
        if not np.isfinite(samples).all():
            # A driver's glitch; one infinite sample would deafen every running estimate after it.
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        yield from self._cut(samples, captured_at)

    def finish(self, captured_at: float) -> Iterator[AudioBlock]:
        """End the stream: give out what is left, its last block shorter than the others."""
        if self._resampler is not None:
            tail = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            yield from self._cut(tail, captured_at)
        if len(self._rest):
            yield self._block(self._rest, captured_at)
            self._rest = self._rest[:0]

    def _cut(self, samples: FloatArray, captured_at: float) -> Iterator[AudioBlock]:
        if len(self._rest):
            samples = np.concatenate((self._rest, samples))
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        self._rest = samples[whole:]
        for at in range(0, whole, FRAME_SAMPLES):
            after = len(samples) - at - FRAME_SAMPLES
            piece = samples[at : at + FRAME_SAMPLES]
            yield self._block(piece, captured_at - after / SAMPLE_RATE)

    def _block(self, samples: FloatArray, captured_at: float) -> AudioBlock:
        lost, self._lost = self._lost, 0
        block = AudioBlock(samples, self._position / SAMPLE_RATE, captured_at, lost)
        self._position += len(samples)
        return block

    def _lose(self, lost: int) -> None:
        """What is half done before a gap must not be joined to what comes after it."""
        gone = round(lost * SAMPLE_RATE / self._rate) + len(self._rest)
        self._rest = self._rest[:0]
        self._resampler = _resampler(self._rate)
        self._lost += max(1, gone)
        self._position += max(1, gone)


def _resampler(rate: float) -> Any | None:
    if rate == SAMPLE_RATE:
        return None
    return soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

"""From samples as they come to blocks of one length, with their place in the stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import soxr

from edge.audio.frames import FRAME_SAMPLES
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray


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

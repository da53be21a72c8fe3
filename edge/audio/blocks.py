"""Framing: cuts samples into blocks of 32 ms, and measures their level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edge.types import SAMPLE_RATE, AudioBlock, FloatArray

if TYPE_CHECKING:
    import soxr

FRAME_SAMPLES = 512
"""Samples in a block: 32 ms, what the neural speech detector takes at a time."""

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
        rate: samples per second of the input.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._resampler = new_resampler(rate)
        self._rest: FloatArray = np.zeros(0, np.float32)
        self._position = 0
        self._lost = 0

    def feed(
        self, samples: FloatArray, captured_at: float, lost: int = 0, *, last: bool = False
    ) -> list[AudioBlock]:
        """Take in samples and return the blocks that are complete.

        Args:
            samples: mono, shape (n,), at the input's rate.
            captured_at: `time.monotonic()` when the last of them arrived.
            lost: samples lost before these, at the input's rate.
            last: whether the stream ends with them; its last block may then be shorter.
        """
        if lost:
            self._skip(lost)
        if not np.isfinite(samples).all():
            # A driver's glitch; one infinite sample would spoil every running estimate after it.
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples, last=last)
        if len(self._rest):
            samples = np.concatenate((self._rest, samples))
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        end = len(samples) if last else whole
        blocks = []
        for start in range(0, end, FRAME_SAMPLES):
            piece = samples[start : start + FRAME_SAMPLES]
            after = len(samples) - start - len(piece)
            at = captured_at - after / SAMPLE_RATE
            blocks.append(AudioBlock(piece, self._position / SAMPLE_RATE, at, self._lost))
            self._position += len(piece)
            self._lost = 0
        self._rest = samples[end:]
        return blocks

    def _skip(self, lost: int) -> None:
        """Drop what is incomplete before a gap: it does not continue after it."""
        gone = max(1, round(lost * SAMPLE_RATE / self._rate) + len(self._rest))
        self._rest = self._rest[:0]
        self._resampler = new_resampler(self._rate)
        self._lost += gone
        self._position += gone


def blocks_of(samples: FloatArray) -> Iterator[AudioBlock]:
    """A recording, shape (n,) at `SAMPLE_RATE`, as blocks; the last one may be shorter."""
    yield from BlockMaker(SAMPLE_RATE).feed(samples, 0.0, last=True)


def new_resampler(rate: float, channels: int = 1) -> soxr.ResampleStream | None:
    """A resampler of a stream to `SAMPLE_RATE`; None for a stream that has it."""
    if rate == SAMPLE_RATE:
        return None
    import soxr  # noqa: PLC0415 - most microphones offer 16 kHz

    return soxr.ResampleStream(rate, SAMPLE_RATE, channels, dtype="float32", quality="HQ")

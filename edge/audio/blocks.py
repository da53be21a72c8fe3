"""Framing: filters samples, cuts them into blocks of 32 ms, and measures their level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.audio.high_pass import HighPass
from edge.types import SAMPLE_RATE, AudioBlock, FloatArray

if TYPE_CHECKING:
    import soxr

FRAME_SAMPLES = 512
"""Samples in a block: 32 ms, what the neural speech detector takes at a time."""

FRAME_S = FRAME_SAMPLES / SAMPLE_RATE

FULL_SCALE = 0.999
"""From here on a sample counts as clipped; 16-bit full scale is 0.99997, resampling rings."""

LOUDEST = 2.0**32
"""Full scale is 1; some programs write 32-bit integers as floats. Beyond it sums overflow."""

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
    """Resamples a stream to `SAMPLE_RATE`, filters it, and cuts it into blocks of `FRAME_SAMPLES`.

    All sound comes this way, live or from a file, and is high-passed here and nowhere else.

    Args:
        rate: samples per second of the input.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._ratio = SAMPLE_RATE / rate
        self._rest: FloatArray = np.zeros(0, np.float32)
        self._clipped: NDArray[np.float64] = np.zeros(0)
        self._position = 0
        self._lost = 0
        self._begin()

    def feed(
        self,
        samples: FloatArray,
        captured_at: float,
        lost: int = 0,
        *,
        clipped: NDArray[np.bool_] | None = None,
        last: bool = False,
    ) -> list[AudioBlock]:
        """Take in samples and return the blocks that are complete.

        Args:
            samples: mono, shape (n,), at the input's rate.
            captured_at: `time.monotonic()` when the last of them arrived.
            lost: samples lost before these, at the input's rate.
            clipped: which of them were at full scale in any channel, shape (n,); None where they
                are as they were recorded.
            last: whether the stream ends with them; its last block may then be shorter.
        """
        if lost:
            self._skip(lost)
        peak = float(np.abs(samples).max(initial=0.0))
        if not peak <= LOUDEST:
            # A driver's glitch; one infinite sample would spoil every running estimate after it.
            samples = np.where(np.abs(samples) <= LOUDEST, samples, np.float32(0.0))
        if clipped is not None or not peak < FULL_SCALE:
            loud = np.abs(samples) >= FULL_SCALE if clipped is None else clipped
            places = self._origin + (self._fed + np.flatnonzero(loud)) * self._ratio
            self._clipped = np.concatenate((self._clipped, places))
        self._fed += len(samples)
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
            position = self._position / SAMPLE_RATE
            share = self._clipped_in(len(piece)) if len(self._clipped) else 0.0
            filtered = self._high_pass.feed(piece)
            blocks.append(AudioBlock(filtered, position, at, self._lost, share))
            self._position += len(piece)
            self._lost = 0
        self._rest = samples[end:]
        return blocks

    def _skip(self, lost: int) -> None:
        """Drop what is incomplete before a gap: it does not continue after it."""
        gone = max(1, round(lost * SAMPLE_RATE / self._rate) + len(self._rest))
        self._rest = self._rest[:0]
        self._lost += gone
        self._position += gone
        self._begin()

    def _begin(self) -> None:
        """What comes next continues nothing."""
        self._resampler = new_resampler(self._rate)
        self._high_pass = HighPass()
        self._origin, self._fed = self._position, 0
        self._clipped = np.zeros(0)

    def _clipped_in(self, length: int) -> float:
        """The share of clipped samples in the next block."""
        inside = self._clipped < self._position + length
        self._clipped = self._clipped[~inside]
        return min(1.0, float(np.count_nonzero(inside)) * self._ratio / length)


def blocks_of(
    samples: FloatArray, clipped: NDArray[np.bool_] | None = None
) -> Iterator[AudioBlock]:
    """A recording, shape (n,) at `SAMPLE_RATE`, as blocks; the last one may be shorter.

    `clipped` is as in `BlockMaker.feed`.
    """
    yield from BlockMaker(SAMPLE_RATE).feed(samples, 0.0, clipped=clipped, last=True)


def new_resampler(rate: float, channels: int = 1) -> soxr.ResampleStream | None:
    """A resampler of a stream to `SAMPLE_RATE`; None for a stream that has it."""
    if rate == SAMPLE_RATE:
        return None
    import soxr  # noqa: PLC0415 - most microphones offer 16 kHz

    return soxr.ResampleStream(rate, SAMPLE_RATE, channels, dtype="float32", quality="HQ")

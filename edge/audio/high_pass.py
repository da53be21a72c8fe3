"""The high-pass filter in front of everything: takes away an offset, hum and rumble.

A Butterworth filter of the fourth order at 80 Hz: -16 dB at 50 Hz, -10 dB at 60 Hz, -0.7 dB at
100 Hz. One of the second order let so much hum pass that soft speech was refused; with either, a
phrase embedding moves by less than a twentieth of what a repetition does.

A block is filtered by matrix products of its pieces, since a loop over samples is slow here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.types import SAMPLE_RATE, FloatArray

CUTOFF_HZ = 80.0
FILTERED_SAMPLES = 512
"""Samples filtered at once; also the length of a block, `FRAME_SAMPLES`."""

_QUALITIES = (0.541196, 1.306563)
"""Of the two sections of a Butterworth filter of the fourth order."""
_ORDER = 2 * len(_QUALITIES)
_PIECE = 32
_PIECES = FILTERED_SAMPLES // _PIECE
_NOTHING = 1e-20
"""Below this the state is zero: after digital silence it would decay to slow subnormal numbers."""

_Matrix = NDArray[np.float64]


class HighPass:
    """Filters a stream block by block, as if its first block's mean had always been there."""

    def __init__(self) -> None:
        self._state: _Matrix | None = None

    def feed(self, samples: FloatArray) -> FloatArray:
        """The next samples, filtered, shape (n,).

        Args:
            samples: `FILTERED_SAMPLES` of them, or fewer where the stream ends.
        """
        use = _matrices()
        if self._state is None:
            # Else a microphone's offset would begin as a loud click.
            mean = samples.mean(dtype=np.float64) if len(samples) else 0.0
            self._state = use.settled * mean
        whole = np.zeros(FILTERED_SAMPLES)
        whole[: len(samples)] = samples
        pieces = whole.reshape(_PIECES, _PIECE)
        added = np.concatenate((self._state, (pieces @ use.gathered).ravel()))
        states = (use.carried @ added).reshape(_PIECES + 1, _ORDER)
        filtered = pieces @ use.response + states[:-1] @ use.rung_out
        last = states[-1]
        self._state = last if float(np.abs(last).max()) > _NOTHING else np.zeros(_ORDER)
        return filtered.ravel()[: len(samples)].astype(np.float32)


@dataclass(frozen=True)
class _Matrices:
    """The filter as products with rows of `_PIECE` samples and of `_ORDER` states.

    Attributes:
        response: from a piece to what it adds to its own output.
        rung_out: from the state before a piece to what that adds to the piece's output.
        gathered: from a piece to what it adds to the state after it.
        carried: from the first state and what each piece adds to the state before each piece, and
            after the last one.
        settled: the state after a constant of 1.
    """

    response: _Matrix
    rung_out: _Matrix
    gathered: _Matrix
    carried: _Matrix
    settled: _Matrix


@lru_cache(maxsize=1)
def _matrices() -> _Matrices:
    # The step is linear, so what it does to each state and to a sample alone says it all.
    advance = np.zeros((_ORDER, _ORDER))
    output = np.zeros(_ORDER)
    for index, one in enumerate(np.eye(_ORDER)):
        output[index], advance[:, index] = _step(one, 0.0)
    direct, enter = _step(np.zeros(_ORDER), 1.0)
    powers = [np.eye(_ORDER)]
    for _ in range(_PIECE):
        powers.append(advance @ powers[-1])
    impulse = [direct, *(float(output @ power @ enter) for power in powers[:-2])]
    response = np.zeros((_PIECE, _PIECE))
    for row in range(_PIECE):
        response[row, row:] = impulse[: _PIECE - row]
    carried = np.zeros(((_PIECES + 1) * _ORDER, (_PIECES + 1) * _ORDER))
    for row in range(_PIECES + 1):
        for column in range(row + 1):
            block = np.linalg.matrix_power(powers[_PIECE], row - column)
            at = slice(row * _ORDER, (row + 1) * _ORDER)
            carried[at, column * _ORDER : (column + 1) * _ORDER] = block
    return _Matrices(
        response,
        np.stack([output @ power for power in powers[:-1]], axis=1),
        np.stack([power @ enter for power in powers[-2::-1]]),
        carried,
        np.asarray(np.linalg.solve(np.eye(_ORDER) - advance, enter), np.float64),
    )


def _step(state: _Matrix, sample: float) -> tuple[float, _Matrix]:
    """The output for a sample, and the state after it: R. Bristow-Johnson's cookbook, high-pass."""
    angle = 2.0 * np.pi * CUTOFF_HZ / SAMPLE_RATE
    after = np.zeros(_ORDER)
    for section, quality in enumerate(_QUALITIES):
        first, second = state[2 * section : 2 * section + 2]
        alpha = np.sin(angle) / (2.0 * quality)
        gain = (1.0 + np.cos(angle)) / 2.0 / (1.0 + alpha)
        out = gain * sample + first
        after[2 * section] = -2.0 * gain * sample + 2.0 * np.cos(angle) / (1.0 + alpha) * out
        after[2 * section] += second
        after[2 * section + 1] = gain * sample - (1.0 - alpha) / (1.0 + alpha) * out
        sample = float(out)
    return sample, after

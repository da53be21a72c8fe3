"""How well a string of digits, and every string that differs from it in one place, fits an answer.

One-pass dynamic programming over connected words (Bridle, Brown and Chamberlain, 1982; Ney, 1984):
each frame of the answer is explained by a frame of an enrolled word, which stays, goes on by one or
skips one, or by silence. Every hypothesis explains all frames, so that their costs compare.

Forward from the beginning and backward from the end are computed once for the asked string. Put
together around one position, they give the cost of the best string with another digit there, or
with one digit less, or one more, each with the boundaries that suit it best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.types import FloatArray

_FAR = np.float32(1e6)
LEAST_ROWS = 4
"""Frames that an enrolled word must have."""

_Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Words:
    """Enrolled words, one after the other in one table.

    Attributes:
        digit: which digit each word is, shape (w,).
        start: row at which each begins, shape (w,).
        end: its last row, at least `LEAST_ROWS` - 1 after its start, shape (w,).
    """

    digit: _Index
    start: _Index
    end: _Index


@dataclass(frozen=True, eq=False)
class Fits:
    """Costs of strings, lower is nearer; all are sums over the frames of the answer.

    Attributes:
        asked: of the asked string.
        other: with each digit at each position, shape (length, 10); `asked` is among them.
        missing: with each position left out, shape (length,).
        extra: with the best digit put in at each place, shape (length + 1,).
    """

    asked: float
    other: FloatArray = field(repr=False)
    missing: FloatArray = field(repr=False)
    extra: FloatArray = field(repr=False)


def fits_of(costs: FloatArray, silence: FloatArray, words: Words, asked: Sequence[int]) -> Fits:
    """Hold an answer against a string and its neighbours.

    Args:
        costs: distance of each frame of the answer from each row of the words, shape (t, rows).
        silence: cost of taking a frame for silence, shape (t,).
        words: the enrolled words, of every digit asked for.
        asked: digits, at least one.
    """
    length = len(asked)
    before = _chain(costs, silence, words, asked, backward=False)
    after = _chain(costs[::-1], silence[::-1], words, list(asked)[::-1], backward=True)[::-1, ::-1]
    # `after[k]` belongs to the string without its first k digits.
    ended = _lanes(costs, words, before)
    placed = (ended[:-1] + after[1:, :, None]).min(axis=1)
    put_in = (ended + after[:, :, None]).min(axis=1)
    other = np.full((length, 10), _FAR, dtype=np.float32)
    for digit in range(10):
        own = words.digit == digit
        if own.any():
            other[:, digit] = placed[:, own].min(axis=1)
    missing = (before[:-1] + after[1:]).min(axis=1)
    return Fits(float(before[-1, -1]), other, missing, put_in.min(axis=1))


def _chain(
    costs: FloatArray, silence: FloatArray, words: Words, asked: Sequence[int], *, backward: bool
) -> FloatArray:
    """Least cost of the first k digits and silence within the first t frames, (length+1, t+1)."""
    rows, starts, ends, bounds = _flattened(words, asked, backward=backward)
    frames, length = len(costs), len(asked)
    done = np.full((length + 1, frames + 1), _FAR, dtype=np.float32)
    done[0, 0] = 0.0
    position = np.repeat(np.arange(length), np.diff(bounds))
    totals = np.full(len(rows), _FAR, dtype=np.float32)
    for frame in range(frames):
        entering = done[position, frame]
        totals = _advance(totals, costs[frame, rows], entering, starts)
        exits = np.minimum(totals[ends], totals[ends - 1])
        done[:, frame + 1] = done[:, frame] + silence[frame]
        best = np.minimum.reduceat(exits, bounds[:-1])
        np.minimum(done[1:, frame + 1], best, out=done[1:, frame + 1])
    return done


def _lanes(costs: FloatArray, words: Words, before: FloatArray) -> FloatArray:
    """Least cost up to the end of each word begun after k digits, shape (length+1, t+1, w)."""
    lanes, frames = len(before), len(costs)
    totals = np.full((lanes, costs.shape[1]), _FAR, dtype=np.float32)
    ended = np.full((lanes, frames + 1, len(words.digit)), _FAR, dtype=np.float32)
    for frame in range(frames):
        totals = _advance(totals, costs[frame], before[:, frame, None], words.start)
        ended[:, frame + 1] = np.minimum(totals[:, words.end], totals[:, words.end - 1])
    return ended


def _advance(
    totals: FloatArray, costs: FloatArray, entering: FloatArray, starts: _Index
) -> FloatArray:
    """One frame on: each row from itself, the one before, or the one before that."""
    one = np.empty_like(totals)
    two = np.empty_like(totals)
    one[..., 1:] = totals[..., :-1]
    two[..., 2:] = totals[..., :-2]
    one[..., starts] = entering
    two[..., starts] = _FAR
    two[..., starts + 1] = entering
    np.minimum(one, two, out=one)
    np.minimum(one, totals, out=one)
    one += costs
    return one


def _flattened(
    words: Words, asked: Sequence[int], *, backward: bool
) -> tuple[_Index, _Index, _Index, _Index]:
    """Rows of each asked digit's words in order, their begins and ends, each position's bounds."""
    rows: list[_Index] = []
    starts, ends, bounds = [], [], [0]
    position = 0
    for digit in asked:
        for word in np.flatnonzero(words.digit == digit):
            own = np.arange(words.start[word], words.end[word] + 1)
            rows.append(own[::-1] if backward else own)
            starts.append(position)
            position += len(own)
            ends.append(position - 1)
        bounds.append(len(starts))
    return np.concatenate(rows), np.asarray(starts), np.asarray(ends), np.asarray(bounds)

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

from edge.challenge.features import (
    DIMENSIONS,
    RANGE,
    features_of,
    loudness_of,
    noise_of,
    spectrum_of,
)
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
    """Hold an answer against a string and its neighbors.

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


DIGITS = tuple(range(10))

OTHER_DIGIT = -3.0
MISSING_DIGIT = 0.0
EXTRA_DIGIT = -7.0
"""By how much the asked string must at least be nearer than such a one. Another digit may come a
little nearer by chance, and a further one always finds something to explain."""
MOST_COST = 1.5
"""Mean cost of the spoken frames up to which an answer is near at all."""

_SILENCE = 0.6
_SILENCE_SLOPE = 0.35
_SILENCE_FREE = 2.0
"""What taking a frame for silence costs: rising with its loudness from this on, natural log."""
_LEAST_VARIANCE = 0.01
_GUESSED_SPREAD = 0.4
"""What sayings of one digit differ by, as part of all the differences, before it is known."""


@dataclass(frozen=True, eq=False)
class DigitExample:
    """One digit as a person says it.

    Attributes:
        digit: 0 to 9.
        spectrum: mel spectrum of the word alone, shape (t, 32), see `digit_features`.
    """

    digit: int
    spectrum: FloatArray = field(repr=False)


@dataclass(frozen=True)
class DigitScore:
    """An answer held against the string that was asked for.

    Attributes:
        margin: by how much it is nearer to the asked string than it must be, 0 and up to pass.
        cost: mean cost of the spoken frames, about 1 for the person's own voice.
    """

    margin: float
    cost: float

    @property
    def accepted(self) -> bool:
        """Whether these were the digits."""
        return self.margin >= 0.0 and self.cost <= MOST_COST


class DigitRecognizer:
    """Knows one person's digits.

    Args:
        examples: at least one of each digit; with two or more, features are weighed.

    Raises:
        ValueError: a digit has no example, or one is too short to be a word.
    """

    def __init__(self, examples: Sequence[DigitExample]) -> None:
        self._examples = sorted(examples, key=lambda example: example.digit)
        counts = np.bincount([example.digit for example in self._examples], minlength=10)
        if len(counts) != len(DIGITS) or counts.min() < 1:
            raise ValueError("a recognizer needs an example of each digit")
        lengths = np.asarray([len(example.spectrum) for example in self._examples])
        if lengths.min() < LEAST_ROWS:
            raise ValueError(f"an example needs {LEAST_ROWS} frames")
        ends = np.cumsum(lengths)
        digits = np.asarray([example.digit for example in self._examples])
        self._words = Words(digits, ends - lengths, ends - 1)
        self._weights = _weights(self._examples)

    def score(self, samples: FloatArray, asked: Sequence[int]) -> DigitScore:
        """Hold an answer against a string.

        Args:
            samples: mono audio at 16 kHz, shape (n,), with a little silence around the speech.
            asked: the digits asked for, at least one.
        """
        spectrum = spectrum_of(samples)
        if len(spectrum) == 0:
            return DigitScore(-np.inf, np.inf)
        return self._score(spectrum, asked)

    def _score(self, spectrum: FloatArray, asked: Sequence[int]) -> DigitScore:
        silence, fits = self.fits(spectrum, asked)
        return DigitScore(_margin(fits, asked), _spoken_cost(fits.asked, silence))

    def fits(self, spectrum: FloatArray, asked: Sequence[int]) -> tuple[FloatArray, Fits]:
        """Cost of silence, frame by frame, and of the asked string and its neighbors."""
        noise = noise_of(spectrum)
        answer = features_of(spectrum, noise) * self._weights
        rows = np.concatenate(
            [features_of(example.spectrum, noise) * self._weights for example in self._examples]
        )
        louder = np.maximum(loudness_of(spectrum, noise) - _SILENCE_FREE, 0.0)
        silence = np.asarray(_SILENCE + _SILENCE_SLOPE * louder, dtype=np.float32)
        return silence, fits_of(_distances(answer, rows), silence, self._words, asked)


def _margin(fits: Fits, asked: Sequence[int]) -> float:
    others = fits.other.copy()
    others[np.arange(len(asked)), list(asked)] = np.inf
    return min(
        float(others.min()) - fits.asked - OTHER_DIGIT,
        float(fits.missing.min()) - fits.asked - MISSING_DIGIT,
        float(fits.extra.min()) - fits.asked - EXTRA_DIGIT,
    )


def _spoken_cost(total: float, silence: FloatArray) -> float:
    """Mean cost of the frames that are no silence."""
    quiet = silence <= _SILENCE
    spoken = max(1, int(len(silence) - quiet.sum()))
    return (total - float(silence[quiet].sum())) / spoken


def _distances(answer: FloatArray, rows: FloatArray) -> FloatArray:
    """Root mean square difference of each frame from each row, shape (t, rows)."""
    squares = np.square(answer).sum(axis=1)[:, None] + np.square(rows).sum(axis=1)
    squares -= 2.0 * (answer @ rows.T)
    distances: FloatArray = np.sqrt(np.maximum(squares, 0.0) / DIMENSIONS)
    return distances


def _weights(examples: Sequence[DigitExample]) -> FloatArray:
    """One over the spread of each feature among sayings of the same digit, shape (39,)."""
    floor = np.full(examples[0].spectrum.shape[1], -RANGE, dtype=np.float32)
    features = [features_of(example.spectrum, floor) for example in examples]
    spread = np.maximum(np.concatenate(features).std(axis=0), 1e-3)
    squares = np.zeros(DIMENSIONS)
    count = 0
    for first in range(len(examples)):
        for second in range(first + 1, len(examples)):
            if examples[first].digit == examples[second].digit:
                one, other = features[first], features[second]
                path = _aligned(one / spread, other / spread)
                squares += np.square(one[path[:, 0]] - other[path[:, 1]]).sum(axis=0)
                count += len(path)
    if count == 0:
        return np.asarray(1.0 / (_GUESSED_SPREAD * spread), dtype=np.float32)
    variance = squares / (2.0 * count) + _LEAST_VARIANCE * np.square(spread)
    return np.asarray(1.0 / np.sqrt(variance), dtype=np.float32)


def _aligned(one: FloatArray, other: FloatArray) -> NDArray[np.intp]:
    """Rows of two sayings that go together, shape (steps, 2): plain dynamic time warping."""
    squares = np.square(one[:, None] - other[None]).sum(axis=2)
    costs = np.sqrt(squares).tolist()
    height, width = len(one), len(other)
    totals = [[np.inf] * (width + 1) for _ in range(height + 1)]
    totals[0][0] = 0.0
    for row in range(height):
        above, here, cost = totals[row], totals[row + 1], costs[row]
        for column in range(width):
            here[column + 1] = cost[column] + min(above[column], above[column + 1], here[column])
    row, column = height, width
    path = []
    while row and column:
        path.append((row - 1, column - 1))
        ways = (totals[row - 1][column - 1], totals[row - 1][column], totals[row][column - 1])
        way = ways.index(min(ways))
        row -= way != 2
        column -= way != 1
    return np.asarray(path, dtype=np.intp)

"""Matches an answer with the digits asked for, and with every string that is one digit off.

One-pass dynamic programming over connected words (Bridle, Brown and Chamberlain, 1982; Ney, 1984):
each frame of the answer matches silence or a frame of an enrolled word; from one frame to the next
a word stays, moves on by one row or skips one. Every hypothesis explains all frames, so costs are
comparable. The asked string is computed once from the start and once from the end; joined at a
position, the two give the best string with another digit there, without it, or with one more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.challenge.features import (
    AUDIBLE,
    DIMENSIONS,
    RANGE,
    features_of,
    loudness_of,
    noise_of,
    spectrum_of,
)
from edge.types import FloatArray

DIGITS = tuple(range(10))
MIN_ROWS = 4
"""Frames that an enrolled word must have."""

OTHER_DIGIT = -3.0
MISSING_DIGIT = 0.0
EXTRA_DIGIT = -7.0
"""Required lead of the asked string over one with such a mistake. Another digit may come slightly
closer by chance, and an extra one always finds something to explain."""
MAX_COST = 1.5
"""Highest mean cost of the speech frames of an accepted answer."""

_SILENCE = 0.6
_SILENCE_SLOPE = 0.35
_SILENCE_FREE = 2.0
"""Cost of a frame as silence: rises with its loudness above `_SILENCE_FREE` (natural log)."""
_MIN_VARIANCE = 0.01
_ASSUMED_SPREAD = 0.4
"""Spread within a digit as a share of the overall spread, while each has only one example."""
_PADDING_ROWS = 20
"""Silence on both sides of an example that is matched as an answer."""
_AROUND = 8
"""Frames kept before and after the audible part of a digit: its faint ends tell whose it is too."""
_AS_GOOD = np.float32(0.5)
"""How much more a border between two digits may cost than the best one."""
_FAR = np.float32(1e6)

_Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class DigitExample:
    """One digit, 0 to 9, as a person says it: the mel spectrum of the word alone, shape (t, 32)."""

    digit: int
    spectrum: FloatArray = field(repr=False)


@dataclass(frozen=True)
class SpokenDigit:
    """Where one of the asked digits is in an answer.

    Attributes:
        start: its first frame, `end` the one after its last.
        cost: mean cost of its frames, about 1 for the person's own voice.
    """

    start: int
    end: int
    cost: float


@dataclass(frozen=True)
class DigitScore:
    """How well an answer matches the digits asked for.

    Attributes:
        margin: lead over the closest other string beyond the required one; passes from 0 up.
        cost: mean cost of the speech frames, about 1 for the person's own voice.
        spoken: each of the digits, in order; empty where no sound was matched.
    """

    margin: float
    cost: float
    spoken: tuple[SpokenDigit, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether these were the digits."""
        return self.margin >= 0.0 and self.cost <= MAX_COST


class _Words(NamedTuple):
    """The digit, the first row and the last row of each enrolled word, each of shape (w,)."""

    digit: _Index
    start: _Index
    end: _Index


class _StringCosts(NamedTuple):
    """Costs of strings, summed over the frames of the answer; lower is closer."""

    asked: float
    other: FloatArray  # with each digit at each position, shape (length, 10), asked ones included
    missing: FloatArray  # without each position, shape (length,)
    extra: FloatArray  # with the best digit inserted at each place, shape (length + 1,)
    borders: _Index  # first frame of each asked digit, then the number of frames, (length + 1,)
    spent: FloatArray  # of each asked digit between its borders, shape (length,)


class DigitRecognizer:
    """Recognizes one person's digits; features are weighted by two or more examples of each.

    Raises:
        ValueError: a digit has no example, or one is too short to be a word.
    """

    def __init__(self, examples: Sequence[DigitExample]) -> None:
        self._examples = sorted(examples, key=lambda example: example.digit)
        digits = np.asarray([example.digit for example in self._examples])
        if set(digits) != set(DIGITS):
            raise ValueError("a recognizer needs an example of each digit")
        lengths = np.asarray([len(example.spectrum) for example in self._examples])
        if lengths.min() < MIN_ROWS:
            raise ValueError(f"an example needs {MIN_ROWS} frames")
        ends = np.cumsum(lengths)
        self._words = _Words(digits, ends - lengths, ends - 1)
        self._weights = _weights(self._examples)

    def score(self, samples: FloatArray, asked: Sequence[int]) -> DigitScore:
        """Match an answer, mono at 16 kHz with some silence around it, with one or more digits."""
        spectrum = spectrum_of(samples)
        if len(spectrum) == 0:
            return DigitScore(-np.inf, np.inf)
        silence, costs = self._costs(spectrum, asked)
        others = costs.other.copy()
        others[np.arange(len(asked)), list(asked)] = np.inf
        margin = min(
            float(others.min()) - costs.asked - OTHER_DIGIT,
            float(costs.missing.min()) - costs.asked - MISSING_DIGIT,
            float(costs.extra.min()) - costs.asked - EXTRA_DIGIT,
        )
        quiet = silence <= _SILENCE
        speech = max(1, int(len(silence) - quiet.sum()))
        spoken = _spoken(spectrum, silence, costs)
        return DigitScore(margin, (costs.asked - float(silence[quiet].sum())) / speech, spoken)

    def nearest_other(self, example: DigitExample) -> tuple[int, float]:
        """The other digit that an example is closest to, and by how much its own is closer."""
        # The level of noise is estimated from silence, which an example has none of.
        padding = ((_PADDING_ROWS, _PADDING_ROWS), (0, 0))
        spectrum = np.pad(example.spectrum, padding, constant_values=-RANGE)
        _, costs = self._costs(spectrum, [example.digit])
        others = costs.other[0].copy()
        own = float(others[example.digit])
        others[example.digit] = np.inf
        other = int(others.argmin())
        return other, float(others[other]) - own

    def _costs(self, spectrum: FloatArray, asked: Sequence[int]) -> tuple[FloatArray, _StringCosts]:
        """The cost of each frame as silence, and those of the strings."""
        noise = noise_of(spectrum)
        answer = features_of(spectrum, noise) * self._weights
        rows = np.concatenate(
            [features_of(example.spectrum, noise) * self._weights for example in self._examples]
        )
        louder = np.maximum(loudness_of(spectrum, noise) - _SILENCE_FREE, 0.0)
        silence = np.asarray(_SILENCE + _SILENCE_SLOPE * louder, dtype=np.float32)
        return silence, _string_costs(_distances(answer, rows), silence, self._words, asked)


def _spoken(
    spectrum: FloatArray, silence: FloatArray, costs: _StringCosts
) -> tuple[SpokenDigit, ...]:
    """The asked digits, each with a little of the silence around it."""
    found = []
    for start, end, spent in zip(costs.borders, costs.borders[1:], costs.spent):
        between = silence[start:end]
        quiet = between <= _SILENCE
        loud = np.flatnonzero(~quiet & (spectrum[start:end].max(axis=1) > -AUDIBLE))
        first, stop = (loud[0], loud[-1] + 1) if len(loud) else (0, len(between))
        first, stop = max(0, int(first) - _AROUND), min(len(between), int(stop) + _AROUND)
        cost = (float(spent) - float(between[quiet].sum())) / max(1, int((~quiet).sum()))
        found.append(SpokenDigit(int(start) + first, int(start) + stop, cost))
    return tuple(found)


def _weights(examples: Sequence[DigitExample]) -> FloatArray:
    """One over the spread of each feature among examples of the same digit, shape (39,)."""
    floor = np.full(examples[0].spectrum.shape[1], -RANGE, dtype=np.float32)
    features = [features_of(example.spectrum, floor) for example in examples]
    spread = np.maximum(np.concatenate(features).std(axis=0), 1e-3)
    squares = np.zeros(DIMENSIONS)
    count = 0
    for first, second in combinations(range(len(examples)), 2):
        if examples[first].digit == examples[second].digit:
            one, other = features[first], features[second]
            path = _aligned(one / spread, other / spread)
            squares += np.square(one[path[:, 0]] - other[path[:, 1]]).sum(axis=0)
            count += len(path)
    if count == 0:
        return np.asarray(1.0 / (_ASSUMED_SPREAD * spread), dtype=np.float32)
    variance = squares / (2.0 * count) + _MIN_VARIANCE * np.square(spread)
    return np.asarray(1.0 / np.sqrt(variance), dtype=np.float32)


def _aligned(one: FloatArray, other: FloatArray) -> _Index:
    """Rows of two words that belong together, shape (steps, 2): plain dynamic time warping."""
    costs = np.sqrt(np.square(one[:, None] - other[None]).sum(axis=2)).tolist()
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


def _distances(answer: FloatArray, rows: FloatArray) -> FloatArray:
    """Root mean square difference of each frame from each row, shape (t, rows)."""
    squares = np.square(answer).sum(axis=1)[:, None] + np.square(rows).sum(axis=1)
    squares -= 2.0 * (answer @ rows.T)
    distances: FloatArray = np.sqrt(np.maximum(squares, 0.0) / DIMENSIONS)
    return distances


def _string_costs(
    costs: FloatArray, silence: FloatArray, words: _Words, asked: Sequence[int]
) -> _StringCosts:
    """The costs of the asked string, of one or more digits in `words`, and of its neighbors.

    `costs` is the distance of each frame of the answer from each row of the words, shape (t, rows);
    `silence` is the cost of each frame as silence, shape (t,).
    """
    before = _prefix_costs(costs, silence, words, asked, backward=False)
    after = _prefix_costs(costs[::-1], silence[::-1], words, asked[::-1], backward=True)
    after = after[::-1, ::-1]  # `after[k]` is of the string without its first k digits
    ended = _word_costs(costs, words, before)
    placed = (ended[:-1] + after[1:, :, None]).min(axis=1)
    inserted = (ended + after[:, :, None]).min(axis=1)
    other = np.full((len(asked), 10), _FAR, dtype=np.float32)
    for digit in np.unique(words.digit):
        other[:, digit] = placed[:, words.digit == digit].min(axis=1)
    missing = (before[:-1] + after[1:]).min(axis=1)
    # In the silence between two digits each place is as good: the middle is furthest from both.
    joined = (before + after)[1:-1]
    least = joined.min(axis=1, keepdims=True) + _AS_GOOD
    inner = [int(np.median(np.flatnonzero(row))) for row in joined <= least]
    borders = np.asarray([0, *inner, len(costs)], dtype=np.intp)
    spent = np.diff(before[np.arange(len(borders)), borders])
    return _StringCosts(float(before[-1, -1]), other, missing, inserted.min(axis=1), borders, spent)


def _prefix_costs(
    costs: FloatArray, silence: FloatArray, words: _Words, asked: Sequence[int], *, backward: bool
) -> FloatArray:
    """Least cost of the first k digits and silence within the first t frames, (length+1, t+1)."""
    rows, starts, ends, bounds = _asked_rows(words, asked, backward=backward)
    frames, length = len(costs), len(asked)
    least = np.full((length + 1, frames + 1), _FAR, dtype=np.float32)
    least[0, 0] = 0.0
    position = np.repeat(np.arange(length), np.diff(bounds))
    totals = np.full(len(rows), _FAR, dtype=np.float32)
    for frame in range(frames):
        totals = _advance(totals, costs[frame, rows], least[position, frame], starts)
        exits = np.minimum(totals[ends], totals[ends - 1])
        least[:, frame + 1] = least[:, frame] + silence[frame]
        best = np.minimum.reduceat(exits, bounds[:-1])
        np.minimum(least[1:, frame + 1], best, out=least[1:, frame + 1])
    return least


def _word_costs(costs: FloatArray, words: _Words, before: FloatArray) -> FloatArray:
    """Least cost up to the end of each word begun after k digits, shape (length+1, t+1, w)."""
    frames, rows = costs.shape
    totals = np.full((len(before), rows), _FAR, dtype=np.float32)
    ended = np.full((len(before), frames + 1, len(words.digit)), _FAR, dtype=np.float32)
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


def _asked_rows(
    words: _Words, asked: Sequence[int], *, backward: bool
) -> tuple[_Index, _Index, _Index, _Index]:
    """Rows of each asked digit's words in order, their starts and ends, each position's bounds."""
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

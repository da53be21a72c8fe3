"""Dynamic time warping (DTW): how far apart two utterances of a phrase are.

The path is found with the symmetric step pattern of Sakoe and Chiba, "Dynamic programming
algorithm optimization for spoken word recognition" (1978), slope unconstrained, on the cosine
distance of the frames. Its ends are open by a few frames, since end-pointing is only that exact.
A phrase with one word changed is near everywhere but in one place, which a mean hides; so the
distance is the mean cost along the path plus the mean over its worst stretch.

An unfinished phrase has a path too, on which its last sound stands in for the rest. So standing
still while the enrolled utterance goes on costs extra.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.types import FloatArray

OPEN_ENDS = 5
"""Frames that may go unmatched at either end of either utterance (0.2 s at a 40 ms hop)."""
WORST_STEPS = 8
"""Path steps that make the worst stretch (about a third of a second)."""

STALL_FREE = 3
"""Steps that the enrolled utterance may go on alone; with the same phrase it never took more."""
STALL_COST = 0.1
"""What each further one in a row adds to the distance."""

VARIANT_COST = 0.06
"""Added to the distance from an augmented example: in noise and echo everything sounds more alike,
near misses too, and a phrase spoken in a quiet room should not have to be nearer for it."""

_REFERENCE, _QUERY = 1, 2  # a move that advances only there; 0 advances in both
_FAR = np.float32(1e9)


def dtw_distances(references: Sequence[FloatArray], query: FloatArray) -> list[float]:
    """Distance of an utterance from several others: 0 and up, mostly above 0.5 for another phrase.

    All references, each of shape (t, e), go through the dynamic program together, one anti-diagonal
    at a time, which is what makes it fast in NumPy; the query has the shape (u, e).

    Raises:
        ValueError: a shape does not fit, or an utterance has no frame.
    """
    if not references:
        return []
    if query.ndim != 2 or any(r.ndim != 2 or r.shape[1] != query.shape[1] for r in references):
        raise ValueError("embeddings must have shape (frames, dimensions), dimensions alike")
    if len(query) == 0 or any(len(r) == 0 for r in references):
        raise ValueError("an embedding without frames cannot be warped")
    costs = _cosine_costs(references, query)
    totals, moves = _accumulate(costs, [len(r) for r in references])
    return [
        _path_distance(costs[k], totals[:, k], moves[:, k], len(reference), len(query))
        for k, reference in enumerate(references)
    ]


def example_distances(enrolled: Sequence[Sequence[FloatArray]], query: FloatArray) -> list[float]:
    """DTW distance of an utterance from each enrolled one, in its nearest augmentation.

    Args:
        enrolled: of each enrolled utterance its embedding, then those of its augmentations, each
            of shape (t, e); `VARIANT_COST` is added to the distances from augmentations.
        query: embedding of the utterance, shape (u, e).

    Raises:
        ValueError: as `dtw_distances`; or an enrolled utterance has no example.
    """
    if not all(enrolled):
        raise ValueError("an utterance without an example cannot be compared")
    distances = iter(dtw_distances(list(itertools.chain.from_iterable(enrolled)), query))
    found = []
    for examples in enrolled:
        own = np.asarray(list(itertools.islice(distances, len(examples))))
        own[1:] += VARIANT_COST
        found.append(float(own.min()))
    return found


def _cosine_costs(references: Sequence[FloatArray], query: FloatArray) -> FloatArray:
    """Cosine distances, shape (references, longest t, u); `_FAR` where a reference has ended."""
    longest = max(len(r) for r in references)
    costs = np.full((len(references), longest, len(query)), _FAR, dtype=np.float32)
    unit_query = unit(query).T
    for k, reference in enumerate(references):
        costs[k, : len(reference)] = 1.0 - unit(reference) @ unit_query
    return np.maximum(costs, 0.0)


def unit(vectors: FloatArray) -> FloatArray:
    """Vectors scaled to unit length, shape (..., e)."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: FloatArray = vectors / np.maximum(norms, np.float32(1e-9))
    return scaled


def _accumulate(costs: FloatArray, lengths: Sequence[int]) -> tuple[FloatArray, NDArray[np.int8]]:
    """Cheapest cost up to each cell, and the move that led there, by anti-diagonals.

    On an anti-diagonal no cell depends on another one, and laid out like this all three cells that
    one depends on are slices.

    Returns:
        Totals, shape (t + u + 1, references, t + 1): `[r + c + 2, k, r + 1]` is cell (r, c); and
        moves, shape (t + u - 1, references, t): `[r + c, k, r]` is that cell's.
    """
    count, rows, columns = costs.shape
    diagonals = rows + columns - 1
    row = np.arange(rows)
    column = np.clip(np.arange(diagonals)[:, None] - row, 0, columns - 1)
    by_diagonal = np.ascontiguousarray(costs[:, row, column].transpose(1, 0, 2))
    totals = np.full((diagonals + 2, count, rows + 1), _FAR, dtype=np.float32)
    totals[: min(OPEN_ENDS, columns // 4) + 1, :, 0] = 0.0
    for k, length in enumerate(lengths):
        free = np.arange(min(OPEN_ENDS, length // 4) + 1)
        totals[free, k, free] = 0.0
    moves = np.zeros((diagonals, count, rows), dtype=np.int8)
    for diagonal in range(diagonals):
        here = slice(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        below = slice(here.start + 1, here.stop + 1)
        both = totals[diagonal, :, here]
        in_reference = totals[diagonal + 1, :, here]
        in_query = totals[diagonal + 1, :, below]
        least = np.minimum(both, in_reference)
        move = moves[diagonal, :, here]
        np.less(in_reference, both, out=move, casting="unsafe")  # the code of `_REFERENCE` is 1
        move[in_query < least] = _QUERY
        np.minimum(least, in_query, out=least)
        np.add(least, by_diagonal[diagonal, :, here], out=totals[diagonal + 2, :, below])
    return totals, moves


def _path_distance(
    costs: FloatArray, totals: FloatArray, moves: NDArray[np.int8], length: int, columns: int
) -> float:
    """The distance along the cheapest path; of one reference, without the axis of references."""
    row, column = _best_end(totals, length, columns)
    rows = costs.shape[0]
    # Single cells of an array are slow to read, those of bytes are not.
    taken = moves.tobytes()
    cells = []
    alone = longest = 0
    while row >= 0 and column >= 0:
        cells.append(row * columns + column)
        longest = max(longest, alone)
        move = taken[(row + column) * rows + row]
        alone = alone + 1 if move == _REFERENCE else 0
        if move != _QUERY:
            row -= 1
        if move != _REFERENCE:
            column -= 1
    path = costs.ravel()[cells]
    width = min(WORST_STEPS, len(path))
    sums = np.concatenate(([0.0], np.cumsum(path, dtype=np.float64)))
    worst = float(np.max(sums[width:] - sums[:-width])) / width
    return float(path.mean()) + worst + STALL_COST * max(0, longest - STALL_FREE)


def _best_end(totals: FloatArray, rows: int, columns: int) -> tuple[int, int]:
    """The cheapest cell to end in, by cost for the length of both utterances that it covers."""
    best = (rows - 1, columns - 1)
    least = float(totals[rows + columns, rows]) / (rows + columns)
    ends = [(r, columns - 1) for r in range(rows - 1 - min(OPEN_ENDS, rows // 4), rows - 1)]
    ends += [(rows - 1, c) for c in range(columns - 1 - min(OPEN_ENDS, columns // 4), columns - 1)]
    for row, column in ends:
        cost = float(totals[row + column + 2, row + 1]) / (row + column + 2)
        if cost < least:
            best, least = (row, column), cost
    return best

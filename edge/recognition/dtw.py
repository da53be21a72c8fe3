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
from typing import Any

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

_REFERENCE, _QUERY, _STOP = 1, 2, 3
"""Moves that advance only there, and that of a cell outside; 0 advances in both."""
_FAR = np.float32(1e9)
_LEAST = np.float32(1e-9)
"""Length of a vector that counts as zero."""
_BATCH_CELLS = 1 << 18
"""Cells worked on at once, which bounds the memory: fifteen seconds of speech against everybody
enrolled would take 150 MB. Each takes 9 bytes."""


def dtw_distances(references: Sequence[FloatArray], query: FloatArray) -> list[float]:
    """Distance of an utterance from several others: 0 and up, mostly above 0.5 for another phrase.

    Many references, each of shape (t, e), go through the dynamic program together, one
    anti-diagonal at a time, which is what makes it fast in NumPy; the query has the shape (u, e).

    Raises:
        ValueError: a shape does not fit, or an utterance has no frame.
    """
    if not references:
        return []
    if query.ndim != 2 or any(r.ndim != 2 or r.shape[1] != query.shape[1] for r in references):
        raise ValueError("embeddings must have shape (frames, dimensions), dimensions alike")
    if len(query) == 0 or any(len(r) == 0 for r in references):
        raise ValueError("an embedding without frames cannot be warped")
    longest = max(map(len, references))
    size = max(1, _BATCH_CELLS // (longest * (longest + len(query))))
    found: list[float] = []
    for first in range(0, len(references), size):
        found += _distances(references[first : first + size], query)
    return found


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


def unit(vectors: FloatArray) -> FloatArray:
    """Vectors scaled to unit length, shape (..., e)."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: FloatArray = vectors / np.maximum(norms, _LEAST)
    return scaled


def _distances(references: Sequence[FloatArray], query: FloatArray) -> list[float]:
    """As `dtw_distances`, all in one go."""
    lengths = np.asarray([len(r) for r in references])
    costs = _cosine_costs(references, query)
    totals, moves = _accumulate(costs, lengths, len(query))
    ends = _best_ends(totals, lengths, len(query))
    return [float(each) for each in _path_distances(costs, moves, ends)]


# Cell (r, c) of the k-th reference is `[r + c + 2, r + 1, k]` of every array below: on an
# anti-diagonal no cell depends on another one, and laid out like this all three cells that one
# depends on are slices, without a gap. Index 0 is what lies before the first frame.


def _cosine_costs(references: Sequence[FloatArray], query: FloatArray) -> FloatArray:
    """Cosine distances, shape (t + u + 1, t + 1, references), 0 before the first frames."""
    rows, columns, count = max(map(len, references)), len(query), len(references)
    padded = np.zeros((rows, count, query.shape[1]), dtype=np.float32)
    for k, reference in enumerate(references):
        padded[: len(reference), k] = reference
    # Small products and no copies: large ones need buffers of megabytes.
    padded /= np.maximum(np.sqrt(np.einsum("rke,rke->rk", padded, padded)), _LEAST)[..., None]
    unit_query = unit(query)
    costs = np.empty((rows + columns + 1, rows + 1, count), dtype=np.float32)
    _before(costs)[:] = 0.0
    costs[:, 0] = 0.0
    cell, diagonal, row = costs.itemsize, costs.strides[0], costs.strides[1]
    inside = np.lib.stride_tricks.as_strided(
        costs[2:, 1:], (columns, rows, count), (diagonal, diagonal + row, cell)
    )
    for r in range(rows):
        np.subtract(np.float32(1.0), unit_query @ padded[r].T, out=inside[:, r])
    np.maximum(inside, np.float32(0.0), out=inside)
    return costs


def _before(cells: NDArray[Any]) -> NDArray[Any]:
    """The cells before the first column, shape (t + 1, references)."""
    rows, count = cells.shape[1:]
    return cells.reshape(-1, count)[: rows * (rows + 1) : rows + 1]


def _accumulate(
    costs: FloatArray, lengths: NDArray[np.int_], columns: int
) -> tuple[FloatArray, NDArray[np.int8]]:
    """Cheapest cost up to each cell, and the move that led there."""
    diagonals, rows, count = costs.shape[0] - 2, costs.shape[1] - 1, costs.shape[2]
    totals = np.empty(costs.shape, dtype=np.float32)
    totals[:, 0] = _before(totals)[:] = _FAR
    totals[: min(OPEN_ENDS, columns // 4) + 1, 0] = 0.0
    for k, length in enumerate(lengths):
        _before(totals)[: min(OPEN_ENDS, length // 4) + 1, k] = 0.0
    moves = np.empty(costs.shape, dtype=np.int8)
    moves[:, 0] = _before(moves)[:] = _STOP
    kept = np.empty((2, rows, count), dtype=np.float32)
    nearer = np.empty((rows, count), dtype=np.bool_)
    for diagonal in range(diagonals):
        here = slice(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        below = slice(here.start + 1, here.stop + 1)
        both = totals[diagonal, here]
        in_reference = totals[diagonal + 1, here]
        in_query = totals[diagonal + 1, below]
        least, mask = kept[0, here], nearer[here]
        np.minimum(both, in_reference, out=least)
        move = moves[diagonal + 2, below]
        np.less(in_reference, both, out=move, casting="unsafe")  # the code of `_REFERENCE` is 1
        np.less(in_query, least, out=mask)
        np.copyto(move, np.int8(_QUERY), where=mask)
        np.minimum(least, in_query, out=least)
        np.add(least, costs[diagonal + 2, below], out=totals[diagonal + 2, below])
    return totals, moves


def _best_ends(totals: FloatArray, lengths: NDArray[np.int_], columns: int) -> NDArray[np.int_]:
    """The cheapest cell for each to end in, by cost for the length of both that it covers.

    Returns:
        Indices into the flattened arrays, shape (references,).
    """
    back = np.arange(OPEN_ENDS, 0, -1)
    none = np.zeros(OPEN_ENDS + 1, dtype=np.int_)
    # The very end first: of equally cheap ones it is the one to take.
    rows_back = np.concatenate(([0], back, none[1:]))[:, None]
    columns_back = np.concatenate((none, back))[:, None]
    allowed = (rows_back <= lengths // 4) & (columns_back <= columns // 4)
    row = np.maximum(lengths - rows_back, 0)
    length = np.maximum(row + columns - columns_back, 1)
    index = np.ravel_multi_index((length, row, np.arange(len(lengths))[None]), totals.shape)
    cost = np.where(allowed, totals.take(index).astype(np.float64) / length, np.inf)
    best: NDArray[np.int_] = index[cost.argmin(axis=0), np.arange(len(lengths))]
    return best


def _path_distances(
    costs: FloatArray, moves: NDArray[np.int8], ends: NDArray[np.int_]
) -> NDArray[np.float64]:
    """The distances along the cheapest paths to their ends, shape (references,)."""
    steps, rows, count = costs.shape
    back = -count * np.asarray([2 * rows + 1, rows + 1, rows, 0])
    # From the end of the path; 0 beyond its beginning, which adds to no sum.
    path = np.zeros((max(steps, WORST_STEPS), count), dtype=np.float32)
    length, alone, longest = np.zeros((3, count), dtype=np.int_)
    at = ends
    for step in range(steps):
        move = moves.take(at)
        going = move != _STOP
        if not going.any():
            break
        costs.take(at, out=path[step])
        length += going
        np.maximum(longest, alone * going, out=longest)
        alone = (alone + 1) * (move == _REFERENCE)
        at = at + back.take(move)
    sums = np.cumsum(path, axis=0, dtype=np.float64)
    worst = sums[WORST_STEPS - 1 :].copy()
    worst[1:] -= sums[:-WORST_STEPS]
    distances: NDArray[np.float64] = sums[-1] / length
    distances += worst.max(axis=0) / np.minimum(length, WORST_STEPS)
    distances += STALL_COST * np.maximum(0, longest - STALL_FREE)
    return distances

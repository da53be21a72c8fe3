"""Dynamic time warping: against a plain implementation, and what it must be blind to."""

from __future__ import annotations

import numpy as np
import pytest

from edge.recognition.dtw import OPEN_ENDS, STALL_COST, STALL_FREE, WORST_STEPS, dtw_distances
from edge.types import FloatArray

pytestmark = pytest.mark.runtime


def saying(seed: int, frames: int) -> FloatArray:
    """A smooth random walk: neighboring frames are alike, as in speech."""
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((frames + 20, 24)).astype(np.float32)
    kernel = np.hanning(9) / np.hanning(9).sum()
    smooth = np.stack([np.convolve(column, kernel, "same") for column in steps.T], axis=1)
    walk: FloatArray = np.ascontiguousarray(smooth[10:-10], dtype=np.float32)
    return walk


def stretched(frames: FloatArray, factor: float) -> FloatArray:
    at = np.clip((np.arange(int(len(frames) * factor)) / factor).astype(int), 0, len(frames) - 1)
    result: FloatArray = frames[at]
    return result


def plain(reference: FloatArray, query: FloatArray) -> float:
    """The same distance, one cell at a time."""
    unit_r = reference / np.linalg.norm(reference, axis=1, keepdims=True)
    unit_q = query / np.linalg.norm(query, axis=1, keepdims=True)
    cost = np.maximum(1.0 - unit_r @ unit_q.T, 0.0)
    rows, columns = cost.shape
    free_rows, free_columns = min(OPEN_ENDS, rows // 4), min(OPEN_ENDS, columns // 4)
    total = np.full((rows + 1, columns + 1), np.inf)
    total[: free_rows + 1, 0] = 0.0
    total[0, : free_columns + 1] = 0.0
    for i in range(rows):
        for j in range(columns):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    ends = [(rows, j) for j in range(columns - free_columns, columns + 1)]
    ends += [(i, columns) for i in range(rows - free_rows, rows)]
    i, j = min(ends, key=lambda end: total[end] / sum(end))
    path = []
    columns_met = []
    while i > 0 and j > 0:
        path.append(cost[i - 1, j - 1])
        columns_met.append(j)
        moves = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min(moves, key=lambda move: total[move])
    stay = max(columns_met.count(column) for column in columns_met) - 1
    width = min(WORST_STEPS, len(path))
    worst = max(np.mean(path[k : k + width]) for k in range(len(path) - width + 1))
    return float(np.mean(path) + worst + STALL_COST * max(0, stay - STALL_FREE))


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_a_plain_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    query = saying(100 + seed, int(rng.integers(15, 60)))
    references = [saying(200 + seed + k, int(rng.integers(10, 70))) for k in range(4)]
    references.append(stretched(query, 1.3))
    together = dtw_distances(references, query)
    assert together == pytest.approx([plain(r, query) for r in references], abs=1e-4)
    assert together == pytest.approx([dtw_distances([r], query)[0] for r in references])


def test_a_saying_is_no_distance_from_itself_at_any_pace() -> None:
    phrase = saying(1, 40)
    same, slower, faster = dtw_distances(
        [phrase, stretched(phrase, 1.4), stretched(phrase, 0.8)], phrase
    )
    assert same == pytest.approx(0.0, abs=1e-5)
    assert slower == pytest.approx(0.0, abs=1e-5)
    assert faster < 0.1


def test_one_changed_word_counts_more_than_its_share() -> None:
    phrase = saying(2, 60)
    changed = phrase.copy()
    changed[30:42] = saying(3, 12)
    distance = dtw_distances([changed], phrase)[0]
    # A mean alone would dilute a fifth of the phrase to a fifth of the cost.
    assert distance > 0.5


def test_a_few_frames_more_or_less_at_the_ends_do_not_matter() -> None:
    phrase = saying(4, 40)
    wide = np.concatenate((saying(5, OPEN_ENDS), phrase, saying(6, OPEN_ENDS)))
    assert dtw_distances([wide], phrase)[0] == pytest.approx(0.0, abs=1e-5)
    assert dtw_distances([phrase[3:-3]], phrase)[0] < 0.1


def test_no_references_no_distances() -> None:
    assert dtw_distances([], saying(7, 10)) == []


@pytest.mark.parametrize(
    ("reference", "query"),
    [((0, 24), (10, 24)), ((10, 24), (0, 24)), ((10, 23), (10, 24)), ((24,), (10, 24))],
)
def test_refuses_what_cannot_be_warped(reference: tuple[int, ...], query: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="embedding"):
        dtw_distances([np.ones(reference, np.float32)], np.ones(query, np.float32))


def test_an_unfinished_phrase_is_far_from_the_whole_one() -> None:
    phrase = saying(8, 60)
    # The end is one long sound in both, so that nothing but the missing time tells them apart.
    phrase[40:] = phrase[40]
    unfinished = phrase[:42]
    assert dtw_distances([phrase], unfinished)[0] > 0.8
    spoken_faster = stretched(saying(9, 60), 0.7)
    assert dtw_distances([saying(9, 60)], spoken_faster)[0] < 0.2

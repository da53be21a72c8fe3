"""Dynamic time warping: against a plain implementation, and what it must be blind to."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from edge.recognition.dtw import dtw_distances, example_distances, unit
from edge.types import FloatArray
from tests.unit.scoring import spelled


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
    free_rows, free_columns = min(5, rows // 4), min(5, columns // 4)
    total = np.full((rows + 1, columns + 1), np.inf)
    total[: free_rows + 1, 0] = 0.0
    total[0, : free_columns + 1] = 0.0
    for i in range(rows):
        for j in range(columns):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    ends = [(rows, columns)]
    ends += [(i, columns) for i in range(rows - free_rows, rows)]
    ends += [(rows, j) for j in range(columns - free_columns, columns)]
    i, j = min(ends, key=lambda end: total[end] / sum(end))
    path = []
    columns_met = []
    while i > 0 and j > 0:
        path.append(cost[i - 1, j - 1])
        columns_met.append(j)
        moves = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min(moves, key=lambda move: total[move])
    stay = max(columns_met.count(column) for column in columns_met) - 1
    width = min(8, len(path))
    worst = max(np.mean(path[k : k + width]) for k in range(len(path) - width + 1))
    return float(np.mean(path) + worst + 0.1 * max(0, stay - 3))


@pytest.mark.runtime
@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_a_plain_implementation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    query = saying(100 + seed, int(rng.integers(15, 60)))
    references = [saying(200 + seed + k, int(rng.integers(10, 70))) for k in range(4)]
    references.append(stretched(query, 1.3))
    together = dtw_distances(references, query)
    assert together == pytest.approx([plain(r, query) for r in references], abs=1e-4)
    alone = [dtw_distances([r], query)[0] for r in references]
    assert together == pytest.approx(alone, abs=1e-6)


def test_the_memory_is_bounded_however_many_examples_there_are_and_however_long_it_takes() -> None:
    references = [saying(k, 20 + k % 45) for k in range(120)]
    query = saying(7, 375)  # fifteen seconds
    tracemalloc.start()
    together = dtw_distances(references, query)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 6e6
    some = references[::17]
    assert together[::17] == pytest.approx([dtw_distances([r], query)[0] for r in some], abs=1e-5)


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


@pytest.mark.parametrize("seed", range(30))
def test_of_paths_that_cost_the_same_it_takes_the_same_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, query = (
        spelled("".join(rng.choice(list("abc"), rng.integers(6, 30)))) for _ in range(2)
    )
    assert dtw_distances([reference], query)[0] == pytest.approx(plain(reference, query), abs=1e-6)


PHRASE = "abcdefghijklmnopqrstuvwx"


def with_more(extra: str, phrase: str, distance: float) -> list[tuple[str, str, float]]:
    """A phrase with more frames at each end of each side."""
    sides = [(extra + phrase, phrase), (phrase + extra, phrase)]
    sides += [side[::-1] for side in sides]
    return [(*side, distance) for side in sides]


@pytest.mark.parametrize(
    ("enrolled", "spoken", "distance"),
    [
        pytest.param(PHRASE, PHRASE, 0.0, id="the same"),
        pytest.param(PHRASE, "ABCDEFGHIJKLMNOPQRSTUVWX", 2.0, id="nothing alike"),
        # The mean along the path and the mean of its worst eight steps.
        pytest.param(PHRASE, "abcdefghIJKLMNOpqrstuvwx", 7 / 24 + 7 / 8, id="7 steps off"),
        pytest.param(PHRASE, "abcdefghIJKLMNOPqrstuvwx", 8 / 24 + 1.0, id="8 steps off"),
        pytest.param(PHRASE, "abcdefghIJKLMNOPQrstuvwx", 9 / 24 + 1.0, id="9 steps off"),
        pytest.param("abcdef", "abCDef", 2 / 6 + 2 / 6, id="shorter than the worst stretch"),
        # Five frames at either end of either side are free, a sixth is not.
        *with_more("12345", PHRASE, 0.0),
        *with_more("123456", PHRASE, 1 / 25 + 1 / 8),
        # Of a short one it is a quarter.
        *with_more("1234", "abcdefghijkl", 0.0),
        *with_more("12345", "abcdefghijk", 1 / 12 + 1 / 8),
        # The enrolled one may go on alone for three steps; each further one costs a tenth.
        pytest.param("abcdefghijklmmmmnopqrstuvwx", PHRASE, 0.0, id="3 steps alone"),
        pytest.param("abcdefghijklmmmmmnopqrstuvwx", PHRASE, 0.1, id="4 steps alone"),
        pytest.param("abcdefghijklmmmmmmnopqrstuvwx", PHRASE, 0.2, id="5 steps alone"),
        pytest.param("abcdeeeeeefghijkllllmnopqrstuvwx", PHRASE, 0.2, id="5 and 3 steps alone"),
        pytest.param(PHRASE, "abcdefghijklmmmmmmmmmnopqrstuvwx", 0.0, id="spoken slowly"),
    ],
)
def test_distances_by_hand(enrolled: str, spoken: str, distance: float) -> None:
    found = dtw_distances([spelled(enrolled)], spelled(spoken))
    assert found == [pytest.approx(distance, abs=1e-6)]


def test_an_example_in_noise_or_echo_has_to_be_nearer() -> None:
    said, changed = spelled(PHRASE), spelled("abcdefghijkLmnopqrstuvwx")
    far = 1 / 24 + 1 / 8
    examples = [(said, changed), (changed, said), (changed,), (changed, changed, said)]
    assert example_distances(examples, said) == pytest.approx([0.0, 0.06, far, 0.06], abs=1e-6)
    assert example_distances([(said[::-1], changed)], said) == [pytest.approx(far + 0.06)]
    assert example_distances([], said) == []
    with pytest.raises(ValueError, match="without an example"):
        example_distances([(said,), ()], said)


def test_silence_and_rounding_give_no_odd_distance() -> None:
    silent = np.zeros((24, 128), np.float32)
    assert dtw_distances([silent], spelled(PHRASE)) == [2.0]
    assert unit(np.asarray([[3.0, 4.0], [0.0, 0.0]], np.float32)) == pytest.approx(
        np.asarray([[0.6, 0.8], [0.0, 0.0]])
    )
    assert unit(np.asarray([3.0, 4.0], np.float32)) == pytest.approx([0.6, 0.8])
    for seed in range(10):
        assert dtw_distances([saying(seed, 30)], saying(seed, 30))[0] >= 0.0


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

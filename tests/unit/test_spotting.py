"""Where an enrolled phrase lies in running speech."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edge.features import mel_frames
from edge.recognition import Engine
from edge.recognition.dtw import unit
from edge.recognition.embedders import PhraseEmbedder
from edge.recognition.keyword_spotter import KeywordHit, KeywordSpotter
from edge.types import SAMPLE_RATE, FloatArray, Profile
from tests.unit.scoring import spelled
from tests.unit.voices import quiet, speech, spliced

GAP_S = 0.08
LEAD_S = 1.0
ADA, ROBIN = 0, 1


@pytest.fixture
def examples(ada: Profile, robin: Profile) -> list[list[FloatArray]]:
    return [
        [s.phrase_embedding for s in person.samples if s.phrase_embedding is not None]
        for person in (ada, robin)
    ]


class Spelled(PhraseEmbedder):
    """Hears the letters of a text, one every 80 ms, whatever the sound."""

    def __init__(self, text: str = "") -> None:
        self.dimensions = 128
        self.heard: list[FloatArray] = []
        self._vectors = iter(spelled(text))

    def embed_window(self, frames: FloatArray) -> FloatArray:
        self.heard.append(frames)
        return next(self._vectors)


def saying(text: str) -> FloatArray:
    """An enrolled utterance of which just these letters are compared, 80 ms apart."""
    return spelled("?" * 7 + "".join(letter + "?" for letter in text) + "?" * 13)


def found_in(text: str, *owners: Sequence[str]) -> list[KeywordHit]:
    """The hits in an utterance of these letters, 80 ms apart, of people who enrolled others."""
    examples = [[saying(each) for each in own] for own in owners]
    spotter = KeywordSpotter(Spelled(), examples)
    found = spotter.search(spelled("".join(letter + "?" for letter in text)))
    assert spotter.position_s == 0.0
    return found


def hit(owner: int, first: int, last: int, cost: float = 0.0) -> KeywordHit:
    """The hit of `saying` that lies on these vectors of the stream."""
    # Speech begins 0.131 s before the first vector's center (0.391 s in its window, and 7 x 40 ms
    # are left out, of 0.54 s of context), and ends 0.411 s after the last one's, behind which
    # 14 x 40 ms are left out.
    return KeywordHit(owner, *times(0.08 * first - 0.131, 0.08 * last + 0.411, cost))


def times(*values: float) -> list[Any]:
    return [pytest.approx(value, abs=1e-5) for value in values]


@pytest.mark.parametrize(
    ("said", "heard", "expected"),
    [
        pytest.param("abcdefghij", "abcdefghij", [hit(0, 0, 9)], id="alone"),
        pytest.param("abcdefghij", "qrstuabcdefghijvwxyz", [hit(0, 5, 14)], id="amid others"),
        # A step of both by one costs twice the distance, one of either by two 1.5 times that of
        # both vectors; all of it is divided by the lengths of both together.
        pytest.param("abcdefghij", "abcdXfghij", [hit(0, 0, 9, 2 / 20)], id="one off"),
        pytest.param("abcdefghij", "qrstuabcdXfghij", [hit(0, 5, 14, 2 / 20)], id="one off, later"),
        pytest.param("abbccddeeffgg", "qabcdefg", [hit(0, 1, 7)], id="twice as fast"),
        pytest.param("abbccddeeffxg", "abcdefg", [hit(0, 0, 6, 1.5 / 20)], id="one skipped"),
        # Slow speech is a hit before its end already, as if the rest were skipped, and then again.
        pytest.param(
            "abcdefg",
            "qabbccddeeffgz",
            [hit(0, 1, 10, 1.5 / 17), hit(0, 1, 12)],
            id="half as fast",
        ),
        pytest.param(
            "abcdefg",
            "abbccddxeffgg",
            [hit(0, 0, 9, 3 / 17), hit(0, 0, 12, 1.5 / 20)],
            id="one more",
        ),
        pytest.param("abcdefghij", "Xbcdefghij", [hit(0, 0, 9, 2 / 20)], id="the first off"),
        pytest.param("abcdefghij", "abcdefghiX", [hit(0, 0, 8, 1.5 / 19)], id="the last off"),
    ],
)
def test_hits_by_hand(said: str, heard: str, expected: list[KeywordHit]) -> None:
    assert found_in(heard, [said]) == expected


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        pytest.param("abcdefghij", "abcXXXghij", id="three off"),
        pytest.param("abbbcccdddeeefff", "abcdef", id="thrice as fast"),
        pytest.param("abcdef", "abbbcccdddeeefff", id="a third as fast"),
        pytest.param("abcdefghij", "abcdefg", id="unfinished"),
        pytest.param("abcdefghij", "defghij", id="its end"),
        pytest.param("abcdefghij", "jihgfedcba", id="backwards"),
    ],
)
def test_what_is_no_hit(said: str, heard: str) -> None:
    assert found_in(heard, [said]) == []


@pytest.mark.parametrize(("similarity", "hits"), [(0.79, 1), (0.77, 0)])
def test_how_near_it_must_be(similarity: float, hits: int) -> None:
    stream = similarity * spelled("a?b?c?d?e?f?g?h?") + math.sqrt(1 - similarity**2) * spelled("!")
    found = KeywordSpotter(Spelled(), [[saying("abcdefgh")]]).search(2 * stream)
    assert [each.cost for each in found] == times(0.21)[:hits]


@pytest.mark.parametrize(
    ("rows", "compared", "before_s", "after_s"),
    [
        (1, "a", -0.149, -0.149),
        (8, "aceg", -0.149, -0.109),
        (9, "aceg", -0.149, -0.069),
        (10, "bdfh", -0.109, -0.069),
        (11, "bdfh", -0.109, -0.029),
        (21, "gikm", 0.091, 0.171),
        (22, "hjln", 0.131, 0.171),
        (23, "hjln", 0.131, 0.211),
        (25, "hjln", 0.131, 0.291),
        (26, "hjln", 0.131, 0.331),
        (27, "hjln", 0.131, 0.371),
        (28, "hjln", 0.131, 0.411),
        (29, "hjlnp", 0.131, 0.371),
        (30, "hjlnp", 0.131, 0.411),
        (32, "hjlnpr", 0.131, 0.411),
    ],
)
def test_the_silence_around_an_enrolled_utterance_is_left_out(
    rows: int, compared: str, before_s: float, after_s: float
) -> None:
    spotter = KeywordSpotter(Spelled(), [[spelled("abcdefghijklmnopqrstuvwxyz012345"[:rows])]])

    def hits(letters: str) -> list[KeywordHit]:
        return spotter.search(spelled("".join(f"{letter}?" for letter in f"?{letters}?")))

    last = 0.08 * len(compared)
    assert hits(compared) == [KeywordHit(0, *times(0.08 - before_s, last + after_s, 0.0))]
    # The first and the last of these letters are compared too.
    for other in ("!" + compared[1:], compared[:-1] + "!"):
        assert all(each.cost > 0.1 for each in hits(other))


def plainly_nearest(example: FloatArray, stream: FloatArray) -> tuple[float, int, int]:
    """The least mean cost of a path through all of an example, its first and last vector."""
    cost = 1.0 - example @ stream.T
    rows, columns = cost.shape
    total = np.full((rows + 2, columns + 2), np.inf)  # two before the first of either
    first = np.zeros((rows + 2, columns + 2), np.int_)
    ends = []
    for c in range(columns):
        for r in range(rows):
            ways = [
                (total[r + 1, c + 1] + 2.0 * cost[r, c], first[r + 1, c + 1]),
                (total[r, c + 1] + 1.5 * (cost[r - 1, c] + cost[r, c]), first[r, c + 1]),
                (total[r + 1, c] + 1.5 * (cost[r, c - 1] + cost[r, c]), first[r + 1, c]),
            ]
            way = min(ways) if r else (2.0 * cost[r, c], c)
            total[r + 2, c + 2], first[r + 2, c + 2] = way
        begun = int(first[rows + 1, c + 2])
        ends.append((float(total[rows + 1, c + 2]) / (rows + c - begun + 1), begun, c))
    return min(ends)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_a_plain_implementation_however_many_people_there_are(seed: int) -> None:
    """One after the other, each at another pace."""
    rng = np.random.default_rng(seed)
    examples = [
        unit(rng.standard_normal((rng.integers(4, 12), 128)).astype(np.float32)) for _ in range(20)
    ]
    said = [each[np.sort(rng.integers(0, len(each), len(each)))] for each in examples]
    noise = 0.03 * rng.standard_normal((sum(map(len, said)), 128))
    stream = unit((np.concatenate(said) + noise).astype(np.float32))
    padding = ((7, 13), (0, 0))
    enrolled = [np.pad(np.repeat(each, 2, axis=0), padding).astype(np.float32) for each in examples]
    spotter = KeywordSpotter(Spelled(), [[each] for each in enrolled])
    found = spotter.search(np.repeat(stream, 2, axis=0))
    for owner, example in enumerate(examples):
        cost, first, last = plainly_nearest(example, stream)
        own = [each for each in found if each.owner == owner]
        assert bool(own) == (cost < 0.22)
        if own:
            nearest = min(own, key=lambda each: each.cost)
            assert nearest == hit(owner, first, last, cost)


def test_each_person_has_hits_of_their_own_from_their_nearest_example() -> None:
    people = [["abcdeXghij", "abcdefghij", "abcXefghij"], [], ["defghijk", "qrstu"], ["qrstuv"]]
    assert found_in("zzabcdefghijklqrstuvw", *people) == [
        hit(0, 2, 11),
        hit(2, 5, 12),
        hit(2, 14, 18),
        hit(3, 14, 19),
    ]


@pytest.mark.parametrize(
    ("own", "heard", "expected"),
    [
        # One step later something better takes its place; two steps later it is a hit of its own.
        (["Xbcdefgh", "abcdefghij"], "abcdefghijkl", [hit(0, 0, 9)]),
        (["Xbcdefgh", "abcdefghijk"], "abcdefghijkl", [hit(0, 0, 7, 2 / 16), hit(0, 0, 10)]),
        (["Xbcdefgh", "abcdefghijkl"], "abcdefghijkl", [hit(0, 0, 7, 2 / 16), hit(0, 0, 11)]),
        # What is no better does not, nor is it reported if it begins at the same place.
        (["abcdefghi", "abcdefghij"], "abcdefghijkl", [hit(0, 0, 8)]),
        (["abcdefghi", "abcdefghijkl"], "abcdefghijkl", [hit(0, 0, 8)]),
        (["zabcdefgh", "abcdefghijkl"], "zabcdefghijkl", [hit(0, 0, 8)]),
        (["yzabcdefg", "abcdefghijkl"], "yzabcdefghijkl", [hit(0, 0, 8), hit(0, 2, 13)]),
        (["abcdefghij"], "abcdefghijjjjjj", [hit(0, 0, 9)]),
        (["abcdef"], "abcdefabcdef", [hit(0, 0, 5), hit(0, 6, 11)]),
    ],
)
def test_what_is_one_hit(own: list[str], heard: str, expected: list[KeywordHit]) -> None:
    assert found_in(heard, own) == expected


def test_a_hit_is_given_a_step_after_its_end() -> None:
    """A step is 1,280 samples, and the first of them needs a window of 12,512."""
    embedder = Spelled("zabcdefghijklm")
    spotter = KeywordSpotter(embedder, [[saying("abcdef")]])
    sound = quiet(2.0)
    complete = 12_512 + 7 * 1_280
    spotter.reset(50.0)
    assert spotter.feed(sound[: complete - 1]) == []
    assert len(embedder.heard) == 7
    assert spotter.position_s == pytest.approx(50.0 + (complete - 1) / 16_000)
    assert spotter.feed(sound[complete - 1 : complete]) == [
        KeywordHit(0, *times(50.391 + 0.08 - 0.131, 50.391 + 0.48 + 0.411, 0.0))
    ]
    assert spotter.finish() == []
    assert len(embedder.heard) == 8
    for step, frames in enumerate(embedder.heard):
        window = sound[1_280 * step : 1_280 * step + 12_512]
        np.testing.assert_array_equal(frames, mel_frames(window))


def test_places_are_as_exact_after_years_of_listening() -> None:
    """In single precision, seconds are only whole ones after half a year."""
    spotter = KeywordSpotter(Spelled("zabcdefghijklm"), [[saying("abcdef")]])
    years = 1e8
    spotter.reset(years)
    (found,) = spotter.feed(quiet(1.8))
    assert found.start_s - years == pytest.approx(0.391 + 0.08 - 0.131, abs=1e-4)
    assert found.end_s - years == pytest.approx(0.391 + 0.48 + 0.411, abs=1e-4)


def test_what_is_not_settled_is_given_at_the_end() -> None:
    spotter = KeywordSpotter(Spelled("zabcdef"), [[saying("abcdef")]])
    assert spotter.feed(np.zeros(12_512 + 6 * 1_280, np.float32)) == []
    assert spotter.finish() == [KeywordHit(0, *times(0.34, 0.391 + 0.48 + 0.411, 0.0))]
    assert spotter.finish() == []


def test_what_was_heard_before_is_forgotten() -> None:
    spotter = KeywordSpotter(Spelled("abcdefabc"), [[saying("abcdef")]])
    assert spotter.position_s == 0.0
    step = np.zeros(1_280, np.float32)
    spotter.feed(np.zeros(12_512 + 2 * 1_280, np.float32))
    spotter.reset(7.0)
    assert spotter.position_s == 7.0
    assert [spotter.feed(part) for part in (np.zeros(12_512, np.float32), step, step)] == [[]] * 3
    assert spotter.finish() == []
    spotter.reset(0.0)
    spotter.feed(np.zeros(12_512 + 2 * 1_280, np.float32))
    assert spotter.search(spelled("d?e?f?")) == []
    for begin in (0.0, 3.0):  # the same again is a hit again
        spotter = KeywordSpotter(Spelled("abcdefabcdef"), [[saying("abcdef")]])
        for _ in range(2):
            spotter.reset(begin)
            spotter.feed(np.zeros(12_512 + 5 * 1_280, np.float32))
            assert [each.start_s for each in spotter.finish()] == times(begin + 0.26)


def fed(
    spotter: KeywordSpotter, samples: FloatArray, sizes: Sequence[int] = (512,)
) -> list[KeywordHit]:
    found: list[KeywordHit] = []
    position = turn = 0
    while position < len(samples):
        size = sizes[turn % len(sizes)]
        found += spotter.feed(samples[position : position + size])
        position, turn = position + size, turn + 1
    return found


def stream(parts: Sequence[str]) -> tuple[FloatArray, list[tuple[float, float]]]:
    """Recordings in one breath, and where each of them begins and ends, seconds."""
    places = []
    at = LEAD_S
    for part in parts:
        length = len(speech(part)) / SAMPLE_RATE
        places.append((at, at + length))
        at += length + GAP_S
    return np.concatenate((quiet(LEAD_S), spliced(*parts, gap_s=GAP_S), quiet(1.5))), places


RUNNING = [
    (("ada_right_phrase",), 0, ADA),
    (("ada_wrong_phrase", "ada_right_phrase"), 1, ADA),
    (("ada_right_phrase", "ada_wrong_phrase"), 0, ADA),
    (("ada_wrong_phrase", "ada_right_phrase", "ada_wrong_phrase"), 1, ADA),
    (("robin_near_phrase", "robin_right_phrase", "robin_near_phrase"), 1, ROBIN),
    (("ada_wrong_phrase", "robin_right_phrase"), 1, ROBIN),
]


@pytest.mark.parametrize(("parts", "which", "owner"), RUNNING)
def test_a_phrase_is_found_where_it_is(
    engine: Engine,
    examples: list[list[FloatArray]],
    parts: tuple[str, ...],
    which: int,
    owner: int,
) -> None:
    samples, places = stream(parts)
    spotter = KeywordSpotter(engine.models.phrase, examples)
    found = fed(spotter, samples) + spotter.finish()
    assert {spot.owner for spot in found} == {owner}
    best = min(found, key=lambda spot: spot.cost)
    start_s, end_s = places[which]
    assert best.start_s == pytest.approx(start_s, abs=0.15)
    assert best.end_s == pytest.approx(end_s, abs=0.15)


def test_a_strangers_saying_is_found_too(engine: Engine, examples: list[list[FloatArray]]) -> None:
    """Whose voice it is, is not asked here."""
    samples, places = stream(("stranger_other_phrase", "stranger_adas_phrase", "ada_wrong_phrase"))
    spotter = KeywordSpotter(engine.models.phrase, examples)
    best = min(fed(spotter, samples), key=lambda spot: spot.cost)
    assert best.owner == ADA
    assert (best.start_s, best.end_s) == pytest.approx(places[1], abs=0.25)


def test_it_is_found_soon_after_its_end(engine: Engine, examples: list[list[FloatArray]]) -> None:
    samples, places = stream(("ada_wrong_phrase", "ada_right_phrase", "ada_wrong_phrase"))
    spotter = KeywordSpotter(engine.models.phrase, examples)
    position = 0
    while not spotter.feed(samples[position : position + 512]):
        position += 512
    assert places[1][1] < position / SAMPLE_RATE < places[1][1] + 0.18


def test_other_speech_is_no_place_to_look(engine: Engine, examples: list[list[FloatArray]]) -> None:
    samples, _ = stream(("ada_wrong_phrase", "stranger_other_phrase", "ada_wrong_phrase"))
    spotter = KeywordSpotter(engine.models.phrase, examples)
    assert fed(spotter, samples) + spotter.finish() == []


@pytest.mark.parametrize("sizes", [(1, 112, 16_000), (7,), (100_000,)])
def test_the_size_of_the_blocks_changes_nothing(
    engine: Engine, examples: list[list[FloatArray]], sizes: tuple[int, ...]
) -> None:
    samples, _ = stream(("ada_wrong_phrase", "ada_right_phrase"))
    plain, odd = (KeywordSpotter(engine.models.phrase, examples) for _ in range(2))
    assert fed(odd, samples, sizes) == fed(plain, samples)
    assert odd.finish() == plain.finish()
    assert odd.position_s == pytest.approx(len(samples) / SAMPLE_RATE)


def test_beginning_anew_forgets_and_shifts(
    engine: Engine, examples: list[list[FloatArray]]
) -> None:
    samples, _ = stream(("ada_right_phrase",))
    half = len(samples) // 2
    spotter = KeywordSpotter(engine.models.phrase, examples)
    plain = fed(spotter, samples)
    spotter.reset(0.0)
    fed(spotter, samples[:half])
    spotter.reset(100.0)
    assert spotter.position_s == 100.0
    # The second half alone is not the phrase.
    assert fed(spotter, samples[half:]) + spotter.finish() == []
    spotter.reset(100.0)
    later = fed(spotter, samples)
    assert [spot.cost for spot in later] == pytest.approx([spot.cost for spot in plain], abs=1e-5)
    for moved, spot in zip(later, plain):
        assert moved.start_s == pytest.approx(spot.start_s + 100.0, abs=1e-3)
        assert moved.end_s == pytest.approx(spot.end_s + 100.0, abs=1e-3)


def test_with_nobody_there_is_nothing_to_find(engine: Engine) -> None:
    spotter = KeywordSpotter(engine.models.phrase, [])
    assert spotter.feed(speech("ada_right_phrase")) == []
    assert spotter.finish() == []
    alone = KeywordSpotter(engine.models.phrase, [[], []])
    assert alone.feed(speech("ada_right_phrase")) == []


@pytest.mark.parametrize("count", [1, 2, 7, 9, 15])
def test_the_shortest_sayings_do_no_harm(engine: Engine, count: int) -> None:
    dimensions = engine.models.phrase.dimensions
    example = np.random.default_rng(0).standard_normal((count, dimensions)).astype(np.float32)
    spotter = KeywordSpotter(engine.models.phrase, [[example]])
    found = spotter.feed(speech("ada_right_phrase")) + spotter.finish()
    assert all(np.isfinite([spot.start_s, spot.end_s, spot.cost]).all() for spot in found)


def test_a_saying_is_not_told_again_for_what_follows_it(
    engine: Engine, examples: list[list[FloatArray]]
) -> None:
    samples, _ = stream(("ada_right_phrase", "ada_wrong_phrase"))
    spotter = KeywordSpotter(engine.models.phrase, examples)
    starts = [spot.start_s for spot in fed(spotter, samples) + spotter.finish()]
    assert len(starts) <= 2, starts
    twice, _ = stream(("ada_right_phrase", "ada_right_phrase"))
    spotter = KeywordSpotter(engine.models.phrase, examples)
    starts = [spot.start_s for spot in fed(spotter, twice) + spotter.finish()]
    assert max(starts) - min(starts) > 1.5, starts

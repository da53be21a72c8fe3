"""Where an enrolled phrase lies in running speech."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edge.recognition import Engine
from edge.recognition.keyword_spotter import STEP_S, KeywordHit, KeywordSpotter
from edge.types import SAMPLE_RATE, FloatArray
from tests.unit.voices import enrolled, quiet, speech, spliced

GAP_S = 0.08
LEAD_S = 1.0
ADA, ROBIN = 0, 1


@pytest.fixture(scope="module")
def examples(engine: Engine) -> list[list[FloatArray]]:
    people = [enrolled(engine, name) for name in ("ada", "robin")]
    return [
        [s.phrase_embedding for s in person.samples if s.phrase_embedding is not None]
        for person in people
    ]


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
    assert places[1][1] < position / SAMPLE_RATE < places[1][1] + 0.5


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


def test_what_is_still_open_is_given_at_the_end(
    engine: Engine, examples: list[list[FloatArray]]
) -> None:
    samples, places = stream(("ada_right_phrase",))
    end = round((places[0][1] + 2 * STEP_S) * SAMPLE_RATE)
    spotter = KeywordSpotter(engine.models.phrase, examples)
    assert fed(spotter, samples[:end]) == []
    (spot,) = spotter.finish()
    assert spot.owner == ADA
    assert spotter.finish() == []


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

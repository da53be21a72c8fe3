"""Who speaks when, by voices that are plain numbers, and by the demo's recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from edge.audio.blocks import FRAME_S, FRAME_SAMPLES
from edge.cli.identify import rttm_line
from edge.errors import ProfileError
from edge.recognition import Engine
from edge.recognition import turns as module
from edge.recognition.turns import Turn, turns
from edge.types import AudioBlock, Confidence, FloatArray, Profile, SpeakerMatch

ADA, BEA, STRANGER, QUIET = 1, 2, 3, 0
_PEOPLE = {ADA: "Ada", BEA: "Bea"}


class Detector:
    """Whatever is not quiet is speech."""

    def feed(self, frame: FloatArray) -> list[float]:
        return [1.0 if frame[0] else 0.0]

    def reset(self) -> None:
        pass


class Voices:
    """An engine for which each number is a voice of its own direction.

    The score is 20 times the cosine to it.
    """

    def __init__(self) -> None:
        self.embedded: list[float] = []
        self.models = SimpleNamespace(speaker=SimpleNamespace(embed=self.embed))

    def require_group(self, profiles: Sequence[Profile]) -> None:
        if not profiles or any(profile.name == "Unready" for profile in profiles):
            raise ProfileError("nobody, or somebody who is not enrolled")

    def embed(self, samples: FloatArray) -> FloatArray:
        self.embedded.append(round(len(samples) / FRAME_SAMPLES * FRAME_S, 3))
        shares = np.array([np.mean(samples == number) for number in (1, 2, 3, 4)], np.float32)
        return shares / np.float32(np.linalg.norm(shares))

    def match_speakers(
        self, profiles: Sequence[Profile], analysis: Any, *, among: int
    ) -> list[SpeakerMatch]:
        assert among == 1 or among > len(profiles), "an hour is more than one comparison"
        threshold = 18.0 if among > 1 else 14.0
        return [
            SpeakerMatch(
                each.name, each.name, 0.0, 20.0 * float(analysis.speaker_embedding[i]), threshold
            )
            for i, each in enumerate(profiles)
        ]


def said(*parts: tuple[int, float], lost: int = 0) -> Iterator[AudioBlock]:
    """Blocks in which voices are heard one after another, each for some seconds."""
    at = 0
    for number, seconds in parts:
        for _ in range(round(seconds / FRAME_S)):
            samples = np.full(FRAME_SAMPLES, number, np.float32)
            yield AudioBlock(samples, at * FRAME_S, at * FRAME_S, lost)
            at, lost = at + 1, 0


@pytest.fixture
def voices(monkeypatch: pytest.MonkeyPatch) -> Voices:
    monkeypatch.setattr(module, "SpeechDetector", Detector)
    return Voices()


def found(voices: Voices, *parts: tuple[int, float]) -> list[Turn]:
    group = [Profile.begin(name) for name in _PEOPLE.values()]
    return list(turns(cast(Engine, voices), group, said(*parts)))


def over(all_turns: Sequence[Turn]) -> list[tuple[str | None, float, float]]:
    return [
        (turn.speaker.name if turn.speaker else None, round(turn.start_s, 1), round(turn.end_s, 1))
        for turn in all_turns
        if turn.over
    ]


def test_somebody_is_named_soon_and_looked_at_less_often_later(voices: Voices) -> None:
    heard = found(voices, (QUIET, 1.0), (ADA, 3.6), (QUIET, 3.0))
    assert [(turn.number, round(turn.end_s - 0.992, 2), turn.over) for turn in heard] == [
        (1, 0.77, False), (1, 1.02, False), (1, 1.28, False), (1, 1.54, False), (1, 1.79, False),
        (1, 2.05, False), (1, 2.56, False), (1, 3.07, False), (1, 3.58, False), (1, 3.58, True)
    ]  # fmt: skip
    assert {turn.speaker.name for turn in heard if turn.speaker} == {"Ada"}
    assert {round(turn.start_s, 2) for turn in heard} == {0.99}
    # A second and a half at most, whatever has been said before.
    assert voices.embedded == [0.768, 1.024, 1.28, *[1.504] * 6]


def test_a_quiet_room_is_never_embedded(voices: Voices) -> None:
    assert found(voices, (QUIET, 600.0)) == []
    assert voices.embedded == []


class Alike(Voices):
    """Voices that are Ada's to the degree that the samples say, in one way or, below 0, another."""

    def embed(self, samples: FloatArray) -> FloatArray:
        share = float(np.mean(samples))
        rest = np.sqrt(1.0 - share**2)
        return np.array([abs(share), 0.0, rest * (share < 0), rest * (share > 0)], np.float32)


@pytest.mark.parametrize(
    ("first", "later", "expected"),
    [
        (0.95, 0.95, ["Ada", "Ada"]),
        # Of 18 that a name takes, and 14 at one comparison, it is kept from 11 on.
        (0.85, 0.85, [None, None]),
        (0.95, 0.70, ["Ada", "Ada"]),
        (0.95, 0.02, ["Ada", None]),
    ],
)
def test_a_name_is_kept_with_less_than_it_takes(
    monkeypatch: pytest.MonkeyPatch, first: float, later: float, expected: list[str | None]
) -> None:
    monkeypatch.setattr(module, "SpeechDetector", Detector)
    finder = module.TurnFinder(cast(Engine, Alike()), [Profile.begin("Ada")])
    names: list[str | None] = []
    for share, seconds in ((first, 1.0), (later, 8.0)):
        blocks = [replace(b, samples=b.samples * np.float32(share)) for b in said((1, seconds))]
        heard = [turn for block in blocks for turn in finder.feed(block)]
        names.append(heard[-1].speaker.name if heard[-1].speaker else None)
    assert names == expected


@pytest.mark.parametrize(("share", "expected"), [(-0.6, [1]), (-0.4, [1, 2])])
def test_a_turn_goes_on_while_it_is_like_the_person_whose_it_is(
    monkeypatch: pytest.MonkeyPatch, share: float, expected: list[int]
) -> None:
    # Both are unlike the turn so far, by a cosine below 0.4.
    monkeypatch.setattr(module, "SpeechDetector", Detector)
    finder = module.TurnFinder(cast(Engine, Alike()), [Profile.begin("Ada")])
    blocks = [
        replace(block, samples=block.samples * np.float32(each))
        for each, seconds in ((0.92, 3.0), (0.0, 1.0), (share, 0.8), (0.0, 3.0))
        for block in said((1, seconds))
    ]
    assert sorted({turn.number for block in blocks for turn in finder.feed(block)}) == expected


def test_a_kept_name_is_of_low_confidence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SpeechDetector", Detector)
    finder = module.TurnFinder(cast(Engine, Alike()), [Profile.begin("Ada")])
    heard = [
        turn
        for share, seconds in ((0.99, 1.0), (0.60, 8.0))
        for block in said((1, seconds))
        for turn in finder.feed(replace(block, samples=block.samples * np.float32(share)))
    ]
    assert heard[-1].speaker is not None
    assert heard[-1].speaker.accepted
    assert heard[-1].confidence is Confidence.LOW


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([(ADA, 3.0), (BEA, 3.0)], [("Ada", 0.0, 3.3), ("Bea", 3.3, 6.0)]),
        ([(ADA, 3.0), (STRANGER, 3.0)], [("Ada", 0.0, 3.3), (None, 3.3, 6.0)]),
        # The same voice goes on after a silence of up to two seconds.
        ([(ADA, 1.5), (QUIET, 1.8), (ADA, 1.5)], [("Ada", 0.0, 4.8)]),
        ([(ADA, 1.5), (QUIET, 2.2), (ADA, 1.5)], [("Ada", 0.0, 1.5), ("Ada", 3.7, 5.2)]),
        ([(ADA, 1.5), (QUIET, 0.8), (BEA, 1.5)], [("Ada", 0.0, 1.5), ("Bea", 2.3, 3.8)]),
        ([(STRANGER, 2.0)], [(None, 0.0, 2.0)]),
        # Too little to tell anybody by, alone; of the turn before, it is its end.
        ([(ADA, 0.5), (QUIET, 3.0)], []),
        ([(ADA, 0.8), (QUIET, 3.0)], [("Ada", 0.0, 0.8)]),
        ([(QUIET, 5.0)], []),
    ],
)
def test_turns(
    voices: Voices,
    parts: list[tuple[int, float]],
    expected: list[tuple[str | None, float, float]],
) -> None:
    assert over(found(voices, *parts)) == expected


def test_a_cough_of_another_voice_is_no_turn(voices: Voices) -> None:
    heard = found(voices, (ADA, 3.0), (BEA, 0.3), (ADA, 3.0))
    assert over(heard) == [("Ada", 0.0, 6.3)]


def test_a_stream_that_breaks_off_ends_the_turn(voices: Voices) -> None:
    group = [Profile.begin("Ada")]
    finder = module.TurnFinder(cast(Engine, voices), group)
    for block in said((ADA, 2.0)):
        finder.feed(block)
    (ended,) = (turn for turn in finder.feed(next(said((ADA, 0.1), lost=100))) if turn.over)
    assert (ended.number, round(ended.end_s, 1)) == (1, 2.0)
    assert finder.finish() == []


@pytest.mark.parametrize("names", [[], ["Ada", "Unready"]])
def test_everybody_of_the_group_must_be_enrolled(voices: Voices, names: list[str]) -> None:
    with pytest.raises(ProfileError):
        module.TurnFinder(cast(Engine, voices), [Profile.begin(name) for name in names])


def test_rttm_has_no_space_in_a_field() -> None:
    match = SpeakerMatch("1", "Ada of  Ockham", 0.8, 9.0, 4.0)
    some = [
        Turn(1, 0.5, 2.75, match, Confidence.HIGH, over=True),
        Turn(2, 3.0, 4.0, None, Confidence.LOW, over=True),
    ]
    assert [rttm_line("an evening", turn) for turn in some] == [
        "SPEAKER an_evening 1 0.500 2.250 <NA> <NA> Ada_of_Ockham <NA> <NA>\n",
        "SPEAKER an_evening 1 3.000 1.000 <NA> <NA> unknown <NA> <NA>\n",
    ]


def test_of_a_file_the_last_block_may_be_short(voices: Voices, tmp_path: Path) -> None:
    blocks = [*said((ADA, 1.6)), AudioBlock(np.full(100, ADA, np.float32), 1.6, 1.6)]
    group = [Profile.begin("Ada")]
    assert over(list(turns(cast(Engine, voices), group, iter(blocks)))) == [("Ada", 0.0, 1.6)]

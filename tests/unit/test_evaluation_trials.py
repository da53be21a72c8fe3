"""Folders become trials: who is enrolled, what is tested, and of which kind each trial is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.errors import InputError
from edge.evaluation import trials
from edge.evaluation.corpus import CorpusFile, Spoken, find_items, refusals
from edge.evaluation.trials import score, split
from edge.recognition import Analysis
from edge.types import Quality, ReasonCode
from tests.unit.scoring import PHRASE_CURVE, VOICE_CURVE, plain_scorer

ENGINE: Any = SimpleNamespace(
    models=SimpleNamespace(
        speaker=SimpleNamespace(sha256="1" * 64), phrase=SimpleNamespace(sha256="2" * 64)
    ),
    scorer=plain_scorer(dimensions=3),
)
DIRECTIONS = {"ada": 0, "grace": 1, "guest": 2}


def spoken(speaker: str, phrase: str, number: int, refusal: ReasonCode | None = None) -> Spoken:
    path = Path(speaker) / phrase / f"{number}.wav"
    voice = np.zeros(3, dtype=np.float32)
    voice[DIRECTIONS[speaker]] = 1.0
    quality = Quality(-20.0, -60.0, 40.0, 0.0, 1.0)
    said = np.full((4, 2), float(len(phrase)), dtype=np.float32)
    analysis = Analysis(voice, said if phrase else None, quality, {})
    return Spoken(CorpusFile(path, speaker, phrase, ""), analysis, refusal)


def several(count: int, speaker: str, phrase: str = "") -> list[Spoken]:
    return [spoken(speaker, phrase, number) for number in range(count)]


@pytest.fixture(autouse=True)
def phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phrases are right or wrong by their length: no model is needed to count trials."""

    def near(_engine: Any, profiles: Any, analyses: Any, _track: Any) -> np.ndarray:
        said = np.asarray([one.phrase_embedding[0, 0] for one in analyses])
        own = np.asarray([one.samples[0].phrase_embedding[0, 0] for one in profiles])
        return np.where(own[:, None] == said, 3.0, 0.2)

    monkeypatch.setattr(trials, "phrase_scores", near)


def test_voices() -> None:
    parts = split([*several(5, "ada"), *several(4, "grace"), *several(2, "guest")], 3)
    assert [own[0].item.speaker for own in parts.enrolled] == ["ada", "grace"]
    found = score(ENGINE, parts)
    assert found.people == ("ada", "grace", "guest")
    # Two profiles against 2 + 1 + 2 recordings; who has too few is tested as a stranger.
    assert (found.kind == "target").sum() == 3
    assert (found.kind == "impostor").sum() == 7
    assert found.scores[found.target].min() == pytest.approx(30.0 - 9.0)
    assert found.scores[~found.target].max() == pytest.approx(-9.0)
    assert found.nontarget_kinds == ("impostor",)


def test_four_kinds_of_phrase_trials() -> None:
    every = [
        *several(4, "ada", "Open  the door"),
        *several(4, "ada", "Good night"),
        *several(5, "grace", "open the Door"),
        *several(1, "guest", "something else"),
    ]
    found = score(ENGINE, split(every, 3))
    counts = {kind: int((found.kind == kind).sum()) for kind in ("TC", "TW", "IC", "IW")}
    # Profiles: Ada's two and Grace's one. Tests: 1 + 1 of Ada's, 2 of Grace's, 1 of the guest's.
    assert counts == {"TC": 4, "TW": 2, "IC": 3, "IW": 6}
    assert found.nontarget_kinds == ("IC", "TW", "IW")
    assert found.against("IC").nontarget_kinds == ("IC",)
    own = found.owner == found.speaker
    assert set(found.kind[own]) == {"TC", "TW"}
    assert set(found.kind[~own]) == {"IC", "IW"}


def test_a_joint_score_is_as_good_as_its_worse_part() -> None:
    found = score(ENGINE, split([*several(4, "ada", "a"), *several(4, "grace", "bb")], 3))
    # The right voice is surer than the right phrase; the wrong voice is worse than the phrase.
    assert VOICE_CURVE.rarity(21.0) > PHRASE_CURVE.rarity(3.0)
    assert VOICE_CURVE.rarity(-9.0) < PHRASE_CURVE.rarity(0.2)
    expected = {"TC": PHRASE_CURVE.rarity(3.0), "IW": VOICE_CURVE.rarity(-9.0)}
    for kind, score_of_it in expected.items():
        assert found.scores[found.kind == kind] == pytest.approx(score_of_it, abs=1e-3)


def test_no_recording_is_enrolled_and_tested() -> None:
    parts = split([*several(6, "ada"), *several(4, "grace")], 2)
    enrolled = {one.item.path for own in parts.enrolled for one in own}
    tested = {one.item.path for one in parts.tested}
    assert not enrolled & tested
    assert len(enrolled | tested) == 10


@pytest.mark.parametrize(
    "too_few",
    [[], several(9, "ada"), [*several(3, "ada"), *several(3, "grace")]],
    ids=["nothing", "one person", "nothing left to test"],
)
def test_too_little_says_what_it_takes(too_few: list[Spoken]) -> None:
    with pytest.raises(InputError, match="takes two people and more than 3 recordings"):
        split(too_few, 3)


def test_both_layouts_are_found_and_nothing_else(tmp_path: Path) -> None:
    for name in (
        "ada/1.wav",
        "ada/2.FLAC",
        "ada/.hidden.wav",
        ".trash/1.wav",
        "ada/notes.txt",
        "loose.wav",
        "grace/phrase/calm_1.flac",
        "grace/phrase/too/deep.wav",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    items = find_items(tmp_path)
    assert [(item.speaker, item.phrase, item.path.name) for item in items] == [
        ("ada", "", "1.wav"),
        ("ada", "", "2.FLAC"),
        ("grace", "phrase", "calm_1.flac"),
    ]
    assert items[2].style == "calm"


def test_folders_without_recordings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recordings"):
        find_items(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_items(tmp_path / "absent")


def test_refusals_by_reason() -> None:
    judged = [*several(3, "ada"), spoken("ada", "", 9, ReasonCode.TOO_NOISY)]
    items = [one.item for one in judged] + [CorpusFile(Path("x"), "ada", "", "")] * 3
    assert refusals(items, judged, unreadable=2) == {
        "too_noisy": 1,
        "no speech found": 1,
        "cannot be read": 2,
    }

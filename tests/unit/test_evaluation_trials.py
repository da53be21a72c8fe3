"""Folders become trials: who is enrolled, what is tested, and of which kind each trial is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.config import Config, RecognitionConfig
from edge.errors import InputError
from edge.evaluation import trials
from edge.evaluation.corpus import CorpusFile, Spoken, find_items, refusals
from edge.evaluation.trials import score, split
from edge.evaluation.turned_away import circumstances, not_judged, turned_away
from edge.recognition import Analysis
from edge.types import Quality, ReasonCode
from tests.unit.scoring import PHRASE_CURVE, VOICE_CURVE, plain_scorer

BY_TWO = (np.zeros(3, np.float32),)
"""Stretches of what is by two voices."""
ENGINE: Any = SimpleNamespace(
    is_one_voice=lambda _profile, analysis: analysis.stretches is not BY_TWO,
    models=SimpleNamespace(
        speaker=SimpleNamespace(sha256="1" * 64), phrase=SimpleNamespace(sha256="2" * 64)
    ),
    scorer=plain_scorer(dimensions=3),
    config=Config(),
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


LOUD = Quality(-20.0, -60.0, 40.0, 0.0, 1.5)


def altered(one: Spoken, **parts: Any) -> Spoken:
    """A recording whose analysis has other parts."""
    return replace(one, analysis=replace(one.analysis, **{"quality": LOUD, **parts}))


def test_who_was_turned_away_in_which_recording_and_why() -> None:
    own = several(8, "ada", "Open")
    other_voice, other_phrase = np.eye(3, dtype=np.float32)[1], np.zeros((4, 2), np.float32)
    faint = replace(LOUD, level_dbfs=-60.0, snr_db=7.6, net_speech_s=0.64)
    overdriven = replace(LOUD, clipped_fraction=0.013)
    tested = [
        altered(own[3]),
        altered(own[4], speaker_embedding=other_voice),
        altered(own[5], phrase_embedding=other_phrase, quality=faint),
        altered(own[6], phrase_embedding=other_phrase, speaker_embedding=other_voice),
        altered(own[7], phrase_embedding=other_phrase, quality=overdriven),
    ]
    parts = split([*own[:3], *tested, *several(4, "grace", "Open")], 3)
    threshold = 0.5 * float(PHRASE_CURVE.rarity(3.0))
    found = turned_away(ENGINE, parts, score(ENGINE, parts), threshold)
    assert [(one.person, one.recording, one.reason, one.why) for one in found] == [
        ("ada", "Open/4.wav", "voice", "the voice did not match"),
        (
            "ada",
            "Open/5.wav",
            "phrase",
            (
                "the phrase did not match (noise: speech stands only 8 dB above it, level: faint,"
                " -60 dB, short: 0.6 s of speech)"
            ),
        ),
        ("ada", "Open/6.wav", "voice_and_phrase", "the voice and phrase did not match"),
        (
            "ada",
            "Open/7.wav",
            "phrase",
            "the phrase did not match (level: overdriven, 1.3% at full scale)",
        ),
    ]


def test_a_phrase_of_which_another_voice_says_a_part_is_turned_away() -> None:
    own = several(5, "ada", "Open")
    parts = split([*own[:4], altered(own[4], stretches=BY_TWO), *several(4, "grace", "Open")], 3)
    found = score(ENGINE, parts)
    good, mixed = found.scores[found.target & (found.owner == 0)]
    assert (good > 5.0, mixed) == (True, 0.0)
    reasons = [
        (one.recording, one.reason) for one in turned_away(ENGINE, parts, found, float(good))
    ]
    assert reasons == [("Open/4.wav", "voice")]


def test_a_voice_is_turned_away_for_its_voice() -> None:
    own = several(4, "ada")
    tested = altered(own[3], speaker_embedding=np.eye(3, dtype=np.float32)[1])
    parts = split([*own[:3], tested, *several(4, "grace")], 3)
    found = turned_away(ENGINE, parts, score(ENGINE, parts), 5.0)
    assert [(one.recording, one.reason) for one in found] == [("3.wav", "voice")]


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        ({}, []),
        ({"snr_db": 15.0, "level_dbfs": -49.0, "net_speech_s": 1.0, "clipped_fraction": 0.0}, []),
        ({"snr_db": 14.9}, ["noise: speech stands only 15 dB above it"]),
        ({"reverberation_s": 0.6}, ["echo of 0.6 s"]),
        ({"reverberation_s": 0.59}, []),
        ({"level_dbfs": -49.1}, ["level: faint, -49 dB"]),
        ({"clipped_fraction": 0.002}, ["level: overdriven, 0.2% at full scale"]),
        ({"net_speech_s": 0.9}, ["short: 0.9 s of speech"]),
    ],
)
def test_what_makes_a_recording_hard(measured: dict[str, float], words: list[str]) -> None:
    config = RecognitionConfig(min_level_dbfs=-55.0)
    assert circumstances(replace(LOUD, **measured), config) == words


def test_what_could_not_be_judged() -> None:
    noisy = spoken("grace", "Open", 2, ReasonCode.TOO_NOISY)
    found = not_judged(
        [*several(2, "ada", "Open"), replace(noisy, analysis=altered(noisy).analysis)],
        [CorpusFile(Path("ada/Open/9.wav"), "ada", "Open", "")],
        RecognitionConfig(min_snr_db=50.0),
    )
    assert [(one.person, one.recording, one.reason, one.why) for one in found] == [
        ("ada", "Open/9.wav", "no_speech", "no speech was found"),
        (
            "grace",
            "Open/2.wav",
            "too_noisy",
            "too noisy (speech stands 40 dB above the noise, at least 50 needed)",
        ),
    ]

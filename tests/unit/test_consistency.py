"""One voice in all of an utterance: the parts of two people are refused, whole sayings are not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge.access.decider import Decider
from edge.audio.utterance import utterance_of
from edge.config import Config
from edge.errors import EnrollmentRejected
from edge.recognition import Engine
from edge.recognition.consistency import UNEVEN, embed_stretches, evenness, refused_below
from edge.recognition.results import Analysis
from edge.types import FloatArray, Profile, ReasonCode, SpeakerMatch, Utterance
from tests.unit.judgments import QUALITY
from tests.unit.voices import recording
from tools.acoustics.splices import spliced

ADA, STRANGER = "ada_right_phrase", "stranger_adas_phrase"


def by(*parts: str, cuts: Sequence[float] = ()) -> Utterance:
    return utterance_of(spliced([recording(part) for part in parts], cuts))


MIXED = [
    pytest.param((ADA, STRANGER), (0.5,), id="the stranger ends"),
    pytest.param((ADA, STRANGER, ADA), (0.4, 0.6), id="the stranger in the middle"),
]


@pytest.mark.parametrize(("parts", "cuts"), MIXED)
def test_a_phrase_by_two_people_is_refused(
    engine: Engine, ada: Profile, parts: tuple[str, ...], cuts: tuple[float, ...]
) -> None:
    utterance = by(*parts, cuts=cuts)
    heard = engine.with_stretches(utterance, engine.analyze(utterance))
    (voice,) = engine.match_speakers([ada], engine.without_echo(utterance, heard))
    assert voice.accepted  # as a whole it is near enough
    found = engine.verify(ada, utterance)
    assert found.reason is ReasonCode.UNKNOWN_SPEAKER
    assert found.phrase is not None
    assert found.phrase.accepted
    decision = Decider(engine, Config()).decide(utterance, [ada]).decision
    assert decision.reason is ReasonCode.UNKNOWN_SPEAKER
    assert (decision.name, decision.profile_id) == (None, None)
    assert decision.scores["voice"] < decision.scores["voice_threshold"]


def test_a_repetition_by_two_people_is_not_enrolled(engine: Engine, ada: Profile) -> None:
    begun = replace(ada, samples=ada.samples[:2])
    with pytest.raises(EnrollmentRejected, match="not the voice"):
        engine.enroll(begun, by(ADA, STRANGER, cuts=(0.5,)))
    engine.enroll(begun, by(ADA, ADA, cuts=(0.5,)))


def test_the_whole_phrase_by_its_owner_is_not(engine: Engine, ada: Profile) -> None:
    """Cut and joined in the same place, it still passes, and scores what it did."""
    utterance = by(ADA, ADA, cuts=(0.5,))
    heard = engine.with_stretches(utterance, engine.analyze(utterance))
    (voice,) = engine.match_speakers([ada], heard)
    found = engine.verify(ada, utterance)
    assert found.accepted
    assert found.speaker == voice


def test_a_voice_that_is_uneven_for_its_echo_is_looked_at_without_it(
    engine: Engine, ada: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = math.inf, UNEVEN

    def found(_engine: Engine, _profile: Profile, analysis: Analysis) -> float:
        return echo[analysis.without_echo is None]

    monkeypatch.setattr(Engine, "_evenness_of", found)
    assert engine.verify(ada, recording(ADA)).accepted
    assert Decider(engine, Config()).decide(recording(ADA), [ada]).decision.granted
    echo = UNEVEN, UNEVEN
    assert engine.verify(ada, recording(ADA)).reason is ReasonCode.UNKNOWN_SPEAKER
    assert not Decider(engine, Config()).decide(recording(ADA), [ada]).decision.granted


def test_who_enrolled_before_there_were_stretches_is_compared_as_a_whole(
    engine: Engine, ada: Profile
) -> None:
    before = replace(ada, samples=tuple(replace(one, stretches=()) for one in ada.samples))
    assert engine.verify(before, by(ADA, STRANGER, cuts=(0.5,))).accepted
    assert engine.verify(before, recording(ADA)).accepted


ORIGIN = np.zeros(2, np.float32)


def voices(*angles: float) -> tuple[FloatArray, ...]:
    """Voices in a plane, by their angle in degrees."""
    rad = np.radians(angles)
    return tuple(np.stack((np.cos(rad), np.sin(rad)), axis=1).astype(np.float32))


@pytest.mark.parametrize(
    ("similarities", "said", "expected"),
    [
        ((1.0, 1.0, 1.0), (0, 0, 0), 0.5 + 0.4),
        ((0.6, 0.6, 0.6), (0, 0, 0), 0.3 + 0.4),  # far, but evenly
        ((1.0, 1.0, 0.5), (0, 90, 60), 0.0 + 0.4 * 0.5),
        ((0.9, 0.1, 0.9), (0, 0, 0), 0.1 - 0.45 + 0.4),
        ((-1.0, 0.0, 1.0), (0, 0, 180), UNEVEN),
    ],
)
def test_how_even_a_voice_is(
    similarities: tuple[float, ...], said: tuple[float, ...], expected: float
) -> None:
    found = evenness(np.asarray(similarities, np.float32), voices(*said), ORIGIN)
    assert found == pytest.approx(expected, abs=1e-6)


def test_what_voices_have_in_common_makes_no_stretch_like_another() -> None:
    """Without it 0 and 90 degrees are 180 apart."""
    center = np.full(2, 0.5, np.float32)
    found = evenness(np.ones(3, np.float32), voices(0, 0, 90), center)
    assert found == pytest.approx(0.5 - 0.4, abs=1e-6)


@pytest.mark.parametrize(
    ("found", "score"), [(0.3, 5.0), (0.2, 5.0), (0.19, 1.7), (0.1, -1.0), (-0.3, -13.0)]
)
def test_what_a_voice_is_worth_below_the_limit(found: float, score: float) -> None:
    """It is refused by as much as is missing."""
    voice = SpeakerMatch("an id", "Ada", 0.8, 5.0, 2.0)
    kept = refused_below(voice, found, 0.2, 30.0)
    assert kept.score == pytest.approx(score)
    assert kept.accepted is (found >= 0.2)
    assert replace(kept, score=5.0) == voice


def test_a_voice_that_was_refused_gets_no_nearer() -> None:
    voice = SpeakerMatch("an id", "Ada", 0.8, -5.0, 2.0)
    assert refused_below(voice, 0.19, 0.2, 30.0) == voice


@pytest.mark.parametrize(("seconds", "count"), [(0.2, 3), (0.19, 0)])
def test_the_stretches_of_an_utterance(seconds: float, count: int) -> None:
    heard: list[tuple[float, int]] = []

    class Embedder:
        def embed(self, samples: FloatArray) -> FloatArray:
            heard.append((float(samples[0]), len(samples)))
            return samples[:2]

    samples = np.arange(round((seconds + 0.5) * 16_000), dtype=np.float32)
    utterance = Utterance(samples, 0.0, seconds + 0.25, QUALITY, lead_s=0.25)
    embedder: Any = Embedder()
    assert len(embed_stretches(embedder, utterance)) == count == len(heard)
    if count:
        assert heard == [(4_000.0, 1_600), (4_800.0, 1_600), (5_600.0, 1_600)]


def test_a_splice_is_cut_where_it_is_quiet_and_brought_to_one_level() -> None:
    """Two tones with a gap of 30 ms each, 50 ms from the middle, the second one half as loud."""

    def tone(hertz: float, level: float, gap_s: float) -> Utterance:
        time = np.arange(32_000) / 16_000
        samples = level * np.sin(2.0 * np.pi * hertz * time)
        samples[(time < 0.5) | (time >= 1.5) | (np.abs(time - gap_s) < 0.015)] = 0.0
        return Utterance(samples.astype(np.float32), 0.0, 1.5, QUALITY, lead_s=0.5)

    one, other = tone(500.0, 0.2, 0.95), tone(1_000.0, 0.1, 1.05)
    samples = spliced([one, other], [0.5])
    assert np.array_equal(samples[:14_800], one.samples[:14_800])
    rest = other.samples[-12_000:] * np.float32(2.0)
    assert samples[-12_000:] == pytest.approx(rest, abs=2e-3)
    assert len(samples) == pytest.approx(32_000 - 1_600 - 160, abs=330)

"""One voice in all of an utterance: the parts of two people are refused, whole sayings are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from edge.access.decider import Decider
from edge.audio.utterance import utterance_of
from edge.config import Config
from edge.recognition import Engine
from edge.types import Profile, ReasonCode, Utterance
from tests.unit.voices import recording
from tools.acoustics.splices import spliced

ADA, STRANGER = "ada_right_phrase", "stranger_adas_phrase"


def by(*parts: str, cuts: Sequence[float] = ()) -> Utterance:
    return utterance_of(spliced([recording(part) for part in parts], cuts))


MIXED = [
    pytest.param((ADA, STRANGER), (0.5,), id="the stranger ends"),
    pytest.param((ADA, STRANGER, ADA), (0.33, 0.67), id="the stranger in the middle"),
]


@pytest.mark.parametrize(("parts", "cuts"), MIXED)
def test_a_phrase_by_two_people_is_refused(
    engine: Engine, ada: Profile, parts: tuple[str, ...], cuts: tuple[float, ...]
) -> None:
    utterance = by(*parts, cuts=cuts)
    (voice,) = engine.match_speakers([ada], engine.analyze(utterance))
    assert voice.accepted  # as a whole it is near enough
    found = engine.verify(ada, utterance)
    assert found.reason is ReasonCode.UNKNOWN_SPEAKER
    assert found.phrase is not None
    assert found.phrase.accepted
    decision = Decider(engine, Config()).decide(utterance, [ada]).decision
    assert decision.reason is ReasonCode.UNKNOWN_SPEAKER
    assert (decision.name, decision.profile_id) == (None, None)
    assert decision.scores["voice"] < decision.scores["voice_threshold"]


def test_the_whole_phrase_by_its_owner_is_not(engine: Engine, ada: Profile) -> None:
    """Cut and joined in the same place, it still passes, and scores what it did."""
    utterance = by(ADA, ADA, cuts=(0.5,))
    (voice,) = engine.match_speakers([ada], engine.analyze(utterance))
    found = engine.verify(ada, utterance)
    assert found.accepted
    assert found.speaker == voice


def test_who_enrolled_before_there_were_stretches_is_compared_as_a_whole(
    engine: Engine, ada: Profile
) -> None:
    before = replace(ada, samples=tuple(replace(one, stretches=()) for one in ada.samples))
    assert engine.verify(before, by(ADA, STRANGER, cuts=(0.5,))).accepted
    assert engine.verify(before, recording(ADA)).accepted

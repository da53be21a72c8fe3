"""Messages of who speaks, from turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from edge.recognition import Engine
from edge.recognition.speaker_messages import SpeakerMessages, identifiable
from edge.recognition.turns import Turn
from edge.types import AccessRule, Confidence, Profile, ProfileKind, SpeakerMatch
from tests.contract import complaint

_NOW = 1_772_366_410.0
"""2026-03-01T12:00:10Z."""
ADA = SpeakerMatch("0f8fad5b-d9cb-469f-a165-70867728950e", "Ada", 0.8, 20.0, 8.0)
BEA = SpeakerMatch("7c9e6679-7425-40de-944b-e07fc1f90ae7", "Bea", 0.7, 12.0, 8.0)


def turn(number: int, start_s: float, end_s: float, who: SpeakerMatch | None, **more: Any) -> Turn:
    return Turn(number, start_s, end_s, who, **{"confidence": Confidence.NORMAL, **more})


def told(messages: SpeakerMessages, turns: Sequence[Turn], heard_s: float) -> list[dict[str, Any]]:
    """The messages of some turns, each held against its schema."""
    found = messages.add(turns, heard_s, _NOW)
    for message in found:
        assert complaint(message.suffix, message.content) is None
    return [{"topic": message.suffix, **message.content} for message in found]


def test_a_turn_is_told_while_it_goes_on() -> None:
    messages = SpeakerMessages()
    assert told(messages, [], 0.5) == []
    assert not messages.speaking
    assert told(messages, [turn(3, 1.0, 2.0, ADA)], 2.1) == [
        {
            "topic": "speaker",
            "time": "2026-03-01T12:00:10.000Z",
            "state": "speaking",
            "turn": 1,
            "profile_id": ADA.profile_id,
            "name": "Ada",
            "confidence": "normal",
            "length_s": 1.0,
        }
    ]
    assert messages.speaking
    (later,) = told(messages, [turn(3, 1.0, 2.5, ADA, confidence=Confidence.HIGH)], 2.6)
    assert (later["turn"], later["confidence"], later["length_s"]) == (1, "high", 1.5)


def test_nothing_is_told_of_how_near_a_stranger_was() -> None:
    (message,) = told(SpeakerMessages(), [turn(1, 0.0, 1.0, None)], 1.0)
    assert [message[name] for name in ("profile_id", "name", "confidence")] == [None] * 3


def test_silence_and_a_summary_follow_once_everything_is_over() -> None:
    messages = SpeakerMessages()
    ada = turn(1, 1.0, 3.0, ADA)
    bea = turn(2, 3.5, 4.5, BEA, confidence=Confidence.LOW)
    stranger = turn(3, 5.0, 5.75, None)
    again = turn(4, 6.0, 7.0, ADA, confidence=Confidence.LOW)
    told(messages, [ada], 3.0)
    changed = told(messages, [replace(ada, over=True), bea], 4.6)
    assert [(each["topic"], each["name"]) for each in changed] == [("speaker", "Bea")]
    told(messages, [replace(bea, over=True), stranger], 6.0)
    told(messages, [replace(stranger, over=True), again], 7.0)
    silence, summary = told(messages, [replace(again, over=True)], 9.0)
    assert silence == {
        "topic": "speaker",
        "time": "2026-03-01T12:00:10.000Z",
        "state": "silent",
    }
    assert summary == {
        "topic": "utterance",
        "started_at": "2026-03-01T12:00:02.000Z",
        "length_s": 6.0,
        "speakers": [
            {**_who(ADA), "confidence": "normal", "length_s": 3.0},
            {**_who(BEA), "confidence": "low", "length_s": 1.0},
        ],
        "unknown_s": 0.75,
    }
    assert not messages.speaking


def test_a_turn_that_is_over_at_once_is_in_a_summary() -> None:
    """The rest of a recording, or what was said right before listening ended."""
    ada = turn(1, 0.0, 0.75, ADA)
    topics = [
        each["topic"] for each in told(SpeakerMessages(), [ada, replace(ada, over=True)], 0.8)
    ]
    assert topics == ["speaker", "speaker", "utterance"]


def test_the_name_of_a_turn_is_the_last_one() -> None:
    messages = SpeakerMessages()
    told(messages, [turn(1, 0.0, 1.0, None)], 1.0)
    told(messages, [turn(1, 0.0, 1.5, BEA)], 1.5)
    _, summary = told(messages, [turn(1, 0.0, 2.0, ADA, over=True)], 4.0)
    assert [each["name"] for each in summary["speakers"]] == ["Ada"]
    assert summary["unknown_s"] == 0.0


def test_the_next_utterance_begins_anew() -> None:
    messages = SpeakerMessages()
    told(messages, [turn(1, 0.0, 1.0, ADA, over=True)], 3.0)
    told(messages, [turn(2, 5.0, 6.0, BEA)], 6.0)
    _, summary = told(messages, [turn(2, 5.0, 6.5, BEA, over=True)], 8.5)
    assert summary["started_at"] == "2026-03-01T12:00:06.500Z"
    assert [each["name"] for each in summary["speakers"]] == ["Bea"]


def test_turns_are_counted_on_where_a_finder_begins_anew() -> None:
    messages = SpeakerMessages()
    told(messages, [turn(1, 0.0, 1.0, ADA)], 1.0)
    told(messages, [turn(1, 0.0, 1.0, ADA, over=True), turn(2, 1.0, 2.0, BEA)], 2.0)
    told(messages, [turn(2, 1.0, 2.0, BEA, over=True)], 4.0)
    (message,) = told(messages, [turn(1, 0.0, 1.0, ADA)], 1.0)
    assert message["turn"] == 3


def test_a_microphone_is_named_in_each_message() -> None:
    messages = SpeakerMessages("kitchen")
    found = told(messages, [turn(1, 0.0, 1.0, ADA), turn(1, 0.0, 1.0, ADA, over=True)], 3.0)
    assert [each["microphone"] for each in found] == ["kitchen"] * 3


def test_who_can_be_told() -> None:
    class OneModel:
        def fits(self, profile: Profile) -> bool:
            return profile.speaker_model != "another"

    def person(name: str, **changes: Any) -> Profile:
        return replace(Profile.begin(name, required=0), **changes)

    profiles = [
        person("with a phrase"),
        person("by voice", kind=ProfileKind.VOICE),
        person("disabled", rule=AccessRule(enabled=False)),
        person("a duress phrase", duress_of="another id"),
        person("not whole", required=3),
        person("not confirmed", confirmed=False),
        person("of another model", speaker_model="another"),
    ]
    found = identifiable(cast(Engine, OneModel()), profiles)
    assert [each.name for each in found] == ["with a phrase", "by voice", "disabled"]


def _who(match: SpeakerMatch) -> dict[str, str]:
    return {"profile_id": match.profile_id, "name": match.name}

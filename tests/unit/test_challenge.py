"""The challenge: who has to answer, what counts as an answer, and what opens the door."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from edge.access.decider import Decider, Judgment
from edge.challenge.challenge import Challenge, DigitStrings, Prompt
from edge.challenge.rounds import DigitRound
from edge.config import ChallengeConfig, Config
from edge.errors import StoreError
from edge.recognition import Engine
from edge.types import AccessRule, Outcome, Profile, ReasonCode, Utterance
from tests.unit.spoken_digits import ADA, ROBIN, answer, needs_flite, passphrase, person, rounds

pytestmark = needs_flite


@pytest.fixture(scope="module")
def ada(engine: Engine) -> Profile:
    return person(engine)


@pytest.fixture(scope="module")
def enrolled(engine: Engine, ada: Profile) -> list[DigitRound]:
    return rounds(engine, ada)


def spoken_now(utterance: Utterance, after_s: float = 0.0) -> Utterance:
    """The utterance as if just recorded, moved by `after_s` in the stream."""
    duration = utterance.duration_s
    return replace(
        utterance,
        start_s=utterance.start_s + after_s,
        end_s=utterance.end_s + after_s,
        speech_ended_at=time.monotonic() + duration,
        closed_at=time.monotonic() + duration + 0.6,
    )


class Door:
    """A challenge, a decider and the prompts they show."""

    def __init__(
        self,
        engine: Engine,
        people: Sequence[Profile],
        enrolled: Any,
        hour: int = 12,
        speak: Any = None,
        **settings: Any,
    ) -> None:
        self.prompts: list[Prompt | None] = []
        config = ChallengeConfig(**{"required": "always", **settings})
        digits = enrolled if callable(enrolled) else lambda _: enrolled
        self.challenge = Challenge(
            config,
            engine,
            digits,
            self.prompts.append,
            speak=speak,
            now=lambda: datetime(2026, 1, 5, hour, 30, tzinfo=timezone.utc),
        )
        self.people = people
        self.challenge.use(people)
        self.decider = Decider(engine, Config())

    def passphrase(self, voice: str = ADA) -> Judgment:
        judgment = self.decider.decide(passphrase(voice), self.people)
        assert judgment.decision.outcome is Outcome.GRANTED
        return self.challenge.review(judgment)

    @property
    def asked(self) -> tuple[int, ...]:
        prompt = self.prompts[-1]
        assert prompt is not None
        return tuple(int(digit) for digit in prompt.digits)

    def say(self, digits: Sequence[int], voice: str = ADA) -> Judgment | None:
        return self.challenge.judge(spoken_now(answer(digits, voice), 60.0))


def outcome(judgment: Judgment | None) -> tuple[str, str]:
    assert judgment is not None
    return judgment.decision.outcome.value, judgment.decision.reason.value


def test_right_digits_in_the_right_voice_open(
    engine: Engine, ada: Profile, enrolled: list[DigitRound]
) -> None:
    door = Door(engine, [ada], enrolled)
    first = door.passphrase()
    assert outcome(first) == ("denied", "challenge_asked")
    assert door.challenge.pending
    prompt = door.prompts[-1]
    assert prompt is not None
    assert len(set(prompt.digits)) == 4
    assert prompt.expires_at == pytest.approx(time.time() + 10.0, abs=1.0)
    opened = door.say(door.asked)
    assert opened is not None
    assert outcome(opened) == ("granted", "accepted")
    assert opened.decision.profile_id == ada.id
    assert opened.decision.id != first.decision.id
    assert opened.decision.time > first.decision.time
    assert opened.decision.scores["answer_margin"] > 0.0
    assert not door.challenge.pending
    assert door.prompts[-1] is None
    assert door.challenge.review(opened) is opened, "no second challenge"


def test_the_answer_counts_once(engine: Engine, ada: Profile, enrolled: list[DigitRound]) -> None:
    door = Door(engine, [ada], enrolled)
    door.passphrase()
    asked = door.asked
    assert outcome(door.say(asked)) == ("granted", "accepted")
    assert door.say(asked) is None


def test_a_wrong_digit_and_the_attempts_run_out(
    engine: Engine, ada: Profile, enrolled: list[DigitRound]
) -> None:
    door = Door(engine, [ada], enrolled, attempts=2)
    door.passphrase()
    first = door.asked
    wrong = (*first[:3], next(d for d in range(10) if d not in first))
    assert outcome(door.say(wrong)) == ("denied", "challenge_failed")
    assert door.challenge.pending
    second = door.asked
    assert not any(one == other for one, other in zip(first, second))
    assert outcome(door.say(first)) == ("denied", "challenge_failed"), (
        "those were the digits before"
    )
    assert not door.challenge.pending
    assert door.prompts[-1] is None


def test_right_digits_in_another_voice_fail(
    engine: Engine, ada: Profile, enrolled: list[DigitRound]
) -> None:
    door = Door(engine, [ada], enrolled, attempts=1)
    door.passphrase()
    assert outcome(door.say(door.asked, ROBIN)) == ("denied", "challenge_failed")
    assert not door.challenge.pending


def test_an_answer_that_never_comes_fails(
    engine: Engine,
    ada: Profile,
    enrolled: list[DigitRound],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door = Door(engine, [ada], enrolled)
    door.passphrase()
    asked = door.asked
    assert door.challenge.tick() is None
    started = time.monotonic()
    monkeypatch.setattr("edge.challenge.challenge.time.monotonic", lambda: started + 13.5)
    late = door.challenge.tick()
    assert outcome(late) == ("denied", "challenge_failed")
    assert late is not None
    assert len(late.utterance.samples) == 0
    assert door.challenge.tick() is None
    assert door.prompts[-1] is None
    assert door.say(asked) is None


def test_an_answer_that_ends_too_late_fails(
    engine: Engine, ada: Profile, enrolled: list[DigitRound]
) -> None:
    door = Door(engine, [ada], enrolled, answer_s=3.0, attempts=3)
    door.passphrase()
    right = spoken_now(answer(door.asked), 60.0)
    late = replace(right, speech_ended_at=right.speech_ended_at + 5.0)
    assert outcome(door.challenge.judge(late)) == ("denied", "challenge_failed")
    assert not door.challenge.pending


def test_the_passphrase_itself_is_not_an_answer(
    engine: Engine, ada: Profile, enrolled: list[DigitRound]
) -> None:
    door = Door(engine, [ada], enrolled)
    door.passphrase()
    assert door.challenge.judge(spoken_now(passphrase())) is None, (
        "it began before the digits were shown"
    )
    assert door.challenge.pending


def test_the_loudspeaker_is_not_an_answer(
    engine: Engine, ada: Profile, enrolled: list[DigitRound]
) -> None:
    spoken: list[str] = []

    def speak(digits: str) -> float:
        spoken.append(digits)
        return 6.0

    door = Door(engine, [ada], enrolled, speak=speak)
    door.passphrase()
    prompt = door.prompts[-1]
    assert prompt is not None
    assert spoken == [prompt.digits]
    assert prompt.expires_at == pytest.approx(time.time() + 16.3, abs=1.0)
    assert door.say(door.asked) is None
    later = spoken_now(answer(door.asked), 60.0)
    later = replace(later, speech_ended_at=later.speech_ended_at + 7.0)
    assert outcome(door.challenge.judge(later)) == ("granted", "accepted")


def test_a_poor_recording_costs_no_attempt(
    engine: Engine, ada: Profile, enrolled: list[DigitRound]
) -> None:
    door = Door(engine, [ada], enrolled, attempts=1)
    door.passphrase()
    right = spoken_now(answer(door.asked), 60.0)
    noisy = replace(right, quality=replace(right.quality, snr_db=1.0))
    assert outcome(door.challenge.judge(noisy)) == ("denied", "too_noisy")
    assert outcome(door.challenge.judge(right)) == ("granted", "accepted")


@pytest.mark.parametrize(
    ("settings", "hour", "asks"),
    [
        ({"required": "never"}, 12, False),
        ({"required": "hours", "hours": "22:00-06:00"}, 12, False),
        ({"required": "hours", "hours": "22:00-06:00"}, 23, True),
        ({"required": "hours", "hours": "22:00-06:00"}, 3, True),
        ({"required": "hours", "hours": "09:00-17:00"}, 12, True),
        ({"required": "hours", "hours": "09:00-17:00"}, 17, False),
    ],
)
def test_who_has_to_answer_when(
    engine: Engine,
    ada: Profile,
    enrolled: list[DigitRound],
    settings: dict[str, str],
    hour: int,
    asks: bool,
) -> None:
    door = Door(engine, [ada], enrolled, hour=hour, **settings)
    assert door.passphrase().decision.reason is (
        ReasonCode.CHALLENGE_ASKED if asks else ReasonCode.ACCEPTED
    )


def test_a_persons_own_rule_requires_an_answer(
    engine: Engine, ada: Profile, enrolled: list[DigitRound]
) -> None:
    careful = replace(ada, rule=AccessRule(challenge=True))
    door = Door(engine, [careful], enrolled, required="never")
    assert door.passphrase().decision.reason is ReasonCode.CHALLENGE_ASKED


@pytest.mark.parametrize("fault", ["none", "too few", "other model", "damaged"])
def test_without_digits_the_door_stays_shut(
    engine: Engine, ada: Profile, enrolled: list[DigitRound], fault: str
) -> None:
    def digits(_: str) -> list[DigitRound]:
        if fault == "damaged":
            raise StoreError("enrolled digits are damaged")
        if fault == "none":
            return []
        if fault == "too few":
            return enrolled[:2]
        return [replace(spoken, speaker_model="0" * 64) for spoken in enrolled]

    door = Door(engine, [ada], digits)
    assert outcome(door.passphrase()) == ("denied", "challenge_failed")
    assert not door.challenge.pending
    assert door.prompts == []
    assert door.challenge.policy.problem is not None
    assert "--digits" in door.challenge.policy.problem


def test_a_challenge_ends_when_the_person_is_removed(
    engine: Engine, ada: Profile, enrolled: list[DigitRound]
) -> None:
    door = Door(engine, [ada], enrolled)
    door.passphrase()
    asked = door.asked
    door.challenge.use([])
    assert not door.challenge.pending
    assert door.prompts[-1] is None
    assert door.say(asked) is None


def test_strings_differ_from_the_last_ones() -> None:
    strings = DigitStrings()
    seen: list[tuple[int, ...]] = []
    for _ in range(100):
        digits = strings.next(range(10), 4)
        assert len(set(digits)) == 4
        assert not seen or not any(a == b for a, b in zip(digits, seen[-1]))
        for earlier in seen[-32:]:
            assert sum(a != b for a, b in zip(digits, earlier)) >= 2
        seen.append(digits)
    few = [strings.next(range(4), 4) for _ in range(40)]
    assert all(
        not any(a == b for a, b in zip(one, other)) for one, other in itertools.pairwise(few)
    )


def test_missing_digits_are_reported_as_a_problem(
    engine: Engine, ada: Profile, enrolled: list[DigitRound]
) -> None:
    robin = replace(ada, id="robin", name="Robin")
    door = Door(engine, [ada, robin], lambda who: enrolled if who == ada.id else [])
    door.challenge.policy.prepare()
    assert door.challenge.policy.problem is not None
    assert "Robin" in door.challenge.policy.problem
    door.challenge.use([ada])
    assert door.challenge.policy.problem is None


def test_a_challenge_is_demanded_of_the_next_person(
    engine: Engine,
    ada: Profile,
    enrolled: list[DigitRound],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door = Door(engine, [ada], enrolled, required="never")
    policy = door.challenge.policy
    assert outcome(door.passphrase()) == ("granted", "accepted")
    assert policy.count_able() == 1
    policy.demand()
    assert policy.demanded
    assert outcome(door.passphrase()) == ("denied", "challenge_asked")
    wrong = [digit for digit in range(10) if digit not in door.asked][:4]
    assert outcome(door.say(wrong)) == ("denied", "challenge_failed")
    assert policy.demanded
    assert outcome(door.say(door.asked)) == ("granted", "accepted")
    assert not policy.demanded
    assert outcome(door.passphrase()) == ("granted", "accepted")
    # It expires.
    policy.demand()
    later = time.monotonic() + 301.0
    monkeypatch.setattr("edge.challenge.policy.time.monotonic", lambda: later)
    assert not policy.demanded


def test_a_demand_reports_no_problem_of_people_without_digits(engine: Engine, ada: Profile) -> None:
    door = Door(engine, [ada], [], required="never")
    assert door.challenge.policy.count_able() == 0
    door.challenge.policy.demand()
    assert outcome(door.passphrase()) == ("denied", "challenge_failed")
    assert door.challenge.policy.problem is None

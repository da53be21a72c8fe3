"""The challenge: who has to answer, what counts as an answer, and what opens the door."""

from __future__ import annotations

import itertools
import random
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.access.decider import Judgment
from edge.challenge.challenge import Challenge, DigitStrings, Prompt
from edge.challenge.matching import DigitScore
from edge.challenge.policy import AnswerScore
from edge.config import ChallengeConfig, Config, RecognitionConfig
from edge.types import (
    Confidence,
    Profile,
    ProfileKind,
    Quality,
    ReasonCode,
    SpeakerMatch,
    Utterance,
)
from tests.unit.clocks import Clock, stop_clocks
from tests.unit.judgments import judgment_of

WALL = 1_700_000_000.0
START = 5_000.0
QUALITY = Quality(-20.0, -60.0, 40.0, 0.0, 1.0)
ANSWER_S = 1.5
PERSON, OTHER = (
    replace(Profile.begin(name), id=name.lower(), updated_at=1.0) for name in ("Ada", "Robin")
)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return stop_clocks(
        monkeypatch, "edge.challenge.challenge", "edge.challenge.policy", "edge.access.decider"
    )


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search for digits that never ends fails."""
    tries = itertools.count()
    sample = secrets.SystemRandom.sample

    def counted(self: secrets.SystemRandom, choices: Sequence[int], count: int) -> list[int]:
        assert next(tries) < 100_000, "no digits are found"
        return sample(self, choices, count)

    monkeypatch.setattr(secrets.SystemRandom, "sample", counted)


def utterance(
    begun_at: float, *, seconds: float = ANSWER_S, stream_s: float | None = None, **changes: Any
) -> Utterance:
    """Speech that began at a time, with half a second of silence around; closed 0.6 s later."""
    begun_s = begun_at if stream_s is None else stream_s
    return replace(
        Utterance(
            np.zeros(round((seconds + 1.0) * 16_000), np.float32),
            start_s=begun_s - 0.5,
            end_s=begun_s + seconds,
            quality=QUALITY,
            speech_ended_at=begun_at + seconds,
            closed_at=begun_at + seconds + 0.6,
            lead_s=0.5,
        ),
        **changes,
    )


@dataclass
class Ear:
    """Judges answers as the test says, in place of recognition."""

    digits: tuple[int, ...] = tuple(range(10))
    hears: tuple[int, ...] | None = None
    voice: float = 9.0
    score: DigitScore = field(default_factory=lambda: DigitScore(2.0, 1.0))
    clock: Clock | None = None
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def choices(self) -> tuple[int, ...]:
        return self.digits

    def judge(self, _utterance: Utterance, asked: tuple[int, ...]) -> AnswerScore:
        if self.clock is not None:
            self.clock.now += 0.25
        self.asked.append(asked)
        right = self.hears is None or self.hears == asked
        digits = self.score if right else DigitScore(-2.0, 1.0)
        voice = SpeakerMatch("ada", "Ada", 0.9, self.voice, 4.0)
        return AnswerScore(digits, voice, {"speaker": 3.0, "digits": 2.0, "decide": 9.0})


class Door:
    """A challenge of Ada and Robin with its prompts."""

    def _refused(
        self, _utterance: Utterance, _kind: ProfileKind, quality: RecognitionConfig
    ) -> ReasonCode | None:
        assert quality == Config().recognition  # too noisy to be judged too
        return self.refusal

    def __init__(
        self, clock: Clock, *, speak: Any = None, known: bool = True, **settings: Any
    ) -> None:
        self.clock = clock
        self.prompts: list[Prompt | None] = []
        self.shows = True
        self.ears = {"ada": Ear(), "robin": Ear()}
        self.refusal: ReasonCode | None = None
        engine: Any = SimpleNamespace(config=Config(), refusal=self._refused)
        config = ChallengeConfig(**{"required": "always", **settings})
        self.challenge = Challenge(config, engine, lambda _: (), self._show, speak=speak)
        policy: Any = self.challenge.policy
        policy.judge_of = lambda profile: self.ears.get(profile.id)
        if known:
            self.challenge.use([PERSON, OTHER])

    def _show(self, prompt: Prompt | None) -> None:
        if not self.shows:
            raise RuntimeError("no display")
        self.prompts.append(prompt)

    def passphrase(self, person: Profile = PERSON, **changes: Any) -> Judgment:
        """A granted passphrase that ends now."""
        judgment = judgment_of(ReasonCode.RECOGNIZED, profile=person)
        said = utterance(self.clock.now - ANSWER_S)
        return self.challenge.review(replace(judgment, **{"utterance": said, **changes}))

    @property
    def prompt(self) -> Prompt:
        prompt = self.prompts[-1]
        assert prompt is not None
        return prompt

    def say(self, after_s: float = 0.0, **changes: Any) -> Judgment | None:
        """An answer that begins `after_s` from now, judged as soon as it is over."""
        said = utterance(self.clock.now + after_s, **changes)
        self.clock.now = max(self.clock.now, said.closed_at)
        return self.challenge.judge(said)


@pytest.fixture
def door(clock: Clock) -> Door:
    return Door(clock)


def outcome(judgment: Judgment | None) -> tuple[str, str]:
    assert judgment is not None
    return judgment.decision.outcome.value, judgment.decision.reason.value


ASKED, FAILED, OPENED = (
    ("denied", "challenge_asked"),
    ("denied", "challenge_failed"),
    ("granted", "recognized"),
)


def test_the_right_answer_opens(clock: Clock, door: Door) -> None:
    first = door.passphrase()
    assert outcome(first) == ASKED
    assert door.challenge.pending
    assert len(set(door.prompt.digits)) == 4
    assert door.prompt.digits.isdigit()
    assert uuid.UUID(door.prompt.id)
    assert door.prompt.expires_at == WALL + START + 10.0
    ear = door.ears["ada"]
    ear.clock = clock
    opened = door.say(0.5)
    assert ear.asked == [tuple(map(int, door.prompts[0].digits))]  # type: ignore[union-attr]
    assert outcome(opened) == OPENED
    assert opened is not None
    decision = opened.decision
    assert uuid.UUID(decision.id)
    assert (decision.profile_id, decision.name) == ("ada", "Ada")
    assert decision.time == WALL + START + 0.5 + ANSWER_S
    assert decision.utterance_s == ANSWER_S
    assert decision.quality is QUALITY
    assert decision.scores == {
        "voice": 1.0,
        "answer_margin": 2.0,
        "answer_cost": 1.0,
        "answer_voice": 9.0,
        "answer_voice_threshold": 4.0,
    }
    assert decision.timings_ms == pytest.approx(
        {"speaker": 3.0, "digits": 2.0, "endpoint": 600.0, "decide": 250.0}
    )
    assert opened.utterance.start_s == START
    assert opened.candidate is first.candidate
    assert not door.challenge.pending
    assert door.prompts[1:] == [None]
    assert door.challenge.review(opened) is opened, "no second challenge"
    assert outcome(door.passphrase()) == ASKED


def test_what_was_denied_stays_denied(clock: Clock, door: Door) -> None:
    wrong = judgment_of(ReasonCode.NO_MATCH, profile=PERSON)
    assert door.challenge.review(wrong) is wrong
    assert door.challenge.judge(utterance(START)) is None
    assert door.challenge.tick() is None
    assert door.prompts == []


def test_an_answer_counts_once(door: Door) -> None:
    door.passphrase()
    assert outcome(door.say()) == OPENED
    assert door.say() is None


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_each_attempt_has_new_digits_and_its_own_time(clock: Clock, attempts: int) -> None:
    door = Door(clock, attempts=attempts)
    ear = door.ears["ada"]
    door.passphrase()
    for left in range(attempts - 1, -1, -1):
        shown = door.prompt
        assert shown.expires_at == WALL + clock.now + 10.0
        ear.hears = ()
        assert outcome(door.say(9.0 - ANSWER_S)) == FAILED
        assert ear.asked[-1] == tuple(map(int, shown.digits))
        assert door.challenge.pending == (left > 0)
        if left:
            assert door.prompt.id != shown.id
            assert not any(a == b for a, b in zip(shown.digits, door.prompt.digits))
    assert door.prompts[-1] is None
    ear.hears = None
    assert door.say() is None


def test_the_last_attempt_may_be_the_right_one(door: Door) -> None:
    door.passphrase()
    first = tuple(map(int, door.prompt.digits))
    door.ears["ada"].hears = first[:3]
    assert outcome(door.say()) == FAILED
    door.ears["ada"].hears = tuple(map(int, door.prompt.digits))
    assert outcome(door.say()) == OPENED


@pytest.mark.parametrize(
    ("margin", "cost", "voice", "opens"),
    [(0.0, 1.5, 4.0, True), (-0.01, 1.5, 4.0, False), (0.0, 1.51, 4.0, False),
     (0.0, 1.5, 3.99, False)],
)  # fmt: skip
def test_digits_and_voice_have_to_be_right(
    door: Door, margin: float, cost: float, voice: float, opens: bool
) -> None:
    door.passphrase()
    door.ears["ada"].score = DigitScore(margin, cost)
    door.ears["ada"].voice = voice
    assert outcome(door.say()) == (OPENED if opens else FAILED)


@pytest.mark.parametrize(
    ("passphrase", "margin", "expected"),
    [
        (Confidence.HIGH, 2.4, Confidence.HIGH),
        (Confidence.HIGH, 2.0, Confidence.NORMAL),
        (Confidence.HIGH, 1.0, Confidence.LOW),
        (Confidence.NORMAL, 2.4, Confidence.NORMAL),
        (Confidence.LOW, 2.4, Confidence.LOW),
    ],
)
def test_confidence_is_that_of_the_weaker_voice(
    door: Door, passphrase: Confidence, margin: float, expected: Confidence
) -> None:
    judgment = judgment_of(ReasonCode.RECOGNIZED, profile=PERSON)
    door.passphrase(decision=replace(judgment.decision, confidence=passphrase))
    door.ears["ada"].voice = 4.0 + margin
    opened = door.say()
    assert opened is not None
    assert opened.decision.confidence is expected


def test_a_failed_answer_is_certain_and_its_figures_finite(door: Door) -> None:
    door.passphrase()
    door.ears["ada"].score = DigitScore(-np.inf, np.inf)
    failed = door.say()
    assert failed is not None
    assert failed.decision.confidence is Confidence.HIGH
    assert failed.decision.scores["answer_margin"] == -1e6
    assert failed.decision.scores["answer_cost"] == 1e6


def test_an_answer_that_never_comes_fails_once(clock: Clock, door: Door) -> None:
    door.passphrase(utterance=utterance(START - ANSWER_S, truncated=True))
    clock.now = START + 13.0
    assert door.challenge.tick() is None
    clock.now = START + 13.01
    late = door.challenge.tick()
    assert outcome(late) == FAILED
    assert late is not None
    silence = late.utterance
    assert len(silence.samples) == 0
    assert (silence.start_s, silence.end_s, silence.lead_s) == (START, START, 0.0)
    assert (silence.speech_ended_at, silence.closed_at) == (START + 13.01, START + 13.01)
    assert not silence.truncated
    assert silence.quality is QUALITY
    assert (late.decision.utterance_s, late.decision.timings_ms["endpoint"]) == (0.0, 0.0)
    assert late.decision.time == WALL + START + 13.01
    assert door.challenge.tick() is None
    assert door.prompts[1:] == [None]
    assert door.say() is None


@pytest.mark.parametrize(("answer_s", "grace_s"), [(10.0, 0.0), (10.0, 0.01), (3.0, 0.0)])
def test_an_answer_has_to_end_in_time(clock: Clock, answer_s: float, grace_s: float) -> None:
    door = Door(clock, answer_s=answer_s, attempts=5)
    door.passphrase()
    said = door.say(answer_s - ANSWER_S + grace_s)
    assert outcome(said) == (FAILED if grace_s else OPENED)
    assert not door.challenge.pending
    assert door.prompts[-1] is None
    assert len(door.ears["ada"].asked) == (0 if grace_s else 1)


def test_a_device_that_was_suspended_does_not_open(clock: Clock, door: Door) -> None:
    door.passphrase()
    clock.now += 3_600.0
    assert outcome(door.say()) == FAILED


@pytest.mark.parametrize(("stream_s", "counts"), [(START, True), (START - 0.01, False)])
def test_an_answer_begins_after_the_passphrase(door: Door, stream_s: float, counts: bool) -> None:
    door.passphrase()
    said = door.say(stream_s=stream_s)
    assert (said is not None) == counts
    assert door.challenge.pending != counts


@pytest.mark.parametrize(
    ("spoken_s", "after_s", "counts"),
    [
        (None, 0.0, True),
        (None, -0.01, False),
        (0.0, 0.0, True),
        (0.0, -0.01, False),
        (0.125, 0.43, True),
        (2.0, 2.3, True),
        (2.0, 2.25, False),
    ],
)
def test_an_answer_begins_after_the_digits_and_their_echo(
    clock: Clock, spoken_s: float | None, after_s: float, counts: bool
) -> None:
    spoken: list[str] = []

    def speak(digits: str) -> float:
        spoken.append(digits)
        return spoken_s or 0.0

    door = Door(clock, speak=None if spoken_s is None else speak)
    door.passphrase()
    assert spoken == ([] if spoken_s is None else [door.prompt.digits])
    settles_s = spoken_s + 0.3 if spoken_s else 0.0
    assert door.prompt.expires_at == pytest.approx(WALL + START + settles_s + 10.0, abs=1e-6)
    said = door.say(after_s, stream_s=START + 1.0)
    assert (said is not None) == counts
    assert door.challenge.pending != counts


def test_an_answer_from_a_recording_ended_just_now(clock: Clock, door: Door) -> None:
    door.passphrase()
    clock.now = START + ANSWER_S - 0.01
    recorded = utterance(START, speech_ended_at=0.0)
    assert door.challenge.judge(recorded) is None
    clock.now = START + 10.01
    assert outcome(door.challenge.judge(recorded)) == FAILED


def test_a_poor_recording_costs_no_attempt(clock: Clock) -> None:
    door = Door(clock, attempts=1)
    door.passphrase()
    door.refusal = ReasonCode.TOO_NOISY
    for changes in ({}, {"closed_at": START, "lead_s": 3.0}):
        poor = door.say(**changes)
        assert outcome(poor) == ("denied", "too_noisy")
    assert poor is not None
    assert (poor.decision.utterance_s, poor.decision.timings_ms["endpoint"]) == (0.0, 0.0)
    door.refusal = None
    assert outcome(door.say()) == OPENED
    assert len(door.prompts) == 2


def changed(person: Profile) -> Profile:
    return replace(person, updated_at=2.0)


@pytest.mark.parametrize(
    ("people", "goes_on"),
    [
        ([PERSON, OTHER], True),
        ([PERSON, changed(OTHER)], True),
        ([PERSON], True),
        ([changed(PERSON), OTHER], False),
        ([OTHER], False),
        ([], False),
    ],
)
def test_a_challenge_ends_when_its_person_is_changed(
    door: Door, people: list[Profile], goes_on: bool
) -> None:
    door.passphrase()
    door.challenge.use(people)
    assert door.challenge.pending == goes_on
    assert door.prompts[1:] == ([] if goes_on else [None])
    assert outcome(door.say()) == OPENED if goes_on else door.say() is None


def test_the_same_list_of_people_is_no_change(clock: Clock) -> None:
    people = [PERSON]
    door = Door(clock)
    door.challenge.use(people)
    door.passphrase()
    people.clear()
    door.challenge.use(people)
    assert door.challenge.pending


def test_the_second_of_two_people_takes_over(door: Door) -> None:
    door.passphrase(PERSON)
    first = door.prompt
    assert outcome(door.passphrase(OTHER)) == ASKED
    assert door.prompt.id != first.id
    door.challenge.use([changed(PERSON), OTHER])
    assert door.challenge.pending
    opened = door.say()
    assert opened is not None
    assert opened.decision.name == "Robin"
    assert door.ears["ada"].asked == []
    assert door.ears["robin"].asked == [tuple(map(int, door.prompts[1].digits))]  # type: ignore[union-attr]


DURESS = replace(Profile.begin("duress"), duress_of="ada")


@pytest.mark.parametrize(
    ("candidate", "profile_id", "expected"),
    [
        (PERSON, "ada", ASKED),
        (DURESS, "ada", ASKED),
        (replace(DURESS, duress_of="gone"), "ada", FAILED),
        (replace(PERSON, id="no digits"), "ada", FAILED),
        (None, "ada", ASKED),
        (None, "gone", FAILED),
        (None, None, FAILED),
    ],
)
def test_whose_passphrase_it_was(
    door: Door, candidate: Profile | None, profile_id: str | None, expected: tuple[str, str]
) -> None:
    judgment = judgment_of(ReasonCode.RECOGNIZED, profile=candidate)
    decision = replace(judgment.decision, profile_id=profile_id)
    judgment = replace(judgment, decision=decision)
    if candidate is None:
        judgment = replace(judgment, candidate=None)
    assert outcome(door.challenge.review(judgment)) == expected
    assert door.challenge.pending == (expected is ASKED)


def test_before_anybody_is_known_nobody_is_asked(clock: Clock) -> None:
    door = Door(clock, known=False)
    judgment = judgment_of(ReasonCode.RECOGNIZED, profile=PERSON)
    assert outcome(door.challenge.review(replace(judgment, candidate=None))) == FAILED


def test_only_who_has_to_answer_is_asked(clock: Clock) -> None:
    door = Door(clock, required="never")
    assert outcome(door.passphrase()) == OPENED
    policy = door.challenge.policy
    policy.demand()
    assert outcome(door.passphrase()) == ASKED
    door.ears["ada"].hears = ()
    assert outcome(door.say()) == FAILED
    assert policy.demanded
    door.ears["ada"].hears = None
    assert outcome(door.say()) == OPENED
    assert not policy.demanded
    assert outcome(door.passphrase()) == OPENED


def test_digits_that_cannot_be_shown_are_not_awaited(door: Door) -> None:
    door.shows = False
    with pytest.raises(RuntimeError, match="no display"):
        door.passphrase()
    assert not door.challenge.pending
    door.challenge.cancel()  # nothing to take back
    assert door.say() is None


def test_a_challenge_that_is_called_off_is_over(door: Door) -> None:
    door.passphrase()
    door.challenge.cancel()
    door.challenge.cancel()
    assert door.prompts[1:] == [None]
    assert not door.challenge.pending
    assert door.say() is None


def test_as_many_digits_are_asked_as_set_of_those_that_can_be(clock: Clock) -> None:
    door = Door(clock, digits=6)
    door.ears["ada"].digits = (1, 3, 5, 7, 8, 9)
    door.passphrase()
    assert sorted(door.prompt.digits) == list("135789")


def in_common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(a == b for a, b in zip(one, other))


def test_strings_differ_from_the_last_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted: list[tuple[int, ...]] = []
    chance = random.Random(1)  # noqa: S311 - no secret

    tries = itertools.count()

    def sample(_self: object, choices: list[int], count: int) -> Sequence[int]:
        assert next(tries) < 100_000, "no digits are found"
        return scripted.pop(0) if scripted else chance.sample(choices, count)

    monkeypatch.setattr(secrets.SystemRandom, "sample", sample)
    strings = DigitStrings()
    seen = [strings.next(range(10), 4) for _ in range(32)]
    for number, digits in enumerate(seen):
        assert len(set(digits)) == 4
        assert not number or in_common(digits, seen[number - 1]) == 0
        assert all(in_common(digits, earlier) <= 2 for earlier in seen[:number])

    def near(old: tuple[int, ...], places: int) -> tuple[int, ...]:
        """A string that has so many places in common with an old one, and is unlike all others."""
        return next(
            digits
            for digits in itertools.permutations(range(10), 4)
            if in_common(digits, old) == places
            and in_common(digits, seen[-1]) == 0
            and all(in_common(digits, each) <= 2 for each in seen if each != old)
        )

    def takes(digits: tuple[int, ...]) -> bool:
        scripted[:] = [digits]
        seen.append(strings.next(range(10), 4))
        return seen[-1] == digits

    assert takes(near(seen[5], 2))
    assert not takes(near(seen[1], 3)), "32 strings ago"
    assert takes(near(seen[1], 3)), "33 strings ago"
    last = seen[-1]
    touching = next(d for d in itertools.permutations(range(10), 4) if in_common(d, last) == 1)
    assert not takes(touching), "one digit in its old place"


def test_among_few_digits_strings_still_change_in_every_place() -> None:
    strings = DigitStrings()
    few = [strings.next(range(4), 4) for _ in range(40)]
    assert all(in_common(one, other) == 0 for one, other in itertools.pairwise(few))

"""Who has to answer a challenge, who can, and by what an answer is judged."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.challenge.policy import AnswerJudge, ChallengePolicy
from edge.challenge.rounds import DigitRound
from edge.config import ChallengeConfig
from edge.errors import StoreError
from edge.recognition.results import Analysis
from edge.types import AccessRule, Profile, ProfileKind, Quality, Utterance
from tests.unit.clocks import stop_clocks
from tests.unit.made_digits import made_rounds, said
from tests.unit.stores import SPEAKER_MODEL, make_sample

CAREFUL = AccessRule(challenge=True)


def person(name: str, **changes: Any) -> Profile:
    """Somebody whose passphrase is enrolled."""
    profile = Profile.begin(name, required=1)
    return replace(profile, **{"id": name.lower(), "samples": (make_sample(),), **changes})


ADA, ROBIN = person("Ada"), person("Robin")


class Prepared:
    """A judge that is made at once."""

    def __init__(self, _engine: object, profile: Profile, _rounds: object) -> None:
        self.of = profile.id
        self.ready = False

    def choices(self) -> tuple[int, ...]:
        self.ready = True
        return tuple(range(10))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.challenge.policy.AnswerJudge", Prepared)


class House:
    """A policy, and the rounds that people have enrolled."""

    def __init__(self, *people: Profile, time: str | None = "12:00", **settings: Any) -> None:
        self.rounds: dict[str, Sequence[DigitRound]] = {}
        self.fault: Exception | None = None
        now = None
        if time is not None:
            hour, minute = map(int, time.split(":"))
            now = datetime(2026, 1, 5, hour, minute, tzinfo=timezone.utc)
        engine: Any = SimpleNamespace(
            models=SimpleNamespace(speaker=SimpleNamespace(sha256=SPEAKER_MODEL))
        )
        self.policy = ChallengePolicy(
            ChallengeConfig(**settings),
            engine,
            self._load,
            lambda: now,
        )
        if people:
            self.policy.use(people)

    def _load(self, profile_id: str) -> Sequence[DigitRound]:
        if self.fault is not None:
            raise self.fault
        return self.rounds.get(profile_id, ())


@pytest.mark.parametrize(
    ("required", "hours", "time", "rule", "expected"),
    [
        ("never", "00:00-23:59", "12:00", AccessRule(), False),
        ("never", "00:00-23:59", "12:00", CAREFUL, True),
        ("always", "09:00-17:00", "20:00", AccessRule(), True),
        ("hours", "09:00-17:00", "20:00", CAREFUL, True),
        *(("hours", "09:00-17:00", time, AccessRule(), within)
          for time, within in (("08:59", False), ("09:00", True), ("16:59", True),
                               ("17:00", False))),
        *(("hours", "22:30-06:15", time, AccessRule(), within)
          for time, within in (("22:29", False), ("22:30", True), ("23:59", True),
                               ("00:00", True), ("06:14", True), ("06:15", False))),
        ("hours", "08:00-08:00", "20:00", AccessRule(), True),
        ("hours", "08:00-08:00", "08:00", AccessRule(), True),
        ("hours", "08:00-09:00", None, AccessRule(), True),  # it may be those
        ("never", "08:00-09:00", None, AccessRule(), False),
    ],
)  # fmt: skip
def test_who_has_to_answer_when(
    required: str, hours: str, time: str | None, rule: AccessRule, expected: bool
) -> None:
    policy = House(time=time, required=required, hours=hours).policy
    assert policy.requires(replace(ADA, rule=rule)) == expected


def test_a_demand_lasts_five_minutes_or_until_somebody_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = stop_clocks(monkeypatch, "edge.challenge.policy")
    policy = House().policy
    assert not policy.demanded
    assert policy.count_able() == 0
    assert policy.problem is None
    policy.demand()
    clock.now += 299.9
    assert policy.demanded
    clock.now += 0.1
    assert not policy.demanded
    policy.demand()
    policy.end_demand()
    assert not policy.demanded
    clock.now = 0.0  # the device has just started
    assert not policy.demanded


OTHER_MODEL = [replace(spoken, speaker_model="0" * 64) for spoken in made_rounds()]


@pytest.mark.parametrize(
    ("rounds", "problem"),
    [
        ([], "0 of 3 rounds of digits enrolled"),
        (made_rounds()[:2], "2 of 3 rounds of digits enrolled"),
        ([*made_rounds()[:2], OTHER_MODEL[0]], "digits were enrolled with another model"),
        (OTHER_MODEL, "digits were enrolled with another model"),
        (OTHER_MODEL[:2], "0 of 3 rounds of digits enrolled"),
        (StoreError("enrolled digits are damaged"), "enrolled digits are damaged"),
    ],
)
@pytest.mark.usefixtures("at_once")
def test_who_cannot_answer(rounds: Any, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    house = House(ADA, required="always")
    if isinstance(rounds, Exception):
        house.fault = rounds
    house.rounds["ada"] = rounds
    told = f"Ada cannot answer a challenge ({problem}): run edge-voice enroll Ada --digits"
    for _ in range(2):
        assert house.policy.judge_of(ADA) is None
        assert house.policy.problem == told
        assert caplog.messages == [told], "said once, at once"
    assert house.policy.count_able() == 0
    house.fault, house.rounds["ada"] = None, made_rounds()
    assert house.policy.judge_of(ADA) is not None
    assert house.policy.problem is None
    assert house.policy.count_able() == 1
    judge: Any = house.policy.judge_of(ADA)
    assert judge.ready
    house.policy.profiles = [replace(ADA, confirmed=False)]
    assert house.policy.count_able() == 0


def test_a_problem_is_of_somebody_who_has_to_answer() -> None:
    house = House(ADA, replace(ROBIN, rule=CAREFUL), required="never")
    for profile in house.policy.profiles:
        assert house.policy.judge_of(profile) is None
    assert house.policy.problem is not None
    assert house.policy.problem.startswith("Robin cannot answer")
    house.policy.use([ADA])
    assert house.policy.problem is None


@pytest.mark.parametrize(
    ("required", "rule", "prepared"),
    [("never", AccessRule(), False), ("never", CAREFUL, True), ("hours", AccessRule(), True),
     ("always", AccessRule(), True)],
)  # fmt: skip
@pytest.mark.usefixtures("at_once")
def test_who_may_have_to_answer_is_prepared_for(
    required: str, rule: AccessRule, prepared: bool
) -> None:
    profile = replace(ADA, rule=rule)
    house = House(profile, ROBIN, required=required)
    house.rounds["ada"] = made_rounds()
    house.policy.prepare()
    judge: Any = house.policy.judge_of(profile)
    assert judge.ready == prepared


@pytest.mark.usefixtures("at_once")
def test_only_whole_passphrases_of_people_are_prepared_for() -> None:
    others = (
        person("voice", kind=ProfileKind.VOICE),
        person("half", required=2),
        person("duress", duress_of="ada"),
    )
    house = House(*others, required="always")
    for profile in others:
        house.rounds[profile.id] = made_rounds()
    assert house.policy.count_able() == 0
    house.rounds = {}
    house.policy.prepare()
    assert house.policy.problem is None


@pytest.mark.usefixtures("at_once")
def test_judges_are_made_anew_where_the_digits_or_the_name_have_changed() -> None:
    house = House(ADA, ROBIN, required="always")
    house.rounds = {"ada": made_rounds(), "robin": made_rounds()}
    of_ada, of_robin = map(house.policy.judge_of, (ADA, ROBIN))
    assert house.policy.judge_of(ADA) is of_ada
    assert house.policy.judge_of(ROBIN) is of_robin
    later = replace(made_rounds()[0], voice=make_sample(9))
    house.rounds["ada"] = [*made_rounds()[1:], later]
    assert house.policy.judge_of(ADA) is not of_ada
    assert house.policy.judge_of(replace(ROBIN, name="Robyn")) is not of_robin


@pytest.mark.usefixtures("at_once")
def test_of_64_people_the_judges_are_kept() -> None:
    house = House(required="always")
    people = [person(f"P{number}") for number in range(65)]
    house.rounds = {profile.id: made_rounds() for profile in people}
    judges = [house.policy.judge_of(profile) for profile in people[:64]]
    assert [house.policy.judge_of(profile) for profile in people[:64]] == judges
    assert house.policy.judge_of(people[64]) is not None
    assert house.policy.judge_of(people[0]) is not judges[0], "memory is bounded"


class Scorer:
    """Says what it is asked, and gives scores by numbers that can be told apart."""

    rate = 0.002

    def __init__(self) -> None:
        self.voices: list[Profile] = []

    def voice_scores(self, profiles: list[Profile], analyses: list[Analysis]) -> Any:
        self.voices += profiles
        assert analyses[0].timings_ms == {"speaker": 7.0}
        # Of the first person and the first utterance, whatever else there is.
        return SimpleNamespace(similarity=np.diag([0.75, 0.0]), ratio=np.diag([4.5, 0.0]))

    def voice_threshold(self, *, enrollments: int, rate: float) -> float:
        assert rate == pytest.approx(0.00002)
        return 1.5 * enrollments


def test_an_answer_is_judged_by_its_digits_and_by_the_voice_of_the_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = stop_clocks(monkeypatch, "edge.challenge.policy")
    ticks = itertools.count(1_000.0, 0.25)
    monkeypatch.setattr(clock, "perf_counter", lambda: next(ticks))
    quality = Quality(-20.0, -60.0, 40.0, 0.0, 1.0)
    analysis = Analysis(make_sample().speaker_embedding, None, quality, {"speaker": 7.0})
    analyzed: list[bool] = []

    def analyze(_utterance: Utterance, *, with_phrase: bool) -> Analysis:
        analyzed.append(with_phrase)
        return analysis

    scorer = Scorer()
    card = SimpleNamespace(threshold={"digit": 0.1}.__getitem__)
    models = SimpleNamespace(speaker=SimpleNamespace(card=card))
    engine: Any = SimpleNamespace(scorer=scorer, analyze=analyze, models=models)
    with pytest.raises(ValueError, match="3 rounds of digits are needed"):
        AnswerJudge(engine, ADA, made_rounds()[:2])
    judge = AnswerJudge(engine, ADA, made_rounds())
    assert judge.choices() == tuple(range(10))
    samples = said([4, 1, 7, 2])
    answer = Utterance(samples, 0.0, 2.0, quality)
    score = judge.judge(answer, (4, 1, 7, 2))
    assert analyzed == [False]
    assert score.accepted
    assert (score.voice.similarity, score.voice.score, score.voice.threshold) == (0.75, 4.5, 4.5)
    assert (score.voice.profile_id, score.voice.name) == ("ada", "Ada")
    assert [sample.created_at for sample in scorer.voices[0].samples] == [
        spoken.voice.created_at for spoken in made_rounds()
    ]
    assert score.timings_ms == {"speaker": 7.0, "digits": 250.0}
    wrong = judge.judge(answer, (4, 1, 7, 3), analysis)
    assert analyzed == [False]
    assert wrong.voice.accepted
    assert not wrong.accepted
    monkeypatch.setattr(scorer, "voice_threshold", lambda **_: 4.51)
    assert not judge.judge(answer, (4, 1, 7, 2)).accepted

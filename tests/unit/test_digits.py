"""Digits said by voices: what recognition makes of them, at enrollment and at the door."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.access.decider import Decider
from edge.challenge.challenge import Challenge, Prompt
from edge.challenge.matching import DigitRecognizer
from edge.challenge.policy import AnswerJudge
from edge.challenge.rounds import complete_round, make_example
from edge.config import ChallengeConfig, Config
from edge.errors import EnrollmentRejected
from edge.types import ReasonCode
from tests.unit.clocks import stop_clocks
from tests.unit.spoken_digits import (
    ADA,
    ROBIN,
    answer,
    enrolled_ada,
    mixed_answer,
    needs_flite,
    passphrase,
)

pytestmark = needs_flite
ASKED = (4, 1, 7, 2)


@pytest.fixture(scope="module")
def judge() -> AnswerJudge:
    return AnswerJudge(*enrolled_ada())


@pytest.mark.runtime
def test_the_right_digits_in_the_right_voice_are_accepted(judge: AnswerJudge) -> None:
    for asked in (ASKED, (9, 0, 3, 5), (6, 8, 1, 0, 4, 7)):
        score = judge.judge(answer(asked), asked)
        assert score.accepted, (asked, score)


@pytest.mark.parametrize(
    "said",
    [(4, 1, 7, 3), (9, 1, 7, 2), (4, 7, 1, 2), (4, 1, 7), (1, 7, 2), (4, 1, 7, 2, 5),
     (8, 4, 1, 7, 2)],
    ids=["last", "first", "swapped", "short at the end", "short at the front", "one more",
         "one before"],
)  # fmt: skip
def test_one_wrong_part_is_refused(judge: AnswerJudge, said: tuple[int, ...]) -> None:
    score = judge.judge(answer(said), ASKED)
    assert not score.digits.accepted
    assert score.voice.accepted, "only the digits are wrong"


def test_another_voice_is_refused(judge: AnswerJudge) -> None:
    score = judge.judge(answer(ASKED, ROBIN), ASKED)
    assert not score.voice.accepted
    assert not score.accepted
    engine, ada, _ = enrolled_ada()
    utterances = {digit: answer([digit], ROBIN) for digit in range(10)}
    examples = {d: make_example(engine, utterances[d], d, []) for d in range(10)}
    with pytest.raises(EnrollmentRejected, match="not the voice") as caught:
        complete_round(engine, ada, utterances, examples)
    assert caught.value.reason == "unknown_speaker"


@pytest.fixture
def said_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says a digit says it just as the person does: the words tell nothing."""
    score = DigitRecognizer.score
    monkeypatch.setattr(
        DigitRecognizer, "score", lambda *args: replace(score(*args), margin=1.0, cost=1.0)
    )


@pytest.mark.usefixtures("said_alike")
@pytest.mark.parametrize("foreign", [None, 0, 1, 2, 3])
def test_one_digit_by_somebody_else_is_refused(judge: AnswerJudge, foreign: int | None) -> None:
    mixed = mixed_answer(ASKED, [ROBIN if place == foreign else ADA for place in range(4)])
    score = judge.judge(mixed, ASKED)
    assert score.accepted is (foreign is None)
    assert (score.voice.margin >= 0.0) is (foreign is None)


@pytest.mark.usefixtures("said_alike")
def test_rounds_of_older_versions_are_compared_as_a_whole() -> None:
    engine, ada, rounds = enrolled_ada()
    before = AnswerJudge(engine, ada, [replace(one, single=None) for one in rounds])
    assert before.judge(mixed_answer(ASKED, [ADA, ADA, ADA, ROBIN]), ASKED).accepted


@pytest.mark.parametrize(
    ("voice", "right", "opens"),
    [(ADA, True, True), (ADA, False, False), (ROBIN, True, False)],
    ids=["right", "another digit", "another voice"],
)
def test_what_opens(voice: str, right: bool, opens: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = stop_clocks(monkeypatch, "edge.challenge.challenge")
    engine, person, rounds = enrolled_ada()
    prompts: list[Prompt | None] = []
    config = ChallengeConfig(required="always")
    challenge = Challenge(config, engine, lambda _: rounds, prompts.append)
    challenge.use([person])
    asked = challenge.review(Decider(engine, Config()).decide(passphrase(), [person]))
    assert asked.decision.reason is ReasonCode.CHALLENGE_ASKED
    prompt = prompts[-1]
    assert prompt is not None
    digits = [int(digit) for digit in prompt.digits]
    if not right:
        digits[3] = next(digit for digit in range(10) if digit not in digits)
    said = answer(digits, voice)
    moved = replace(
        said,
        start_s=60.0,
        end_s=60.0 + said.end_s - said.start_s,
        speech_ended_at=clock.now + 5.0,
        closed_at=clock.now + 5.6,
    )
    judged = challenge.judge(moved)
    assert judged is not None
    assert judged.decision.granted == opens

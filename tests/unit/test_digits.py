"""Answers judged by a person's own digits, and enrolling those."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from edge.challenge.features import BANDS, RANGE, spectrum_of, word_in
from edge.challenge.matching import DigitExample, DigitRecognizer
from edge.challenge.policy import AnswerJudge
from edge.challenge.rounds import (
    DigitRound,
    complete_round,
    decode,
    encode,
    make_example,
    strong_digits,
    weakness_of,
)
from edge.errors import EnrollmentRejected, StoreError
from edge.recognition import Engine
from edge.types import Profile, Utterance
from tests.unit.spoken_digits import ADA, ROBIN, answer, needs_flite, person, rounds

pytestmark = needs_flite
ASKED = (4, 1, 7, 2)


@pytest.fixture(scope="module")
def ada(engine: Engine) -> Profile:
    return person(engine)


@pytest.fixture(scope="module")
def enrolled(engine: Engine, ada: Profile) -> list[DigitRound]:
    return rounds(engine, ada)


@pytest.fixture(scope="module")
def judge(engine: Engine, ada: Profile, enrolled: list[DigitRound]) -> AnswerJudge:
    return AnswerJudge(engine, ada, enrolled)


@pytest.mark.runtime
def test_the_right_digits_in_the_right_voice_are_accepted(judge: AnswerJudge) -> None:
    for asked in (ASKED, (9, 0, 3, 5), (6, 8, 1, 0, 4, 7)):
        score = judge.judge(answer(asked), asked)
        assert score.accepted, (asked, score)


@pytest.mark.parametrize(
    "said",
    [(4, 1, 7, 3), (9, 1, 7, 2), (4, 1, 7), (1, 7, 2), (4, 1, 7, 2, 5), (8, 4, 1, 7, 2)],
    ids=["last", "first", "short at the end", "short at the front", "one more", "one before"],
)
def test_one_wrong_part_is_refused(judge: AnswerJudge, said: tuple[int, ...]) -> None:
    score = judge.judge(answer(said), ASKED)
    assert not score.digits.accepted
    assert score.voice.accepted, "only the digits are wrong"


def test_swapped_digits_are_refused(judge: AnswerJudge) -> None:
    assert not judge.judge(answer((4, 7, 1, 2)), ASKED).accepted


def test_another_voice_with_the_right_digits_is_refused(judge: AnswerJudge) -> None:
    score = judge.judge(answer(ASKED, ROBIN), ASKED)
    assert not score.voice.accepted
    assert not score.accepted


def test_silence_is_refused(judge: AnswerJudge) -> None:
    quiet = Utterance(np.zeros(16_000, np.float32), 0.0, 1.0, answer(ASKED).quality)
    assert not judge.judge(quiet, ASKED).accepted


def test_three_rounds_are_needed(engine: Engine, ada: Profile, enrolled: list[DigitRound]) -> None:
    with pytest.raises(ValueError, match="3 rounds"):
        AnswerJudge(engine, ada, enrolled[:2])


def test_a_misread_digit_is_refused_at_enrollment(
    engine: Engine, enrolled: list[DigitRound]
) -> None:
    with pytest.raises(EnrollmentRejected, match="more like your 8 than your 3") as caught:
        make_example(engine, answer([8]), 3, enrolled)
    assert caught.value.reason == "wrong_phrase"


def test_the_same_recording_twice_is_refused(engine: Engine, enrolled: list[DigitRound]) -> None:
    with pytest.raises(EnrollmentRejected, match="this recording is already enrolled"):
        make_example(engine, answer([3], ADA, 1.05), 3, enrolled)


def test_two_digits_at_once_are_refused(engine: Engine) -> None:
    with pytest.raises(EnrollmentRejected, match="too long for one digit"):
        make_example(engine, answer([3, 3, 3, 3]), 3, [])


def test_a_round_in_another_voice_is_refused(engine: Engine, ada: Profile) -> None:
    utterances = {digit: answer([digit], ROBIN) for digit in range(10)}
    examples = {d: make_example(engine, utterances[d], d, []) for d in range(10)}
    with pytest.raises(EnrollmentRejected, match="not the voice") as caught:
        complete_round(engine, ada, utterances, examples)
    assert caught.value.reason == "unknown_speaker"


def test_digits_that_sound_similar_are_not_asked_for(enrolled: list[DigitRound]) -> None:
    assert strong_digits(enrolled) == tuple(range(10))
    similar = [
        DigitRound(
            tuple(
                DigitExample(e.digit, spoken.examples[3].spectrum) if e.digit == 8 else e
                for e in other.examples
            ),
            other.voice,
            other.speaker_model,
        )
        # Eight sounds like the three of another round.
        for spoken, other in zip(enrolled, enrolled[1:] + enrolled[:1])
    ]
    assert not {3, 8} <= set(strong_digits(similar))
    assert weakness_of(similar)[8][0] == 3


def test_digits_are_recognized_in_noise(judge: AnswerJudge) -> None:
    clean = answer(ASKED)
    level = float(np.sqrt(np.square(clean.samples).mean()))
    noise = np.random.default_rng(1).standard_normal(len(clean.samples), dtype=np.float32)
    samples = clean.samples + np.float32(0.1 * level) * noise
    noisy = Utterance(samples, clean.start_s, clean.end_s, clean.quality, lead_s=clean.lead_s)
    assert judge.judge(noisy, ASKED).digits.accepted
    assert not judge.judge(noisy, (4, 1, 9, 2)).digits.accepted


def test_one_example_of_each_digit_is_enough_to_recognize_them(enrolled: list[DigitRound]) -> None:
    recognizer = DigitRecognizer(enrolled[0].examples)
    for example in enrolled[1].examples:
        assert recognizer.nearest_other(example)[1] > 0.0


def test_a_recognizer_needs_every_digit(enrolled: list[DigitRound]) -> None:
    with pytest.raises(ValueError, match="each digit"):
        DigitRecognizer(enrolled[0].examples[:9])


def test_a_word_is_cut_from_its_silence() -> None:
    spectrum = spectrum_of(answer([6]).samples)
    word = word_in(spectrum)
    assert 10 < len(word) < 80
    assert len(word) < len(spectrum) / 2
    assert len(word_in(np.full((50, BANDS), -RANGE, np.float32))) == 0


def test_rounds_survive_being_stored(enrolled: list[DigitRound]) -> None:
    for spoken in enrolled:
        back = decode(encode(spoken))
        assert back.speaker_model == spoken.speaker_model
        assert np.array_equal(back.voice.speaker_embedding, spoken.voice.speaker_embedding)
        assert back.voice.net_speech_s == spoken.voice.net_speech_s
        for one, other in zip(back.examples, spoken.examples):
            assert one.digit == other.digit
            assert np.abs(one.spectrum - np.clip(other.spectrum, -RANGE, 2.35)).max() <= 0.026


def test_damaged_rounds_are_refused_whatever_is_broken(enrolled: list[DigitRound]) -> None:
    payload = encode(enrolled[0])
    chance = np.random.default_rng(0)
    for cut in (0, 3, 60, len(payload) - 1):
        with pytest.raises(StoreError, match="damaged"):
            decode(payload[:cut])
    with pytest.raises(StoreError, match="damaged"):
        decode(payload + b"x")
    with pytest.raises(StoreError, match="version 9"):
        decode(payload[:4] + b"\x09" + payload[5:])
    not_a_number = struct.pack("<f", float("nan"))
    with pytest.raises(StoreError, match="voice"):
        decode(payload[:83] + not_a_number + payload[87:])
    for _ in range(300):
        broken = bytearray(payload)
        for at in chance.integers(0, 90, 3):
            broken[int(at)] = int(chance.integers(256))
        try:
            back = decode(bytes(broken))
        except StoreError:
            continue
        assert len(back.examples) == 10

"""An answer to a challenge: were these the digits, and was it the person's own voice?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edge.challenge.matching import DIGITS, DigitRecognizer, DigitScore
from edge.challenge.rounds import ROUNDS, DigitRound, weakness_of
from edge.recognition.engine import Engine
from edge.recognition.results import Analysis
from edge.types import Profile, SpeakerMatch, Utterance

SAME_WORDS = 0.01
"""Part of the asked false-accept rate that is given to the voice of an answer. Voices are
calibrated on people who say different things; ten words that all have in common bring them nearer
to each other."""

WELL_APART = 0.0
"""Margin from which a digit is never taken for another one."""
LEAST_CHOICE = 6
"""Digits that there are to choose from at least, however weak they are."""


@dataclass(frozen=True)
class AnswerScore:
    """What an answer came to.

    Attributes:
        digits: the asked string against all others.
        voice: the voice against the person's digits.
        timings_ms: how long each stage took, milliseconds.
    """

    digits: DigitScore
    voice: SpeakerMatch
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether both are right."""
        return self.digits.accepted and self.voice.accepted


class AnswerJudge:
    """Judges one person's answers.

    Args:
        engine: the recognizer of voices.
        profile: who is asked.
        rounds: their digits, `ROUNDS` of them or more, of the models that are open.

    Raises:
        ValueError: there are not enough rounds.
    """

    def __init__(self, engine: Engine, profile: Profile, rounds: Sequence[DigitRound]) -> None:
        if len(rounds) < ROUNDS:
            raise ValueError(f"{ROUNDS} rounds of digits are needed")
        self._engine = engine
        self._rounds = tuple(rounds)
        self._choices: tuple[int, ...] | None = None
        self._recognizer = DigitRecognizer(
            [example for spoken in rounds for example in spoken.examples]
        )
        self._voice = replace(profile, samples=tuple(spoken.voice for spoken in rounds))

    def choices(self) -> tuple[int, ...]:
        """The digits that may be asked for: those that this person never mixes up."""
        if self._choices is None:
            self._choices = strong_digits(self._rounds)
        return self._choices

    def judge(self, utterance: Utterance, asked: Sequence[int]) -> AnswerScore:
        """Hold an answer against the digits asked for.

        Args:
            utterance: the answer.
            asked: the digits, at least one.
        """
        analysis = self._engine.analyze(utterance, with_phrase=False)
        return self.judge_analyzed(analysis, utterance, asked)

    def judge_analyzed(
        self, analysis: Analysis, utterance: Utterance, asked: Sequence[int]
    ) -> AnswerScore:
        """As `judge`, of an utterance whose voice was embedded already."""
        engine = self._engine
        scores = engine.scorer.voice_scores([self._voice], [analysis])
        threshold = engine.scorer.voice_threshold(
            enrollments=len(self._rounds), rate=engine.scorer.rate * SAME_WORDS
        )
        started = time.perf_counter()
        digits = self._recognizer.score(utterance.samples, asked)
        timings = {**analysis.timings_ms, "digits": (time.perf_counter() - started) * 1e3}
        voice = SpeakerMatch(
            self._voice.id,
            self._voice.name,
            float(scores.similarity[0, 0]),
            float(scores.ratio[0, 0]),
            threshold,
        )
        return AnswerScore(digits, voice, timings)


def strong_digits(rounds: Sequence[DigitRound]) -> tuple[int, ...]:
    """The digits that stay well apart for a person, `LEAST_CHOICE` of them or more, in order.

    Only the latest rounds are held against each other, which takes time.
    """
    weakness = weakness_of(rounds[-ROUNDS:])
    weakest = sorted(DIGITS, key=lambda digit: weakness[digit][1])
    left_out = [digit for digit in weakest if weakness[digit][1] < WELL_APART]
    left_out = left_out[: len(DIGITS) - LEAST_CHOICE]
    return tuple(digit for digit in DIGITS if digit not in left_out)

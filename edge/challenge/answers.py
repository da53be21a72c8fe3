"""Judges an answer to a challenge: the digits, and the voice."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edge.challenge.matching import DIGITS, DigitRecognizer, DigitScore
from edge.challenge.rounds import ROUNDS, DigitRound, weakness_of
from edge.recognition.engine import Engine
from edge.recognition.results import Analysis
from edge.types import Profile, SpeakerMatch, Utterance

SAME_WORDS = 0.01
"""Factor of the false-accept rate for the voice of an answer. Thresholds are calibrated on people
saying different things; the same ten words bring voices closer to each other."""

_WELL_APART = 0.0
"""Margin from which a digit is asked for."""
_MIN_CHOICES = 6
"""Digits to choose from even where more are weak."""


@dataclass(frozen=True)
class AnswerScore:
    """How an answer was judged.

    Attributes:
        digits: the asked string against all others.
        voice: the voice against that of the person's digits.
        timings_ms: duration of each stage, milliseconds.
    """

    digits: DigitScore
    voice: SpeakerMatch
    timings_ms: Mapping[str, float]

    @property
    def accepted(self) -> bool:
        """Whether both are right."""
        return self.digits.accepted and self.voice.accepted


class AnswerJudge:
    """Judges the answers of one person by rounds of the current speaker model.

    Raises:
        ValueError: there are fewer than `ROUNDS`.
    """

    def __init__(self, engine: Engine, profile: Profile, rounds: Sequence[DigitRound]) -> None:
        if len(rounds) < ROUNDS:
            raise ValueError(f"{ROUNDS} rounds of digits are needed")
        self._engine = engine
        self._rounds = tuple(rounds)
        self._choices: tuple[int, ...] = ()
        self._recognizer = DigitRecognizer(
            [example for spoken in rounds for example in spoken.examples]
        )
        self._voice = replace(profile, samples=tuple(spoken.voice for spoken in rounds))

    def choices(self) -> tuple[int, ...]:
        """The digits to ask for; the first call takes about a second on a small device."""
        self._choices = self._choices or strong_digits(self._rounds)
        return self._choices

    def judge(
        self, utterance: Utterance, asked: Sequence[int], analysis: Analysis | None = None
    ) -> AnswerScore:
        """Judge an answer; `analysis` is that of the utterance, where there is one already."""
        if analysis is None:
            analysis = self._engine.analyze(utterance, with_phrase=False)
        scorer = self._engine.scorer
        scores = scorer.voice_scores([self._voice], [analysis])
        threshold = scorer.voice_threshold(
            enrollments=len(self._rounds), rate=scorer.rate * SAME_WORDS
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
    """The digits that are never mistaken for another one in the latest rounds, in order.

    At least `_MIN_CHOICES`, the weakest left out first.
    """
    weakness = weakness_of(rounds[-ROUNDS:])
    weak = [digit for digit in DIGITS if weakness[digit][1] < _WELL_APART]
    weak.sort(key=lambda digit: weakness[digit][1])
    left_out = weak[: len(DIGITS) - _MIN_CHOICES]
    return tuple(digit for digit in DIGITS if digit not in left_out)

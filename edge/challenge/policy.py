"""Who has to answer a challenge, and how their answers are judged: the digits, and the voice."""

from __future__ import annotations

import logging
import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from edge.challenge.matching import DigitRecognizer, DigitScore
from edge.challenge.one_voice import least_nearness
from edge.challenge.rounds import ROUNDS, DigitRound, strong_digits
from edge.config import ChallengeConfig
from edge.errors import ProfileError
from edge.recognition.consistency import refused_below
from edge.recognition.dtw import unit
from edge.recognition.engine import Engine
from edge.recognition.results import Analysis
from edge.types import Profile, ProfileKind, ProfileStatus, SpeakerMatch, Utterance

LoadRounds = Callable[[str], Sequence[DigitRound]]
"""Loads the enrolled rounds of a profile by its id; may raise `EdgeVoiceError`."""

DEMAND_S = 300.0
_MAX_JUDGES = 64

SAME_WORDS = 0.01
"""Factor of the false-accept rate for the voice of an answer. Thresholds are calibrated on people
saying different things; the same ten words bring voices closer to each other."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnswerScore:
    """How an answer was judged: the digits, the voice, and each stage's time in milliseconds."""

    digits: DigitScore
    voice: SpeakerMatch
    timings_ms: Mapping[str, float]

    @property
    def accepted(self) -> bool:
        """Whether both are right."""
        return self.digits.accepted and self.voice.accepted


class AnswerJudge:
    """Judges a person's answers by their rounds. Raises `ValueError` for fewer than `ROUNDS`."""

    def __init__(self, engine: Engine, profile: Profile, rounds: Sequence[DigitRound]) -> None:
        if len(rounds) < ROUNDS:
            raise ValueError(f"{ROUNDS} rounds of digits are needed")
        self._engine = engine
        self._rounds = tuple(rounds)
        self._choices: tuple[int, ...] = ()
        single = [spoken.single for spoken in rounds if spoken.single is not None]
        self._single = unit(np.sum(single, axis=0)) if single else None
        self._nearness = engine.models.speaker.card.threshold("digit")
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
        voice = SpeakerMatch(
            self._voice.id,
            self._voice.name,
            float(scores.similarity[0, 0]),
            float(scores.ratio[0, 0]),
            threshold,
        )
        if digits.accepted and voice.accepted and self._single is not None:
            embedder = self._engine.models.speaker
            found = least_nearness(embedder, self._single, utterance.samples, digits.spoken)
            voice = refused_below(voice, found, self._nearness, scorer.voice.similarity)
        timings = {**analysis.timings_ms, "digits": (time.perf_counter() - started) * 1e3}
        return AnswerScore(digits, voice, timings)


class ChallengePolicy:
    """Decides who is challenged. Any thread may use it, except for `use` and `judge_of`."""

    def __init__(
        self,
        config: ChallengeConfig,
        engine: Engine,
        load_rounds: LoadRounds,
        now: Callable[[], datetime | None],
    ) -> None:
        self.profiles: Sequence[Profile] = ()
        self._config = config
        self._engine = engine
        self._load_rounds = load_rounds
        self._now = now
        self._judges: dict[str, tuple[tuple[object, ...], AnswerJudge]] = {}
        self._demanded_until = -math.inf
        self._problems: dict[str, str] = {}

    def use(self, profiles: Sequence[Profile]) -> None:
        """Replace the enrolled people."""
        self.profiles = profiles
        self._problems = {}

    @property
    def problem(self) -> str | None:
        """Why somebody who has to answer cannot, for the device's status; None if all can."""
        return next(iter(list(self._problems.values())), None)

    @property
    def demanded(self) -> bool:
        """Whether the next person who says a passphrase is challenged."""
        return time.monotonic() < self._demanded_until

    def demand(self) -> None:
        """Challenge everybody until one has answered, at most for `DEMAND_S`.

        Until then, people without enrolled digits are denied.
        """
        self._demanded_until = time.monotonic() + DEMAND_S

    def end_demand(self) -> None:
        """End a demand, since somebody has answered."""
        self._demanded_until = -math.inf

    def count_able(self) -> int:
        """How many people could answer; prepares for them as `prepare` does."""
        return sum(self._can_answer(profile) for profile in self._people())

    def prepare(self) -> None:
        """Prepare for all who may have to answer, about a second each; for any thread."""
        for profile in self._people():
            if profile.rule.challenge or self._config.required != "never":
                judge = self.judge_of(profile)
                if judge is not None:
                    judge.choices()

    def requires(self, profile: Profile) -> bool:
        """Whether somebody has to answer now, apart from a demand."""
        required = self._config.required
        if profile.rule.challenge or required == "always":
            return True
        if required == "never":
            return False
        now = self._now()
        if now is None:
            return True
        minute = now.hour * 60 + now.minute
        begin, end = self._config.minutes
        if begin < end:
            return begin <= minute < end
        return minute >= begin or minute < end

    def judge_of(self, profile: Profile) -> AnswerJudge | None:
        """The judge of somebody's answers; None where they cannot answer."""
        try:
            judge = self._current_judge(profile)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the door stays shut
            problem = (
                f"{profile.name} cannot answer a challenge ({error}):"
                f" run edge-voice enroll {shlex.quote(profile.name)} --digits"
            )
            if self._problems.get(profile.id) != problem:
                _log.warning("%s", problem)
            if self.requires(profile):  # a demand soon ends, and is no problem of the device
                self._problems[profile.id] = problem
            return None
        self._problems.pop(profile.id, None)
        return judge

    def _can_answer(self, profile: Profile) -> bool:
        try:
            self._current_judge(profile).choices()
        except Exception as error:  # noqa: BLE001 - whatever is wrong, this person cannot
            _log.debug("%s cannot answer a challenge: %s", profile.name, error)
            return False
        return True

    def _people(self) -> list[Profile]:
        """Everybody with a completely enrolled passphrase, without duress phrases."""
        return [
            profile
            for profile in self.profiles
            if profile.kind is ProfileKind.PHRASE
            and profile.status is ProfileStatus.ENROLLED
            and profile.duress_of is None
        ]

    def _current_judge(self, profile: Profile) -> AnswerJudge:
        """The judge for the digits enrolled now, from before where they are the same."""
        model = self._engine.models.speaker.sha256
        stored = self._load_rounds(profile.id)
        rounds = [spoken for spoken in stored if spoken.speaker_model == model]
        if len(rounds) < ROUNDS:
            if len(stored) >= ROUNDS:
                raise ProfileError("digits were enrolled with another model")
            raise ProfileError(f"{len(rounds)} of {ROUNDS} rounds of digits enrolled")
        enrolled = (profile.name, *(spoken.voice.created_at for spoken in rounds))
        known = self._judges.get(profile.id)
        if known is not None and known[0] == enrolled:
            return known[1]
        judge = AnswerJudge(self._engine, profile, rounds)
        if len(self._judges) >= _MAX_JUDGES:
            self._judges = {}
        self._judges[profile.id] = (enrolled, judge)
        return judge

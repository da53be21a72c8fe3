"""The challenge: after the passphrase, random digits have to be said in the same voice, in time.

A recording of the passphrase is not enough, since nobody knows the digits beforehand. They come
from `secrets`; each string differs from the one before in every place, and from the latest ones in
at least two, so that no recorded answer comes close to a later one. While an answer is awaited,
every utterance counts as one. Only one person is challenged at a time.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from edge.access.checks import denied
from edge.access.decider import Judgment, age_of
from edge.challenge.policy import AnswerJudge, AnswerScore, ChallengePolicy, LoadRounds
from edge.config import ChallengeConfig
from edge.recognition.engine import Engine
from edge.recognition.scoring import confidence_of
from edge.types import Confidence, Outcome, Profile, ProfileKind, ReasonCode, Utterance

REMEMBERED = 32
"""Earlier strings that a new one has to differ from in two places."""
_TRIES = 1000
_REVERBERATION_S = 0.3
"""How long the room still sounds after the loudspeaker has finished."""
_GRACE_S = 3.0
"""After the deadline, the time for the pause after an answer and for judging it."""
_CONFIDENCES = (Confidence.LOW, Confidence.NORMAL, Confidence.HIGH)


class DigitStrings:
    """Random strings of digits that differ from earlier ones, which a restart forgets."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, ...]] = deque(maxlen=REMEMBERED)

    def next(self, choices: Sequence[int], count: int) -> tuple[int, ...]:
        """A string of two or more different digits, unlike earlier ones if choices suffice."""
        chance = secrets.SystemRandom()
        last = self._recent[-1] if self._recent else ()
        while True:
            for _ in range(_TRIES):
                digits = tuple(chance.sample(list(choices), count))
                if not _places_shared(digits, last) and all(
                    _places_shared(digits, earlier) <= len(earlier) - 2 for earlier in self._recent
                ):
                    self._recent.append(digits)
                    return digits
            # Among so few choices every string is close to an old one.
            self._recent.clear()


def _places_shared(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(a == b for a, b in zip(one, other))


@dataclass(frozen=True)
class Prompt:
    """The digits to show, such as "4172", with a UUID of their own; they expire at a Unix time."""

    id: str
    digits: str
    expires_at: float


@dataclass(frozen=True)
class _Pending:
    """A challenge that awaits its answer; times are of `time.monotonic()`."""

    judgment: Judgment
    profile: Profile
    judge: AnswerJudge
    digits: tuple[int, ...]
    listen_from: float
    until: float
    attempts_left: int


class Challenge:
    """Asks for digits and judges the answers; a `Check`.

    Use it from the thread that decides; `policy` may be used from others.

    Args:
        prompt: called with the digits to show, and with None when they are over. If it raises,
            the challenge ends and the door stays shut.
        speak: says digits through a loudspeaker; returns at once, with the seconds it takes. None
            without a loudspeaker.
        now: the local time; None where it is unknown, and then it is the hour for digits.

    Attributes:
        pending: whether the next utterance is an answer.
    """

    def __init__(
        self,
        config: ChallengeConfig,
        engine: Engine,
        load_rounds: LoadRounds,
        prompt: Callable[[Prompt | None], None],
        *,
        speak: Callable[[str], float] | None = None,
        now: Callable[[], datetime | None] = datetime.now,
    ) -> None:
        self.policy = ChallengePolicy(config, engine, load_rounds, now)
        self._config = config
        self._engine = engine
        self._prompt = prompt
        self._speak = speak
        self._by_id: dict[str, Profile] = {}
        self._strings = DigitStrings()
        self._pending: _Pending | None = None
        self.pending = False
        self._passed = ""

    def use(self, profiles: Sequence[Profile]) -> None:
        """Replace the enrolled people; a challenge of somebody who was changed ends."""
        if profiles is self.policy.profiles:
            return
        self.policy.use(profiles)
        self._by_id = {profile.id: profile for profile in profiles}
        if self._pending is not None:
            profile = self._by_id.get(self._pending.profile.id)
            if profile is None or profile.updated_at != self._pending.profile.updated_at:
                self.cancel()

    def review(self, judgment: Judgment) -> Judgment:
        """Deny a granted passphrase and ask for digits, where the person has to answer."""
        decision = judgment.decision
        if decision.outcome is not Outcome.GRANTED or decision.id == self._passed:
            return judgment
        profile = self._person(judgment)
        if profile is None:  # and nobody knows whether this person has to answer
            return denied(judgment, ReasonCode.CHALLENGE_FAILED)
        if not (self.policy.requires(profile) or self.policy.demanded):
            return judgment
        judge = self.policy.judge_of(profile)
        if judge is None:
            return denied(judgment, ReasonCode.CHALLENGE_FAILED)
        self._ask(judgment, profile, judge, self._config.attempts)
        return denied(judgment, ReasonCode.CHALLENGE_ASKED)

    def judge(self, utterance: Utterance) -> Judgment | None:
        """Judge an utterance while an answer is awaited; a bad recording costs no attempt.

        None if it is not an answer: it began before or during the prompt.
        """
        pending = self._pending
        if pending is None:
            return None
        started = time.perf_counter()
        if not _is_answer(pending, utterance):
            return None
        if _ended_at(utterance) > pending.until:
            self.cancel()
            return _judgment(pending, utterance, started)
        quality = self._engine.config.recognition
        reason = self._engine.refusal(utterance, ProfileKind.PHRASE, quality)
        if reason is not None:
            return _judgment(pending, utterance, started, reason)
        score = pending.judge.judge(utterance, pending.digits)
        if score.accepted:
            self.cancel()
            passed = _judgment(pending, utterance, started, ReasonCode.RECOGNIZED, score)
            self._passed = passed.decision.id
            self.policy.end_demand()
            return passed
        left = pending.attempts_left - 1
        if left > 0:
            self._ask(pending.judgment, pending.profile, pending.judge, left)
        else:
            self.cancel()
        return _judgment(pending, utterance, started, score=score)

    def tick(self) -> Judgment | None:
        """Deny, once, a challenge that was not answered in time; call it regularly."""
        pending = self._pending
        if pending is None or time.monotonic() <= pending.until + _GRACE_S:
            return None
        self.cancel()
        before = pending.judgment.utterance
        silence = replace(
            before,
            samples=np.zeros(0, np.float32),
            start_s=before.end_s,
            lead_s=0.0,
            speech_ended_at=time.monotonic(),
            closed_at=time.monotonic(),
            truncated=False,
        )
        return _judgment(pending, silence, time.perf_counter())

    def cancel(self) -> None:
        """Stop waiting for an answer, such as when the device stops listening."""
        if self._pending is not None:
            self._pending, self.pending = None, False
            self._prompt(None)

    def _person(self, judgment: Judgment) -> Profile | None:
        """Whose passphrase it was; for a duress phrase, the person it belongs to."""
        profile = judgment.candidate.profile if judgment.candidate is not None else None
        if profile is None:
            profile = self._by_id.get(judgment.decision.profile_id or "")
        if profile is not None and profile.duress_of is not None:
            return self._by_id.get(profile.duress_of)
        return profile

    def _ask(self, judgment: Judgment, profile: Profile, judge: AnswerJudge, attempts: int) -> None:
        digits = self._strings.next(judge.choices(), self._config.digits)
        text = "".join(str(digit) for digit in digits)
        spoken_s = self._speak(text) if self._speak is not None else 0.0
        now = time.monotonic()
        listen_from = now + spoken_s + (_REVERBERATION_S if spoken_s > 0.0 else 0.0)
        until = listen_from + self._config.answer_s
        self._pending = _Pending(judgment, profile, judge, digits, listen_from, until, attempts)
        self.pending = True
        try:
            self._prompt(Prompt(str(uuid.uuid4()), text, time.time() + until - now))
        except Exception:
            self._pending, self.pending = None, False
            raise


def _is_answer(pending: _Pending, utterance: Utterance) -> bool:
    """Whether it began after the end of the passphrase and after the digits were presented."""
    begun_s = utterance.start_s + utterance.lead_s
    if begun_s < pending.judgment.utterance.end_s:
        return False
    return _ended_at(utterance) - (utterance.end_s - begun_s) >= pending.listen_from


def _ended_at(utterance: Utterance) -> float:
    """When the speech ended, by `time.monotonic()`."""
    return utterance.speech_ended_at if utterance.speech_ended_at > 0.0 else time.monotonic()


def _judgment(
    pending: _Pending,
    utterance: Utterance,
    started: float,
    reason: ReasonCode = ReasonCode.CHALLENGE_FAILED,
    score: AnswerScore | None = None,
) -> Judgment:
    """A new decision on the person of the passphrase, made at the end of the answer."""
    before = pending.judgment.decision
    granted = reason is ReasonCode.RECOGNIZED
    scores = dict(before.scores)
    confidence = Confidence.HIGH
    timings = {
        "endpoint": max(0.0, (utterance.closed_at - utterance.speech_ended_at) * 1e3),
        "decide": (time.perf_counter() - started) * 1e3,
    }
    if score is not None:
        scores |= {
            "answer_margin": _finite(score.digits.margin),
            "answer_cost": _finite(score.digits.cost),
            "answer_voice": score.voice.score,
            "answer_voice_threshold": score.voice.threshold,
        }
        timings = {**score.timings_ms, **timings}
        if granted:
            of_answer = confidence_of((score.voice.margin,))
            confidence = min(before.confidence, of_answer, key=_CONFIDENCES.index)
    decision = replace(
        before,
        id=str(uuid.uuid4()),
        time=time.time() - age_of(utterance),
        outcome=Outcome.GRANTED if granted else Outcome.DENIED,
        reason=reason,
        confidence=confidence,
        scores=scores,
        utterance_s=max(0.0, utterance.duration_s - utterance.lead_s - utterance.tail_s),
        quality=utterance.quality,
        timings_ms=timings,
    )
    # The checks after this one need to know whose passphrase it was.
    return Judgment(utterance, decision, pending.judgment.candidate)


def _finite(value: float) -> float:
    """JSON has no infinity."""
    return float(np.clip(value, -1e6, 1e6))

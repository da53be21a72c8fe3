"""The challenge: after the passphrase, random digits, said in the same voice, in time.

A recording of the passphrase opens nothing where this is asked for, since nobody knows what will be
asked. The digits come from `secrets`; each string differs from the one before it in every place,
and from the last ones in at least two, so that no earlier answer is ever near a later one.

While digits are asked for, everything that is said is an answer: another person's passphrase is a
wrong one. Whoever asked first is served first, and a challenge is over soon.

Use it from the thread that decides; what `asking` says of itself may be used from any.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np

from edge.access.decider import Judgment, age_of
from edge.access.guard import denied
from edge.challenge.answers import AnswerJudge, AnswerScore
from edge.challenge.asking import Asking, Digits
from edge.config import ChallengeConfig
from edge.recognition.engine import Engine
from edge.recognition.scoring import confidence_of
from edge.types import (
    AccessDecision,
    Confidence,
    Outcome,
    Profile,
    ProfileKind,
    ReasonCode,
    Utterance,
)

REMEMBERED = 32
"""Earlier strings that a new one keeps away from."""
_TRIES = 1000


class DigitStrings:
    """Strings of digits for the challenge; those of before are forgotten at a restart."""

    def __init__(self) -> None:
        self._recent: deque[tuple[int, ...]] = deque(maxlen=REMEMBERED)

    def next(self, choices: Sequence[int], count: int) -> tuple[int, ...]:
        """Digits that differ from one another, and as a string from those before.

        Args:
            choices: the digits to choose from, `count` or more.
            count: how many, two or more.

        Returns:
            A string that differs from the last one in every place and, where there are choices
            enough, from the `REMEMBERED` last ones in two or more.
        """
        chance = secrets.SystemRandom()
        last = self._recent[-1] if self._recent else ()
        while True:
            for _ in range(_TRIES):
                digits = tuple(chance.sample(list(choices), count))
                if not _alike(digits, last) and all(
                    _alike(digits, earlier) <= len(earlier) - 2 for earlier in self._recent
                ):
                    self._recent.append(digits)
                    return digits
            # So few to choose from that all are near an old one.
            self._recent.clear()


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """In how many places two strings are the same."""
    return sum(a == b for a, b in zip(one, other))


_SETTLING_S = 0.3
"""Sound of a room that is still there after a loudspeaker has ended."""
_JUDGING_S = 3.0
"""How long after its end an answer may still be on its way: silence, and the judging itself."""


@dataclass(frozen=True)
class Prompt:
    """What a display or a loudspeaker has to present.

    Attributes:
        id: a UUID, new for each string of digits.
        digits: what is to be said, such as "4172".
        expires_at: Unix time after which it is no use any more.
    """

    id: str
    digits: str
    expires_at: float

    def as_dict(self) -> dict[str, Any]:
        """What is published."""
        return {
            "id": self.id,
            "digits": self.digits,
            "expires_at": round(self.expires_at, 3),
        }


@dataclass(frozen=True)
class _Asked:
    """What is waited for: times are of `time.monotonic()`."""

    judgment: Judgment
    profile: Profile
    judge: AnswerJudge
    digits: tuple[int, ...]
    listen_from: float
    until: float
    attempts_left: int


class Challenge:
    """Asks, waits, and judges answers; a `Check` for the guard.

    Args:
        config: whom to ask, and for how much.
        engine: the recognizer.
        digits: where enrolled digits are found.
        prompt: told what to present, and None once nothing is to be presented any more. What it
            raises ends the challenge, shut.
        speak: says digits through a loudspeaker and returns at once, with the seconds that they
            take; None where the device has no voice of its own.
        now: the local time.

    Attributes:
        asking: who is asked.
        pending: whether the next utterance is an answer.
    """

    def __init__(
        self,
        config: ChallengeConfig,
        engine: Engine,
        digits: Digits,
        prompt: Callable[[Prompt | None], None],
        *,
        speak: Callable[[str], float] | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.asking = Asking(config, engine, digits, now)
        self._config = config
        self._engine = engine
        self._prompt = prompt
        self._speak = speak
        self._by_id: dict[str, Profile] = {}
        self._strings = DigitStrings()
        self._asked: _Asked | None = None
        self.pending = False
        self._passed = ""

    @property
    def profiles(self) -> Sequence[Profile]:
        """Who is known."""
        return self.asking.profiles

    def use(self, profiles: Sequence[Profile]) -> None:
        """Know these people from now on. A challenge of somebody who changed meanwhile is over."""
        if profiles is self.asking.profiles:
            return
        self.asking.use(profiles)
        self._by_id = {profile.id: profile for profile in profiles}
        if self._asked is not None:
            known = self._by_id.get(self._asked.profile.id)
            if known is None or known.updated_at != self._asked.profile.updated_at:
                self._end()

    def review(self, judgment: Judgment) -> Judgment:
        """Ask, where somebody who must be asked was let in by the passphrase."""
        decision = judgment.decision
        if decision.outcome is not Outcome.GRANTED or decision.id == self._passed:
            return judgment
        profile = self._owner(judgment)
        if profile is None:
            # Nobody can say whether this person has to be asked.
            return denied(judgment, ReasonCode.CHALLENGE_FAILED)
        if not (self.asking.must_ask(profile) or self.asking.demanded):
            return judgment
        judge = self.asking.judge_of(profile)
        if judge is None:
            return denied(judgment, ReasonCode.CHALLENGE_FAILED)
        self._ask(judgment, profile, judge, self._config.attempts)
        return denied(judgment, ReasonCode.CHALLENGE_ASKED)

    def judge(self, utterance: Utterance) -> Judgment | None:
        """Take an utterance that came while digits are asked for.

        Returns:
            What it came to: `granted`, or `denied` with `challenge_failed`, or with what is wrong
            with the recording (which does not count as an answer). None where it is no answer: it
            began before the digits were asked for, or while they were being spoken.
        """
        asked = self._asked
        if asked is None:
            return None
        started = time.perf_counter()
        if not self._is_answer(asked, utterance):
            return None
        if _ended_at(utterance) > asked.until:
            self._end()
            return self._failed(asked, utterance, started, None)
        reason = self._engine.refusal(utterance, ProfileKind.PHRASE)
        if reason is not None:
            return self._judgment(asked, utterance, reason, started, None)
        score = asked.judge.judge(utterance, asked.digits)
        if score.accepted:
            self._end()
            passed = self._judgment(asked, utterance, ReasonCode.ACCEPTED, started, score)
            self._passed = passed.decision.id
            self.asking.satisfied()
            return passed
        left = asked.attempts_left - 1
        if left > 0:
            self._ask(asked.judgment, asked.profile, asked.judge, left)
        else:
            self._end()
        return self._failed(asked, utterance, started, score)

    def tick(self) -> Judgment | None:
        """To be called now and then: denies what was not answered in time, once."""
        asked = self._asked
        if asked is None or time.monotonic() <= asked.until + _JUDGING_S:
            return None
        self._end()
        before = asked.judgment.utterance
        # Nothing was said: what the decision is about ends now.
        nothing = replace(
            before,
            samples=np.zeros(0, np.float32),
            start_s=before.end_s,
            lead_s=0.0,
            speech_ended_at=time.monotonic(),
            closed_at=time.monotonic(),
            truncated=False,
        )
        return self._failed(asked, nothing, time.perf_counter(), None)

    def cancel(self) -> None:
        """Wait for no answer any more, such as when the device stops listening."""
        if self._asked is not None:
            self._end()

    def _owner(self, judgment: Judgment) -> Profile | None:
        profile = judgment.finding.profile if judgment.finding is not None else None
        if profile is None:
            profile = self._by_id.get(judgment.decision.profile_id or "")
        if profile is not None and profile.duress_of is not None:
            return self._by_id.get(profile.duress_of)
        return profile

    def _ask(self, judgment: Judgment, profile: Profile, judge: AnswerJudge, attempts: int) -> None:
        digits = self._strings.next(judge.choices(), self._config.digits)
        text = "".join(str(digit) for digit in digits)
        spoken_s = 0.0
        if self._speak is not None:
            spoken_s = self._speak(text)
        now = time.monotonic()
        listen_from = now + (spoken_s + _SETTLING_S if spoken_s > 0.0 else 0.0)
        until = listen_from + self._config.answer_s
        self._asked = _Asked(judgment, profile, judge, digits, listen_from, until, attempts)
        self.pending = True
        try:
            self._prompt(Prompt(str(uuid.uuid4()), text, time.time() + until - now))
        except Exception:
            self._asked, self.pending = None, False
            raise

    def _is_answer(self, asked: _Asked, utterance: Utterance) -> bool:
        """Whether it began after the passphrase had ended and the digits were presented."""
        before = asked.judgment.utterance
        begun_s = utterance.start_s + utterance.lead_s
        if begun_s < before.end_s:
            return False
        return _ended_at(utterance) - (utterance.end_s - begun_s) >= asked.listen_from

    def _failed(
        self,
        asked: _Asked,
        utterance: Utterance,
        started: float,
        score: AnswerScore | None,
    ) -> Judgment:
        return self._judgment(asked, utterance, ReasonCode.CHALLENGE_FAILED, started, score)

    def _judgment(
        self,
        asked: _Asked,
        utterance: Utterance,
        reason: ReasonCode,
        started: float,
        score: AnswerScore | None,
    ) -> Judgment:
        """A decision of its own, about the person of the passphrase, at the end of the answer."""
        before = asked.judgment.decision
        granted = reason is ReasonCode.ACCEPTED
        scores = dict(before.scores)
        confidence = Confidence.HIGH
        timings = {
            "endpoint": max(0.0, (utterance.closed_at - utterance.speech_ended_at) * 1e3),
            "decide": (time.perf_counter() - started) * 1e3,
        }
        if score is not None:
            scores = {**scores, **_figures(score)}
            timings = {**score.timings_ms, **timings}
            if granted:
                least = confidence_of((score.voice.margin,))
                confidence = min(before.confidence, least, key=_CONFIDENCES.index)
        decision: AccessDecision = replace(
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
        # With what is known of the passphrase: the checks after this one ask whose it was.
        return Judgment(utterance, decision, asked.judgment.finding)

    def _end(self) -> None:
        self._asked, self.pending = None, False
        self._prompt(None)


_CONFIDENCES = (Confidence.LOW, Confidence.NORMAL, Confidence.HIGH)


def _ended_at(utterance: Utterance) -> float:
    """When the speech ended, by `time.monotonic()`."""
    return utterance.speech_ended_at if utterance.speech_ended_at > 0.0 else time.monotonic()


def _figures(score: AnswerScore) -> dict[str, float]:
    return {
        "answer_margin": _finite(score.digits.margin),
        "answer_cost": _finite(score.digits.cost),
        "answer_voice": score.voice.score,
        "answer_voice_threshold": score.voice.threshold,
    }


def _finite(value: float) -> float:
    """JSON has no infinity."""
    return float(np.clip(value, -1e6, 1e6))

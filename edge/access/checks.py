"""The checks between recognition and the door: the duress phrase, and the access rules.

An attacker who forces somebody to open the door sees and hears what the device does, and may read
its messages and its journal. So in all that is published, logged or played, a duress phrase looks
like the person's own phrase; only the alarm, on its own topic and in the audit trail, differs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from edge.access.clock import DoorClock
from edge.access.decider import Candidate, Judgment
from edge.errors import EdgeVoiceError
from edge.recognition.scoring import Scorer
from edge.types import (
    AccessDecision,
    AccessRule,
    Event,
    EventKind,
    Outcome,
    Profile,
    ReasonCode,
    Window,
)

_log = logging.getLogger(__name__)


class Check(Protocol):
    """May deny a judgment; no check turns a denial into a grant.

    Checks run in order; each sees what the one before decided.
    """

    def review(self, judgment: Judgment) -> Judgment:
        """The judgment, or a denial of it."""
        ...


def denied(judgment: Judgment, reason: ReasonCode, *, named: bool = True) -> Judgment:
    """The judgment, denied for a reason; unless `named` without what was recognized."""
    decision = replace(judgment.decision, outcome=Outcome.DENIED, reason=reason)
    if not named:
        decision = replace(decision, profile_id=None, name=None, phrase=None, scores={})
    return replace(judgment, decision=decision)


class DuressCheck:
    """Makes a judgment of a duress profile one of the person's own profile, and raises the alarm.

    It comes first: the other checks use the person's own rule, hours and digits, and the alarm is
    raised whatever they decide.

    `alarm` is called before the decision is published, when a duress phrase was said in the right
    voice; it must not wait.
    """

    def __init__(
        self,
        profiles: Callable[[], Sequence[Profile]],
        scorer: Scorer,
        alarm: Callable[[Event], None],
    ) -> None:
        self._profiles = profiles
        self._scorer = scorer
        self._alarm = alarm

    def review(self, judgment: Judgment) -> Judgment:
        """The judgment, or that of the person's own profile."""
        candidate = judgment.candidate
        if candidate is None or candidate.profile.duress_of is None:
            return judgment
        owner_id = candidate.profile.duress_of
        owner = next((each for each in self._profiles() if each.id == owner_id), None)
        if judgment.decision.granted:
            self._raise(judgment.decision, owner_id)
        if owner is None:  # deleted this very moment
            return replace(denied(judgment, ReasonCode.NO_MATCH, named=False), candidate=None)
        own = _as_own(candidate, owner, self._scorer)
        return replace(judgment, decision=_decision(judgment.decision, own), candidate=own)

    def _raise(self, decision: AccessDecision, owner_id: str) -> None:
        detail = {"decision": decision.id, "device": decision.device}
        try:
            self._alarm(Event(EventKind.DURESS, detail, owner_id))
        except EdgeVoiceError as error:
            # The door opens all the same: a refusal would endanger the speaker. And above debug
            # level nothing may show it.
            _log.debug("the alarm cannot be raised: %s", error)


def _as_own(candidate: Candidate, owner: Profile, scorer: Scorer) -> Candidate:
    """The candidate, with the person's own profile."""
    voice, phrase = candidate.voice, candidate.phrase
    # The threshold depends on the number of enrolled repetitions, which may differ.
    threshold = scorer.voice_threshold(candidate.sharing, enrollments=len(owner.enrolled))
    moved = threshold - voice.threshold
    return replace(
        candidate,
        profile=owner,
        voice=replace(
            voice,
            profile_id=owner.id,
            name=owner.name,
            score=voice.score + moved,
            threshold=threshold,
        ),
        phrase=replace(phrase, profile_id=owner.id, phrase=owner.phrase),
        duress=True,
    )


def _decision(decision: AccessDecision, own: Candidate) -> AccessDecision:
    scores = dict(decision.scores)
    scores.update(voice=own.voice.score, voice_threshold=own.voice.threshold)
    known = decision.profile_id is not None
    return replace(
        decision,
        profile_id=own.profile.id if known else None,
        name=own.profile.name if known else None,
        phrase=(own.profile.phrase or None) if own.phrase.accepted else None,
        scores=scores,
    )


class PolicyCheck:
    """Denies what the person's rule does not allow; the decision still says who it was."""

    def __init__(self, door: str, clock: DoorClock, *, without_time: bool = False) -> None:
        self._door = door
        self._clock = clock
        self._without_time = without_time

    def review(self, judgment: Judgment) -> Judgment:
        """The judgment, or a denial of it."""
        if not judgment.decision.granted:
            return judgment
        if judgment.candidate is None:  # no rule to ask
            return denied(judgment, ReasonCode.DISABLED)
        reason = self.reason_against(judgment.candidate.profile.rule)
        return judgment if reason is None else denied(judgment, reason)

    def reason_against(self, rule: AccessRule) -> ReasonCode | None:
        """Why a rule denies now; None if it allows."""
        now = self._clock.now() if rule.timed else None
        return allows(rule, self._door, now, without_time=self._without_time)


def allows(
    rule: AccessRule, door: str, now: datetime | None, *, without_time: bool = False
) -> ReasonCode | None:
    """Why a rule denies; None if it allows.

    Local time counts. When clocks go forward, a window within the hour left out does not happen
    that day; when they go back, one within the hour that comes twice is open both times. Where
    `now` is None, a rule that needs the time denies, or with `without_time` allows.
    """
    if not rule.enabled:
        return ReasonCode.DISABLED
    if rule.doors and door not in rule.doors:
        return ReasonCode.NOT_HERE
    if rule.timed and not (without_time if now is None else _within(rule, now)):
        return ReasonCode.NOT_NOW
    return None


def _within(rule: AccessRule, now: datetime) -> bool:
    today = now.date()
    if rule.first_day is not None and today < rule.first_day:
        return False
    if rule.last_day is not None and today > rule.last_day:
        return False
    # A window that began on the day before the first one is not this guest's.
    yesterday = rule.first_day is None or today > rule.first_day
    return not rule.windows or any(_inside(window, now, yesterday) for window in rule.windows)


def _inside(window: Window, now: datetime, yesterday_counts: bool) -> bool:
    minute = now.hour * 60 + now.minute
    begins_today = now.weekday() in window.days
    if window.end_minute > window.start_minute:
        return begins_today and window.start_minute <= minute < window.end_minute
    began_yesterday = (now.weekday() - 1) % 7 in window.days
    return (begins_today and minute >= window.start_minute) or (
        yesterday_counts and began_yesterday and minute < window.end_minute
    )

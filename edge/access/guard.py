"""The checks between recognition and the door: a chain of them, and the access rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from edge.access.clock import DoorClock
from edge.access.decider import Judgment
from edge.types import AccessRule, Outcome, ReasonCode, Window


class Check(Protocol):
    """May deny a judgment; no check turns a denial into a grant."""

    def review(self, judgment: Judgment) -> Judgment:
        """The judgment, or a denial of it."""
        ...


class Guard:
    """Runs every check over every judgment, in order; each sees what the one before decided."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = tuple(checks)

    def review(self, judgment: Judgment) -> Judgment:
        """The judgment after all checks."""
        for check in self._checks:
            judgment = check.review(judgment)
        return judgment


def denied(judgment: Judgment, reason: ReasonCode) -> Judgment:
    """The judgment, denied for a reason."""
    decision = replace(judgment.decision, outcome=Outcome.DENIED, reason=reason)
    return replace(judgment, decision=decision)


def allows(rule: AccessRule, door: str, now: datetime | None) -> ReasonCode | None:
    """Why a rule denies; None if it allows.

    Local time counts. When clocks go forward, a window within the hour left out does not happen
    that day; when they go back, one within the hour that comes twice is open both times.

    Args:
        rule: what the person may do.
        door: id of the device.
        now: local time; None if unknown, and then a rule that needs it denies.
    """
    if not rule.enabled:
        return ReasonCode.DISABLED
    if rule.doors and door not in rule.doors:
        return ReasonCode.NOT_HERE
    if rule.timed and (now is None or not _within(rule, now)):
        return ReasonCode.NOT_NOW
    return None


def _within(rule: AccessRule, now: datetime) -> bool:
    today = now.date()
    if rule.first_day is not None and today < rule.first_day:
        return False
    if rule.last_day is not None and today > rule.last_day:
        return False
    return not rule.windows or any(_inside(window, now) for window in rule.windows)


def _inside(window: Window, now: datetime) -> bool:
    minute = now.hour * 60 + now.minute
    begins_today = now.weekday() in window.days
    if window.end_minute > window.start_minute:
        return begins_today and window.start_minute <= minute < window.end_minute
    began_yesterday = (now.weekday() - 1) % 7 in window.days
    return (begins_today and minute >= window.start_minute) or (
        began_yesterday and minute < window.end_minute
    )


class PolicyCheck:
    """Denies what the person's rule does not allow; the decision still says who it was."""

    def __init__(self, door: str, clock: DoorClock) -> None:
        self._door = door
        self._clock = clock

    def review(self, judgment: Judgment) -> Judgment:
        """The judgment, or a denial of it."""
        if not judgment.decision.granted:
            return judgment
        if judgment.candidate is None:  # no rule to ask
            return denied(judgment, ReasonCode.DISABLED)
        rule = judgment.candidate.profile.rule
        reason = allows(rule, self._door, self._clock.now() if rule.timed else None)
        return judgment if reason is None else denied(judgment, reason)

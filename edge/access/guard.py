"""What stands between being recognized and the door: checks, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from edge.access.clock import DoorClock
from edge.access.decider import Judgment
from edge.types import AccessRule, Outcome, ReasonCode, Window


class Check(Protocol):
    """One thing that can stand in the way. A check may deny; none of them turns a no into a yes."""

    def review(self, judgment: Judgment) -> Judgment:
        """What becomes of a judgment: itself, or one that denies."""
        ...


class Guard:
    """Runs every check over every judgment, in order.

    Args:
        checks: the first one is asked first; each sees what the one before made of it.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = tuple(checks)

    def review(self, judgment: Judgment) -> Judgment:
        """What becomes of a judgment in the end."""
        for check in self._checks:
            judgment = check.review(judgment)
        return judgment


def denied(judgment: Judgment, reason: ReasonCode) -> Judgment:
    """The same judgment with the door shut for another reason."""
    decision = replace(judgment.decision, outcome=Outcome.DENIED, reason=reason)
    return replace(judgment, decision=decision)


def allows(rule: AccessRule, door: str, now: datetime | None) -> ReasonCode | None:
    """Ask a rule.

    It is the clock on the wall that counts, as people read it. When it is put forward, what lies in
    the hour that is left out does not happen that day; when it is put back, what lies in the hour
    that comes twice is allowed both times.

    Args:
        rule: what the person may do.
        door: id of the device.
        now: the local time at the door; None when nobody knows it, and then whatever depends on it
            is refused.

    Returns:
        None if the person may open, else why not.
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
    """Denies what the person's rule does not allow; the decision still says who it was.

    Args:
        door: id of this device.
        clock: the time at this door.
    """

    def __init__(self, door: str, clock: DoorClock) -> None:
        self._door = door
        self._clock = clock

    def review(self, judgment: Judgment) -> Judgment:
        """What becomes of a judgment: itself, or one that denies."""
        if not judgment.decision.granted:
            return judgment
        if judgment.finding is None:  # nobody whose rule could be asked
            return denied(judgment, ReasonCode.DISABLED)
        rule = judgment.finding.profile.rule
        reason = allows(rule, self._door, self._clock.now() if rule.timed else None)
        return judgment if reason is None else denied(judgment, reason)

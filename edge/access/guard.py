"""What stands between being recognised and the door: checks, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from edge.access.decider import Judgement
from edge.types import Outcome, ReasonCode


class Check(Protocol):
    """One thing that can stand in the way. A check may deny; none of them turns a no into a yes."""

    def review(self, judgement: Judgement) -> Judgement:
        """What becomes of a judgement: itself, or one that denies."""
        ...


class Guard:
    """Runs every check over every judgement, in order.

    Args:
        checks: the first one is asked first; each sees what the one before made of it.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = tuple(checks)

    def review(self, judgement: Judgement) -> Judgement:
        """What becomes of a judgement in the end."""
        for check in self._checks:
            judgement = check.review(judgement)
        return judgement


def denied(judgement: Judgement, reason: ReasonCode) -> Judgement:
    """The same judgement with the door shut for another reason."""
    decision = replace(judgement.decision, outcome=Outcome.DENIED, reason=reason)
    return replace(judgement, decision=decision)

"""What came of it: each decision held against the one that was expected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional


@dataclass(frozen=True)
class Expectation:
    """What a decision has to be.

    Attributes:
        title: who does what, for people.
        text: what is said; empty where that is up to the person at the microphone.
        decision: `Outcome` value.
        reason: `ReasonCode` value.
        name: whose name the decision must carry; None for anyone's or no one's.
    """

    title: str
    text: str
    decision: str
    reason: str
    name: Optional[str]

    def __str__(self) -> str:
        return f"{self.decision}, {self.reason}"


@dataclass(frozen=True)
class Result:
    """A decision, or that none came.

    Attributes:
        expected: what it had to be.
        decision: the payload as it came over MQTT; None when none came in time.
        after_s: from the end of the speech until it was at the subscriber, seconds.
    """

    expected: Expectation
    decision: Optional[dict[str, Any]] = field(repr=False)
    after_s: Optional[float]

    @property
    def as_expected(self) -> bool:
        """Whether the decision came, and is what it had to be."""
        if self.decision is None:
            return False
        return (
            self.decision.get("decision") == self.expected.decision
            and self.decision.get("reason") == self.expected.reason
            and self.expected.name in (None, self.decision.get("name"))
        )

    def as_dict(self) -> dict[str, Any]:
        """The result under its JSON names."""
        return {
            "title": self.expected.title,
            "text": self.expected.text or None,
            "expected": {
                "decision": self.expected.decision,
                "reason": self.expected.reason,
                "name": self.expected.name,
            },
            "decision": self.decision,
            "after_speech_s": None if self.after_s is None else round(self.after_s, 3),
            "as_expected": self.as_expected,
        }

    def __str__(self) -> str:
        if self.decision is None:
            return "no decision came"
        name = self.decision.get("name")
        who = f" ({name})" if name else ""
        return f"{self.decision.get('decision')}, {self.decision.get('reason')}{who}"

"""What came of it: each decision held against the one that was expected."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any


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
    name: str | None

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
    decision: dict[str, Any] | None = field(repr=False)
    after_s: float | None

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


@dataclass(frozen=True)
class Outcome:
    """The whole demo.

    Attributes:
        results: one for each recording, in the order in which they were played.
        unasked: decisions that came although nothing had been said.
        end_silence_s: how long the daemon waits in silence until it takes speech for ended.
    """

    results: tuple[Result, ...]
    unasked: int
    end_silence_s: float

    @property
    def as_expected(self) -> bool:
        """Whether every decision was what it had to be, and there was no other."""
        return not self.unasked and all(result.as_expected for result in self.results)

    @property
    def median_after_s(self) -> float | None:
        """From the end of the speech until the decision arrived, seconds; None where none did."""
        times = [result.after_s for result in self.results if result.after_s is not None]
        return statistics.median(times) if times else None

    @property
    def median_decide_s(self) -> float | None:
        """What the daemon needed to decide, seconds, as it says itself; None where it does not."""
        timings = [(result.decision or {}).get("timings_ms", {}) for result in self.results]
        times = [one["decide"] / 1000.0 for one in timings if "decide" in one]
        return statistics.median(times) if times else None

    def as_dict(self) -> dict[str, Any]:
        """The outcome under its JSON names."""
        median, decide = self.median_after_s, self.median_decide_s
        return {
            "as_expected": self.as_expected,
            "passed": sum(result.as_expected for result in self.results),
            "failed": sum(not result.as_expected for result in self.results),
            "unasked": self.unasked,
            "median_after_speech_s": None if median is None else round(median, 3),
            "median_decide_s": None if decide is None else round(decide, 3),
            "end_silence_s": self.end_silence_s,
            "results": [result.as_dict() for result in self.results],
        }

    def __str__(self) -> str:
        passed = sum(result.as_expected for result in self.results)
        parts = [f"{passed} of {len(self.results)} decisions as expected"]
        if self.unasked:
            parts.append(f"{self.unasked} that nobody asked for")
        if self.median_after_s is not None:
            parts.append(
                f"they came {self.median_after_s:.2f} s after the end of speech (median); to say"
                f" no, {self.end_silence_s:.2f} s of it are the wait for silence"
            )
        if self.median_decide_s is not None:
            parts.append(f"deciding took {self.median_decide_s:.2f} s")
        return "; ".join(parts) + "."

"""What the audit trail keeps of a decision: everything but names, phrases and scores of voices."""

from __future__ import annotations

from edge.types import AccessDecision, Event, EventKind


def event_of(decision: AccessDecision) -> Event:
    """The event of a decision. The id in its detail is the one that was published."""
    return Event(
        EventKind.DECISION,
        {
            "outcome": decision.outcome.value,
            "reason": decision.reason.value,
            "confidence": decision.confidence.value,
            "utterance_s": round(decision.utterance_s, 2),
            "id": decision.id,
        },
        decision.profile_id,
        decision.time,
    )

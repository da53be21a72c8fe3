"""What the audit trail keeps of a decision: everything but names, phrases and scores of voices."""

from __future__ import annotations

from edge.types import AccessDecision, Event, EventKind


def event_of(decision: AccessDecision, *, sent: bool = True) -> Event:
    """The event of a decision. The id in its detail is the one that was published.

    Args:
        decision: as it was issued.
        sent: whether it was; False for one that came too late, or could not be numbered.
    """
    return Event(
        EventKind.DECISION,
        {
            "outcome": decision.outcome.value,
            "reason": decision.reason.value,
            "confidence": decision.confidence.value,
            "utterance_s": round(decision.utterance_s, 2),
            "id": decision.id,
            "counter": decision.counter,
            "sent": sent,
        },
        decision.profile_id,
        decision.time,
    )

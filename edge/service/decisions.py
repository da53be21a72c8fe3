"""What happens to a judgment: checked, numbered and signed, published, kept in the audit trail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from edge.access.decider import Judgment, age_of
from edge.access.guard import Guard
from edge.access.issuing import Issuer, audit_event_of
from edge.audio.files import DebugRecordings
from edge.errors import StoreError
from edge.mqtt import MqttPublisher
from edge.types import AccessDecision, Event

_log = logging.getLogger(__name__)


class Door:
    """The way of every judgment to whoever opens. Used from the worker's thread.

    Args:
        guard: what stands in the way.
        issuer: numbers and signs.
        publisher: sends.
        record: keeps it in the audit trail; must not wait for a disk.
        on_decision: told of every decision, after it was handed to MQTT.
        recordings: keeps what was said, where somebody asked for it; None mostly.

    Attributes:
        late: how many decisions were dropped because they came too late.
    """

    def __init__(
        self,
        guard: Guard,
        issuer: Issuer,
        publisher: MqttPublisher,
        *,
        record: Callable[[Event], None],
        on_decision: Callable[[AccessDecision], None] | None = None,
        recordings: DebugRecordings | None = None,
    ) -> None:
        self.late = 0
        self._guard = guard
        self._issuer = issuer
        self._publisher = publisher
        self._record = record
        self._on_decision = on_decision
        self._recordings = recordings

    def decide(self, judgment: Judgment) -> Judgment | None:
        """Take a judgment to its end.

        Returns:
            What became of it and was published; None when nothing was.
        """
        # A worker that was held up must not open the door for somebody who has left.
        age = age_of(judgment.utterance)
        judgment = self._guard.review(judgment)
        decision = judgment.decision
        if age > decision.lifetime_s:
            self.late += 1
            _log.warning("a decision came %.1f s after the speech and was dropped", age)
            self._record(audit_event_of(decision, sent=False))
            return None
        try:
            decision = self._issuer.issue(decision)
        except StoreError as error:
            # One that could be repeated later must not open anything now.
            _log.error("a decision was dropped, since it has no number: %s", error)
            self._record(audit_event_of(decision, sent=False))
            return None
        self._publisher.publish_decision(decision, age)
        _log.info(
            "%s (%s, %s confidence)%s, %.1f s of speech, decided in %.0f ms",
            decision.outcome.value,
            decision.reason.value,
            decision.confidence.value,
            f" {decision.name}" if decision.name else "",
            decision.utterance_s,
            decision.timings_ms.get("decide", 0.0),
        )
        self._record(audit_event_of(decision))
        if self._on_decision is not None:
            self._on_decision(decision)
        if self._recordings is not None:
            self._recordings.keep(judgment.utterance)
        return replace(judgment, decision=decision)

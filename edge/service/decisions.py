"""From blocks of sound to decisions that are checked, signed, published and audited."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from edge.access.checks import Check
from edge.access.decider import Decider, Judgment, age_of
from edge.access.issuing import Issuer
from edge.access.listener import Answers, Listener
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.files import DebugRecordings
from edge.config import Config
from edge.errors import StoreError
from edge.recognition import Engine
from edge.service.context import ServiceContext
from edge.types import AccessDecision, Event, EventKind, Profile

_log = logging.getLogger(__name__)


class DecisionPipeline:
    """Cuts the stream into utterances and judges them; for one thread.

    Attributes:
        endpointer: cuts the stream; its `speaking` and `discarded` may be read from any thread.
        listener: gives out judgments.
    """

    def __init__(self, config: Config, engine: Engine, answers: Answers | None = None) -> None:
        self.endpointer = EndPointer(EndPointSettings.of(config.audio, rolling=True))
        self._decider = Decider(engine, config)
        self.listener = Listener(
            self.endpointer,
            engine,
            self._decider,
            inside=config.access.in_running_speech,
            answers=answers,
        )

    def enrolled(self, profiles: Sequence[Profile]) -> int:
        """How many people can open; for any thread."""
        return sum(each.duress_of is None for each in self._decider.eligible(profiles))


class DecisionPublisher:
    """Checks, signs, publishes and audits decisions; for the worker's thread.

    Attributes:
        late: how many decisions were dropped because they came too late.
    """

    def __init__(
        self,
        context: ServiceContext,
        checks: Sequence[Check],
        issuer: Issuer,
        on_decision: Callable[[AccessDecision], None] | None = None,
    ) -> None:
        self.late = 0
        self._context = context
        self._checks = checks
        self._issuer = issuer
        self._on_decision = on_decision
        folder = context.config.store.debug_recordings
        self._recordings = DebugRecordings(folder) if folder is not None else None

    def publish(self, judgment: Judgment) -> Judgment | None:
        """Publish the decision on a judgment.

        Returns:
            What was published; None where nothing was.
        """
        # A worker that was held up must not open the door for somebody who has left.
        age = age_of(judgment.utterance)
        for check in self._checks:
            judgment = check.review(judgment)
        decision = judgment.decision
        if age > decision.lifetime_s:
            self.late += 1
            _log.warning("a decision came %.1f s after the speech and was dropped", age)
            self._record(decision, sent=False)
            return None
        try:
            decision = self._issuer.issue(decision)
        except StoreError as error:
            # Without a counter it could be repeated later.
            _log.error("a decision without a counter was dropped: %s", error)
            self._record(decision, sent=False)
            return None
        self._context.publisher.publish_decision(decision, age)
        _log.info(
            "%s (%s, %s confidence)%s, %.1f s of speech, decided in %.0f ms",
            decision.outcome.value,
            decision.reason.value,
            decision.confidence.value,
            f" {decision.name}" if decision.name else "",
            decision.utterance_s,
            decision.timings_ms.get("decide", 0.0),
        )
        self._record(decision)
        if self._on_decision is not None:
            self._on_decision(decision)
        if self._recordings is not None:
            self._recordings.keep(judgment.utterance)
        return replace(judgment, decision=decision)

    def _record(self, decision: AccessDecision, *, sent: bool = True) -> None:
        self._context.trail.record(audit_event_of(decision, sent=sent))


def audit_event_of(decision: AccessDecision, *, sent: bool = True) -> Event:
    """The audit trail's entry on a decision; `sent` is False where it was dropped."""
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

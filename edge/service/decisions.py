"""Makes decisions of the sound at one door: cuts, judges, checks, signs, publishes, records."""

from __future__ import annotations

import logging
import math
from collections import deque
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
from edge.types import AccessDecision, AccessRule, Event, EventKind, Profile
from edge.types.decision import one_line

_log = logging.getLogger(__name__)


class DecisionPipeline:
    """Cuts the stream into utterances and judges them; for one thread.

    Attributes:
        endpointer: cuts the stream; its `speaking` and `discarded` may be read from any thread.
        listener: gives out judgments.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine,
        answers: Answers | None = None,
        locked: Callable[[], bool] = lambda: False,
        may_open: Callable[[AccessRule], bool] = lambda _: True,
    ) -> None:
        self.endpointer = EndPointer(EndPointSettings.of(config.audio, rolling=True))
        self._decider = Decider(engine, config, may_open)
        self.listener = Listener(
            self.endpointer,
            engine,
            self._decider,
            inside=config.access.in_running_speech,
            answers=answers,
            locked=locked,
        )

    def enrolled(self, profiles: Sequence[Profile]) -> int:
        """How many people can open; for any thread."""
        return sum(each.duress_of is None for each in self._decider.eligible(profiles))


class SilentAlarms:
    """Duress alarms on their way; for the worker's thread.

    Each is sent once the decision is out, so that no decision is later than another one. And it is
    no entry of its own in the audit trail but the kind of the decision's entry, so that the trail
    grows as it does without an alarm. During a lock-out that is the answer to the utterance.
    """

    def __init__(self, send: Callable[[Event], None]) -> None:
        self._send = send
        self._unsent: deque[Event] = deque()
        self._unrecorded: deque[Event] = deque()

    def add(self, event: Event) -> None:
        """Note an alarm; nothing waits."""
        self._unsent.append(event)
        self._unrecorded.append(event)

    def send(self) -> None:
        """Send what waits."""
        while self._unsent:
            self._send(self._unsent.popleft())

    def entry(self, decision: Event) -> Event:
        """The audit trail's entry on a decision, or on the alarm that waits for one."""
        if not self._unrecorded:
            return decision
        alarm = self._unrecorded.popleft()
        return replace(decision, kind=alarm.kind, profile_id=alarm.profile_id)

    def left(self) -> list[Event]:
        """The alarms that no decision followed, as when the service stops."""
        left = list(self._unrecorded)
        self._unrecorded.clear()
        return left


class DecisionPublisher:
    """Checks, signs, publishes and audits decisions; for the worker's thread.

    Attributes:
        late: how many decisions were dropped because they came too late.
        woke_at: `time.monotonic()` when the machine last came out of suspend. That clock stands
            still in suspend: what was said before is older than it looks.
        closed: set once another service decides; nothing more is published then.
    """

    def __init__(
        self,
        context: ServiceContext,
        checks: Sequence[Check],
        issuer: Issuer,
        alarms: SilentAlarms,
        on_decision: Callable[[AccessDecision], None] | None = None,
    ) -> None:
        self.late = 0
        self.woke_at = 0.0
        self._alarms = alarms
        self.closed = False
        self._context = context
        self._checks = checks
        self._issuer = issuer
        self._on_decision = on_decision
        config = context.config
        self._where = f"{config.device.id}: " if config.microphones else ""
        folder = context.config.store.debug_recordings
        self._recordings = DebugRecordings(folder) if folder is not None else None

    def publish(self, judgment: Judgment) -> Judgment | None:
        """Check a judgment and publish the decision; None where nothing was published."""
        # A worker that was held up must not open the door for somebody who has left.
        age = age_of(judgment.utterance)
        if 0.0 < judgment.utterance.speech_ended_at < self.woke_at:
            age = math.inf
        for check in self._checks:
            judgment = check.review(judgment)
        try:
            return self._publish(judgment, age) if judgment.published else None
        finally:
            self._alarms.send()

    def close(self) -> None:
        """Record the alarms that no decision followed."""
        for event in self._alarms.left():
            self._context.trail.record(event)

    def _publish(self, judgment: Judgment, age: float) -> Judgment | None:
        decision = judgment.decision
        if self.closed:
            return None
        if age > decision.lifetime_s:
            self.late += 1
            if math.isfinite(age):
                _log.warning("a decision came %.1f s after the speech and was dropped", age)
            else:
                _log.warning("a decision on what was said before a suspend was dropped")
            self._record(decision, sent=False)
            return None
        try:
            issued = self._issuer.issue(decision.for_everybody())
        except StoreError as error:
            # Without a counter it could be repeated later.
            _log.error("a decision without a counter was dropped: %s", error)
            self._record(decision, sent=False)
            return None
        self._context.publisher.publish_decision(issued, age)
        self._tell_details(decision)
        # Without the signature, which is of what was published.
        decision = replace(decision, counter=issued.counter, issued_at=issued.issued_at)
        _log.info(
            "%s%s (%s, %s confidence)%s, %.1f s of speech, decided in %.0f ms",
            self._where,
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
        if self._recordings is not None and len(judgment.utterance.samples):
            self._recordings.keep(judgment.utterance)
        return replace(judgment, decision=decision)

    def _tell_details(self, decision: AccessDecision) -> None:
        user = self._context.config.mqtt.details_for
        if user is not None and decision.scores:
            self._context.publisher.publish(
                f"details/{user}",
                one_line(decision.details()),
                lifetime_s=decision.lifetime_s,
                expendable=True,
            )

    def _record(self, decision: AccessDecision, *, sent: bool = True) -> None:
        self._context.trail.record(self._alarms.entry(audit_event_of(decision, sent=sent)))


def audit_event_of(decision: AccessDecision, *, sent: bool = True) -> Event:
    """The audit trail's entry on a decision; `sent` is False where it was dropped."""
    figures = {f"{part}_margin": margin for part, margin in decision.margins().items()}
    if decision.quality is not None:
        figures.update(level_dbfs=decision.quality.level_dbfs, snr_db=decision.quality.snr_db)
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
            **{name: round(value, 2) for name, value in figures.items()},
        },
        decision.profile_id,
        decision.time,
    )

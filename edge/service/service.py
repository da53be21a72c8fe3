"""Runs a service: listens without pause, decides, publishes, and watches its own health.

One worker thread takes blocks from the source, cuts utterances and decides on them; the MQTT client
has a thread of its own; the main thread does what may wait for a disk, and feeds the watchdog.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import edge
from edge.access.checks import Check
from edge.access.clock import DoorClock
from edge.access.decider import Decider, Judgment, age_of
from edge.access.issuing import Issuer
from edge.access.listener import Answers, Listener
from edge.access.lockout import LockOut
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.audio.files import DebugRecordings
from edge.audio.microphone import MicrophoneState, ReconnectingMicrophone
from edge.audio.sharing import SharedMicrophone
from edge.audio.sources import Source
from edge.challenge.challenge import Challenge
from edge.config import Config
from edge.errors import EdgeVoiceError, StoreError
from edge.mqtt.command_queue import CommandQueue
from edge.mqtt.link import Incoming
from edge.notify import Notifier
from edge.recognition import Engine
from edge.service.context import Handover, ServiceContext, same_place
from edge.service.enrollment import RemoteEnrollment
from edge.service.identification import LiveIdentification
from edge.service.microphone_kind import MicrophoneKind
from edge.service.observers import LIVE_S, Observers
from edge.service.state_files import StateFiles
from edge.store.device_state import DeviceState
from edge.types import AccessDecision, AccessRule, AudioBlock, Detail, Event, EventKind, Profile
from edge.types.decision import one_line
from edge.uptime import uptime

_TICK_S = 0.5
_WORKER_GRACE_S = 0.6
"""How long a stop waits for the worker; with the MQTT farewell it stays within 2 s."""
_HANDOVER_S = 5.0
"""How long a reload waits for it: a decision may be on its way."""
_SUSPEND_S = 0.5
_STALLED_S = 10.0
"""A worker that did nothing for this long hangs; a lost microphone is noticed within 3 s."""

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


@dataclass(frozen=True)
class ServiceParts:
    """What a service runs, as `edge.service.build.build_service` puts it together."""

    context: ServiceContext
    pipeline: DecisionPipeline
    decisions: DecisionPublisher
    challenge: Challenge
    enrollment: RemoteEnrollment
    commands: CommandQueue
    lockout: LockOut
    clock: DoorClock
    issuer: Issuer
    state: DeviceState
    files: StateFiles
    identification: LiveIdentification
    observers: Observers


class Service:
    """Listens and decides; made by `edge.service.build.build_service`.

    Attributes:
        control: stops and reloads it.
        listening: whether it is armed.
    """

    def __init__(
        self,
        parts: ServiceParts,
        source: Source | None = None,
        before: Handover | None = None,
    ) -> None:
        self._parts = parts
        self._before = before or Handover()
        self._left: list[Incoming] = []
        self._context = parts.context
        self.control = parts.context.control
        self._publisher = parts.context.publisher
        self._profiles = parts.context.profiles
        self.listening = parts.context.listening
        self._blocks, self._decisions = parts.observers.blocks, parts.observers.decisions
        audio = parts.context.config.audio
        self._microphone: ReconnectingMicrophone | None = None
        if source is None:
            source = self._microphone = ReconnectingMicrophone(
                audio.device,
                ring_s=audio.ring_s,
                on_change=self._microphone_changed,
                command=audio.source,
                shared=SharedMicrophone(parts.context.config.state_path),
            )
        self._source: Source = source
        self._microphone_kind = MicrophoneKind(parts.state)
        self._time_known = True
        self._slept_s = uptime() - time.monotonic()
        self._known: object = None
        self._prepared: object = None
        self._lost_samples = 0
        self._moved_at = time.monotonic()
        self._notifier = Notifier()
        self._ready = False
        self._failure: BaseException | None = None
        self._worker = threading.Thread(target=self._work, name="recognizer", daemon=True)

    def run(self) -> None:
        """Listen until the service is stopped or the source ends.

        Raises:
            EdgeVoiceError: the worker cannot go on.
        """
        self._take_over()
        try:
            self._profiles.refresh()
            self._context.trail.record(Event(EventKind.STARTED, {"version": edge.__version__}))
            self._watch_clock()
            self._parts.files.begin()
            self._publisher.set_status(
                listening=self.listening.on,
                enrolling=False,
                signing_key=self._parts.issuer.key_id,
                **self._parts.lockout.as_dict(),
            )
            self._publish_status()
            self._worker.start()
            for answer in self._before.answers:
                self._context.messages.command_result(answer)
            self._watch()
        finally:
            if self.control.successor is None:
                self._notifier.stopping()
            else:
                self._notifier.reloading()
            self._shut_down()
        if self._failure is not None:
            raise self._failure

    def hand_over(self) -> Handover:
        """What it leaves to its successor, once `run` has returned."""
        control = self.control
        publisher = self._publisher if self._is_followed else None
        return Handover(self.listening.on, control.answers, publisher, self._left)

    # --- the main thread ---

    @property
    def _is_followed(self) -> bool:
        """Whether another service follows at the same place."""
        successor = self.control.successor
        return successor is not None and same_place(successor, self._context.config)

    def _take_over(self) -> None:
        """Begin to publish and to receive commands, those first that the service before left."""
        messages = list(self._before.messages)
        publisher = self._before.publisher
        if publisher is not None and publisher is not self._publisher:
            publisher.close()  # only now: the next connection follows at once
            messages += publisher.take_held()
        for message in messages:
            self._parts.commands.receive(message)
        self._publisher.start()

    def _watch(self) -> None:
        due = 0.0
        while not self.control.stopping:
            observers = self._parts.observers
            woken = self.control.wake.wait(LIVE_S if observers.live else _TICK_S)
            if woken or time.monotonic() >= due:
                due = time.monotonic() + _TICK_S - LIVE_S / 2
                observers.update()
                self._tick()
            else:
                observers.update()

    def _tick(self) -> None:
        """Do what may wait for a disk."""
        parts = self._parts
        self._profiles.refresh()
        if self._microphone is not None:
            parts.enrollment.microphone = self._microphone.kind
            self._microphone_kind.tick(self._microphone.kind, self._profiles.profiles)
        parts.commands.work()
        parts.enrollment.tick()
        parts.lockout.tick()
        self._watch_clock()
        parts.files.tick(self._profiles.revision)
        parts.issuer.top_up()
        self._profiles.store_recordings()
        self._prepare_challenge()
        self._context.trail.work()
        self._publish_status()
        self._profiles.store_adaptations()
        parts.observers.tick()
        self.control.reload_if_requested()
        if self._alive():
            self._notifier.watchdog()

    def _watch_clock(self) -> None:
        """Note in the audit trail when the time becomes unknown, and known again."""
        clock = self._parts.clock
        clock.tick()
        if self._time_known != (clock.problem is None):
            self._time_known = not self._time_known
            detail: dict[str, Detail] = {"known": self._time_known, "problem": clock.problem}
            self._context.trail.record(Event(EventKind.CLOCK, detail))

    def _prepare_challenge(self) -> None:
        """Get ready to ask people that the worker knows of since the last time."""
        policy = self._parts.challenge.policy
        if policy.profiles is not self._prepared:
            self._prepared = policy.profiles
            policy.prepare()

    def _publish_status(self) -> None:
        parts = self._parts
        challenge = parts.challenge.policy
        self._publisher.set_status(
            enrolled=parts.pipeline.enrolled(self._profiles.profiles),
            lost_samples=self._lost_samples,
            discarded_utterances=parts.pipeline.endpointer.discarded,
            late_decisions=parts.decisions.late,
            audit_problem=self._context.trail.problem,
            challenge_problem=challenge.problem,
            clock_problem=parts.clock.problem,
            state_problem=parts.files.problem,
            challenge_demanded=challenge.demanded or None,
        )

    def _alive(self) -> bool:
        """Whether blocks arrive and are worked on, or a lost microphone is being reopened."""
        if not self._publisher.alive:
            return False
        moved_at = self._moved_at
        if self._microphone is not None:
            moved_at = max(moved_at, self._microphone.tried_at)
        return time.monotonic() - moved_at < _STALLED_S

    def _shut_down(self) -> None:
        parts = self._parts
        with contextlib.suppress(EdgeVoiceError):
            self._source.close()
        if self._worker.is_alive():
            # The next service must not share the processor with this worker.
            self._worker.join(_WORKER_GRACE_S if self.control.successor is None else _HANDOVER_S)
        parts.observers.close()
        # Into the audit trail what came in, while the broker can still be reached.
        parts.enrollment.close()
        if self._is_followed:
            parts.decisions.closed = True
            self._publisher.hold()
            self._left = parts.commands.take_back()
        parts.commands.close()
        parts.lockout.close()
        parts.clock.write()
        if not self._is_followed:
            self._publisher.close()
        if not self._worker.is_alive():  # else the time that a stop may take is used up
            self._profiles.store_adaptations()
        self._profiles.store_recordings()
        parts.decisions.close()
        self._context.trail.record(Event(EventKind.STOPPED))
        self._context.trail.close()
        parts.state.close()
        self._context.store.close()

    # --- the worker's thread ---

    def _work(self) -> None:
        try:
            with self._source:
                if self.control.stopping:
                    return
                for block in self._source.blocks():
                    self._process(block)
                    if self.control.stopping:
                        return
                for judgment in self._parts.pipeline.listener.flush():
                    self._decide(judgment)
                self._parts.identification.pause()
        except EdgeVoiceError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - nothing may end the worker unseen
            _log.debug("the recognizer failed", exc_info=True)
            self._failure = error
        finally:
            self.control.stop()

    def _process(self, block: AudioBlock) -> None:
        # Thirty times a second, mostly silence: nothing is called here that has nothing to do.
        parts = self._parts
        self._moved_at = time.monotonic()
        if not self._ready:
            self._be_ready()
        self._notice_suspend()
        self._lost_samples += block.lost_samples
        self._blocks.append(block)
        enrollment = parts.enrollment
        if not self.listening.on or (enrollment.wants_blocks and enrollment.feed(block)):
            parts.challenge.cancel()
            for judgment in parts.pipeline.listener.settle():
                self._decide(judgment)
            parts.identification.pause()
            self._moved_at = time.monotonic()
            return
        profiles = self._profiles.profiles
        if profiles is not self._known:
            self._known = profiles
            parts.challenge.use(profiles)
            parts.pipeline.listener.use(profiles)
        for judgment in parts.pipeline.listener.feed(block):
            self._decide(judgment)
        parts.identification.feed(block)

    def _notice_suspend(self) -> None:
        """Forget what waits for an answer, where the machine slept since the last time."""
        now = time.monotonic()
        slept_s = uptime() - now
        if slept_s > self._slept_s + _SUSPEND_S:
            _log.info("the machine slept for %.0f s", slept_s - self._slept_s)
            self._parts.decisions.woke_at = now
            self._parts.challenge.cancel()
        self._slept_s = slept_s

    def _decide(self, judgment: Judgment) -> None:
        self._notice_suspend()
        published = self._parts.decisions.publish(judgment)
        if published is not None:
            if self._profiles.adapts:
                self._profiles.learn(published)
            self._decisions.append(published)
            self.control.wake.set()
        self._moved_at = time.monotonic()

    def _be_ready(self) -> None:
        """Report once that the start is over: sound arrives, or it is known that none does."""
        if self._ready:
            return
        self._ready = True
        if self._microphone is None:
            self._publisher.set_status(microphone="listening")
        self._notifier.ready()

    def _microphone_changed(self, state: MicrophoneState) -> None:
        self._publisher.set_status(
            microphone="listening" if state.listening else "lost", reason=state.reason or None
        )
        self._be_ready()


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

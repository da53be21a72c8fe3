"""One door: its microphone, the thread that listens to it, and all that it has of its own.

The worker's thread takes blocks from the source, cuts utterances and decides on them; the door's
MQTT client has a thread of its own; what may wait for a disk is done in the service's main thread.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge.access.decider import Judgment
from edge.access.issuing import Issuer
from edge.access.lockout import LockOut
from edge.audio.microphone import MicrophoneState, ReconnectingMicrophone
from edge.audio.sharing import SharedMicrophone
from edge.audio.sources import Source
from edge.challenge.challenge import Challenge
from edge.errors import EdgeVoiceError
from edge.mqtt.command_queue import CommandQueue
from edge.mqtt.link import Incoming
from edge.service.context import Handover, ServiceContext, follows
from edge.service.decisions import DecisionPipeline, DecisionPublisher
from edge.service.enrollment import RemoteEnrollment
from edge.service.identification import LiveIdentification
from edge.service.microphone_kind import MicrophoneKind
from edge.service.observers import Observers
from edge.types import AudioBlock
from edge.uptime import uptime

_SUSPEND_S = 0.5
_STALLED_S = 10.0
"""A worker that did nothing for this long hangs; a lost microphone is noticed within 3 s."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DoorParts:
    """What one door runs, as `edge.service.build.build_service` puts it together."""

    context: ServiceContext
    pipeline: DecisionPipeline
    decisions: DecisionPublisher
    challenge: Challenge
    enrollment: RemoteEnrollment
    commands: CommandQueue
    lockout: LockOut
    issuer: Issuer
    identification: LiveIdentification
    observers: Observers
    microphone_kind: MicrophoneKind


class Door:
    """Listens and decides at one door; what is public is for the main thread.

    Args:
        source: where its sound comes from; None for its microphone, kept open through loss and
            return.
        before: what it was before a reload.
        shared: for the one whose microphone commands ask for.

    Attributes:
        ready: whether sound has arrived, or it is known that none does.
        on_ready: called once that is so, in the worker's thread.
        failure: what ended the worker; None while it runs, and at the end of the source.
    """

    def __init__(
        self,
        parts: DoorParts,
        source: Source | None = None,
        before: Handover | None = None,
        shared: SharedMicrophone | None = None,
    ) -> None:
        self.ready = False
        self.on_ready: Callable[[], None] = lambda: None
        self.failure: BaseException | None = None
        self.observers = parts.observers
        self._parts = parts
        self._before = before or Handover()
        self._left: list[Incoming] = []
        self._context = parts.context
        self._control = parts.context.control
        self._publisher = parts.context.publisher
        self._profiles = parts.context.profiles
        self._listening = parts.context.listening
        self._blocks, self._decisions = parts.observers.blocks, parts.observers.decisions
        audio = parts.context.config.audio
        self._microphone: ReconnectingMicrophone | None = None
        if source is None:
            source = self._microphone = ReconnectingMicrophone(
                audio.device,
                ring_s=audio.ring_s,
                on_change=self._microphone_changed,
                command=audio.source,
                shared=shared,
            )
        self._source: Source = source
        self._slept_s = uptime() - time.monotonic()
        self._known: object = None
        self._prepared: object = None
        self._lost_samples = 0
        self._moved_at = time.monotonic()
        self._worker = threading.Thread(target=self._work, name="recognizer", daemon=True)

    # --- the main thread ---

    @property
    def id(self) -> str:
        """Its name in topics and rules."""
        return self._context.config.device.id

    @property
    def working(self) -> bool:
        """Whether its worker has not ended yet."""
        return self._worker.is_alive()

    @property
    def alive(self) -> bool:
        """Whether blocks arrive and are worked on, or a lost microphone is being reopened."""
        if not self._publisher.alive:
            return False
        moved_at = self._moved_at
        if self._microphone is not None:
            moved_at = max(moved_at, self._microphone.tried_at)
        return time.monotonic() - moved_at < _STALLED_S

    def take_over(self) -> None:
        """Begin to publish and to receive commands, those first that the door before left."""
        messages = list(self._before.messages)
        publisher = self._before.publisher
        if publisher is not None and publisher is not self._publisher:
            publisher.close()  # only now: the next connection follows at once
            messages += publisher.take_held()
        for message in messages:
            self._parts.commands.receive(message)
        self._publisher.start()

    def begin_status(self) -> None:
        """Publish what changes later only with what the door does."""
        self._publisher.set_status(
            listening=self._listening.on,
            enrolling=False,
            signing_key=self._parts.issuer.key_id,
            **self._parts.lockout.as_dict(),
        )

    def start(self) -> None:
        """Begin to listen."""
        self._worker.start()
        for answer in self._before.answers:
            self._context.messages.command_result(answer)

    def work(self) -> None:
        """Carry out commands, and do what may wait for a disk; for every tick."""
        parts = self._parts
        if self._microphone is not None:
            parts.enrollment.microphone = self._microphone.kind
            parts.microphone_kind.tick(self._microphone.kind, self._profiles.profiles)
        parts.commands.work()
        parts.enrollment.tick()
        parts.lockout.tick()
        parts.issuer.top_up()
        self._prepare_challenge()

    def publish_status(self, **problems: str | None) -> None:
        """Publish how the door is, and what is wrong with what all doors share."""
        parts = self._parts
        challenge = parts.challenge.policy
        self._publisher.set_status(
            enrolled=parts.pipeline.enrolled(self._profiles.profiles),
            lost_samples=self._lost_samples,
            discarded_utterances=parts.pipeline.endpointer.discarded,
            late_decisions=parts.decisions.late,
            challenge_problem=challenge.problem,
            challenge_demanded=challenge.demanded or None,
            **problems,
        )

    def silence(self) -> None:
        """Have the worker end."""
        with contextlib.suppress(EdgeVoiceError):
            self._source.close()

    def join(self, timeout_s: float) -> None:
        """Wait for the worker's end."""
        if self._worker.is_alive():
            self._worker.join(timeout_s)

    def finish(self) -> None:
        """Record what is left, and begin to say that the device is offline, unless it goes on."""
        parts = self._parts
        parts.observers.close()
        # Into the audit trail what came in, while the broker can still be reached.
        parts.enrollment.close()
        if self._is_followed:
            parts.decisions.closed = True
            self._publisher.hold()
            self._left = parts.commands.take_back()
        parts.commands.close()
        parts.lockout.close()
        if not self._is_followed:
            self._publisher.finish()

    def close(self) -> None:
        """Wait until the broker knows."""
        if not self._is_followed:
            self._publisher.close()
        self._parts.decisions.close()

    def hand_over(self) -> Handover:
        """What it leaves to its successor, once it is closed."""
        publisher = self._publisher if self._is_followed else None
        return Handover(self._listening.on, self._context.answers, publisher, self._left)

    @property
    def _is_followed(self) -> bool:
        """Whether it goes on at the same place after a reload."""
        successor = self._control.successor
        return successor is not None and follows(successor, self._context.config)

    def _prepare_challenge(self) -> None:
        """Get ready to ask people that the worker knows of since the last time."""
        policy = self._parts.challenge.policy
        if policy.profiles is not self._prepared:
            self._prepared = policy.profiles
            policy.prepare()

    # --- the worker's thread ---

    def _work(self) -> None:
        try:
            with self._source:
                if self._control.stopping:
                    return
                for block in self._source.blocks():
                    self._process(block)
                    if self._control.stopping:
                        return
                for judgment in self._parts.pipeline.listener.flush():
                    self._decide(judgment)
                self._parts.identification.pause()
        except EdgeVoiceError as error:
            self.failure = error
        except Exception as error:  # noqa: BLE001 - nothing may end the worker unseen
            _log.debug("the recognizer failed", exc_info=True)
            self.failure = error
        finally:
            self._control.stop()

    def _process(self, block: AudioBlock) -> None:
        # Thirty times a second, mostly silence: nothing is called here that has nothing to do.
        parts = self._parts
        self._moved_at = time.monotonic()
        if not self.ready:
            self._be_ready()
        self._notice_suspend()
        self._lost_samples += block.lost_samples
        self._blocks.append(block)
        enrollment = parts.enrollment
        if not self._listening.on or (enrollment.wants_blocks and enrollment.feed(block)):
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
            self._control.wake.set()
        self._moved_at = time.monotonic()

    def _be_ready(self) -> None:
        """Report once that the start is over: sound arrives, or it is known that none does."""
        if self.ready:
            return
        self.ready = True
        if self._microphone is None:
            self._publisher.set_status(microphone="listening")
        self.on_ready()

    def _microphone_changed(self, state: MicrophoneState) -> None:
        self._publisher.set_status(
            microphone="listening" if state.listening else "lost", reason=state.reason or None
        )
        self._be_ready()

"""Whether another configuration can be gone on with, found out before the present one is left."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import edge
from edge.access.clock import DoorClock
from edge.access.duress import DuressCheck
from edge.access.guard import Guard, PolicyCheck
from edge.access.issuing import Issuer, signing_key
from edge.access.lockout import LockOut, LockOutCount, LockOutGate
from edge.audio.end_pointing import EndPointer
from edge.audio.files import DebugRecordings
from edge.challenge.challenge import Challenge, Prompt
from edge.challenge.loudspeaker import DigitSpeaker
from edge.challenge.rounds import rounds_of
from edge.config import Config
from edge.crypto.canonical import MessageProblem
from edge.crypto.command_keys import read_command_keys
from edge.crypto.signing import CHALLENGE, DURESS, ENROLLMENT, RESULT
from edge.errors import StoreError
from edge.mqtt import MqttPublisher
from edge.mqtt.command_queue import CommandQueue
from edge.mqtt.connection import read_password, tls_context
from edge.recognition import Engine
from edge.replay.memory import ReplayCheck, load_quietly
from edge.service.command_handlers import CommandHandlers, ListeningSwitch
from edge.service.decisions import Door
from edge.service.enrollment import Enrolling
from edge.service.profile_cache import ProfileCache
from edge.store import ProfileStore
from edge.store.audit import AUDIT_KEY, AuditTrail
from edge.store.device_state import DeviceState
from edge.types import AccessDecision, Event, EventKind


def preflight(config: Config) -> None:
    """Read every key and credential that the settings name, as a new daemon would.

    Not the models, which take seconds: whoever starts the new daemon goes back where they fail.

    Raises:
        EdgeVoiceError: one of them cannot be used.
    """
    signing_key(config.signing)
    read_command_keys(config.commands.keys_file)
    if config.mqtt.enabled:
        if config.mqtt.password_file is not None:
            read_password(config.mqtt.password_file)
        tls_context(config.mqtt.tls)


_BUSY_S = 0.25
_ALARM_LIFETIME_S = 600.0
"""An alarm waits for the broker longer than a decision may: late, it is still true."""
_ANSWER_LIFETIME_S = 10.0

_log = logging.getLogger(__name__)


class Protection:
    """Everything between what was recognized and what leaves the device, put together.

    Args:
        config: all settings.
        store: who is enrolled, and the root of the device's other keys.
        household: the profiles as of now.
        engine: the recognizer.
        publisher: not started yet.
        endpointer: cuts the stream.
        wake: makes the main thread call `work` soon.
        on_decision: called in the worker thread with every decision, after it was handed to MQTT.
        reload: for the command of that name, as `Orders` says.
        listening: whether the device listens to begin with.

    Attributes:
        door: where judgments go.
        ear: whether the device listens.
        enrolling: the enrollment over MQTT that is going on, if any.
        challenge: asks for digits, and judges what is answered.

    Raises:
        EdgeVoiceError: a key, or what the device has to remember, cannot be used.
    """

    def __init__(
        self,
        config: Config,
        *,
        store: ProfileStore,
        household: ProfileCache,
        engine: Engine,
        publisher: MqttPublisher,
        endpointer: EndPointer,
        wake: Callable[[], None],
        on_decision: Callable[[AccessDecision], None] | None,
        reload: Callable[[], None] | None,
        listening: bool,
    ) -> None:
        self._publisher = publisher
        self._store = store
        self._household = household
        self._known: object = None
        self._prepared: object = None
        self._state = DeviceState(config.state_path, busy_s=_BUSY_S)
        self._trail = AuditTrail(
            config.state_path,
            store.derive_key(AUDIT_KEY),
            self._state,
            config.audit,
            busy_s=_BUSY_S,
            on_urgent=wake,
        )
        record = self._trail.record
        self._issuer = Issuer(config.device.id, self._state, signing_key(config.signing))
        self._clock = DoorClock(self._state, config.access.time_zone)
        self._lockout = LockOut(
            config.lockout, self._state, record=record, changed=self._lockout_changed
        )
        self._replay = ReplayCheck(config.replay)
        asks = config.challenge
        self.challenge = Challenge(
            asks,
            engine,
            lambda profile_id: rounds_of(store, profile_id),
            self._prompt,
            speak=DigitSpeaker(asks.language, asks.output) if asks.speak else None,
            now=lambda: self._clock.local(time.time()),
        )
        self.ear = ListeningSwitch(lambda on: publisher.set_status(listening=on), on=listening)
        self.enrolling = Enrolling(
            store,
            engine,
            endpointer,
            config,
            listening=lambda: self.ear.listening,
            refresh=self._refresh,
            publish=lambda fields: self._send("enrollment", ENROLLMENT, fields, _ANSWER_LIFETIME_S),
            status=publisher.set_status,
            record=record,
            wake=wake,
        )
        guard = Guard(
            [
                DuressCheck(lambda: household.profiles, engine.scorer, self._alarm),
                LockOutGate(self._lockout),
                self._replay,
                PolicyCheck(config.device.id, self._clock),
                self.challenge,
                LockOutCount(self._lockout),
            ]
        )
        folder = config.store.debug_recordings
        self.door = Door(
            guard,
            self._issuer,
            publisher,
            record=record,
            on_decision=on_decision,
            recordings=DebugRecordings(folder) if folder is not None else None,
        )
        orders = CommandHandlers(
            store,
            self._refresh,
            self._lockout,
            self.ear,
            self.enrolling,
            self.challenge.asking,
            status=self._report,
            record=record,
            reload=reload,
        )
        self._commands = CommandQueue(
            config.commands,
            config.device.id,
            self._state,
            orders.handlers(),
            record=record,
            answer=self._answer,
        )
        publisher.listen(CommandQueue.filters, self._commands.receive)

    def start(self) -> None:
        """Say how things are before anything is heard."""
        self._trail.record(Event(EventKind.STARTED, {"version": edge.__version__}))
        self._follow()
        self._publisher.set_status(
            listening=self.ear.listening,
            enrolling=False,
            signing_key=self._issuer.key_id,
            **self._lockout.as_dict(),
        )

    def work(self) -> None:
        """Do what may wait for a disk; for every tick of the main thread."""
        self._commands.work()
        self.enrolling.work()
        self._lockout.tick()
        self._clock.tick()
        self._issuer.top_up()
        self._remember()
        self._follow()
        self._trail.work()
        asking = self.challenge.asking
        self._publisher.set_status(
            audit_problem=self._trail.problem,
            challenge_problem=asking.problem,
            challenge_demanded=asking.demanded or None,
        )

    def stop(self) -> None:
        """Bring to the audit trail what came in, while the broker can still be reached."""
        self.enrolling.close()
        self._commands.close()
        self._lockout.close()
        self._clock.write()

    def close(self) -> None:
        """Write what is left, and let go of the files."""
        self._remember()
        self._trail.record(Event(EventKind.STOPPED))
        self._trail.close()
        self._state.close()

    def _follow(self) -> None:
        """Know who is enrolled now: what was heard of them, and their digits."""
        profiles = self._household.profiles
        if profiles is not self._known:
            self._known = profiles
            self._replay.use([profile.id for profile in profiles])
            load_quietly(self._replay, self._store)  # also what the command line enrolled meanwhile
        if self.challenge.profiles is not self._prepared:
            self._prepared = self.challenge.profiles
            self.challenge.asking.prepare()

    def _refresh(self) -> None:
        """Know at once what was changed just now, and what was said to change it."""
        self._household.refresh()
        self._follow()

    def _remember(self) -> None:
        try:
            self._replay.store_new(self._store)
        except StoreError as error:
            _log.debug("what was heard is not stored yet: %s", error)

    def _lockout_changed(self, fields: Mapping[str, Any]) -> None:
        self._publisher.set_status(**fields)

    def _alarm(self, event: Event) -> None:
        # The audit trail first: it keeps what the broker may not take.
        self._trail.record(event)
        fields = {**event.detail, "profile_id": event.profile_id}
        try:
            text = self._issuer.sign_message(DURESS, fields)
        except (MessageProblem, StoreError) as error:
            _log.debug("the alarm was not sent: %s", error)  # nor seen above debug level
            return
        self._publisher.publish("duress", text, lifetime_s=_ALARM_LIFETIME_S)

    def _prompt(self, prompt: Prompt | None) -> None:
        """Tell displays what is to be said, or that nothing is to be said any more."""
        fields: dict[str, Any] = {"id": None, "digits": None}
        lifetime_s = _ANSWER_LIFETIME_S
        if prompt is not None:
            fields = {"id": prompt.id, "digits": prompt.digits}
            lifetime_s = max(0.5, prompt.expires_at - time.time())
        try:
            text = self._issuer.sign_message(CHALLENGE, fields, lifetime_s)
        except (MessageProblem, StoreError) as error:
            _log.warning("the digits of a challenge are not shown: %s", error)
            return  # it will not be answered, and the door stays shut
        self._publisher.publish("challenge", text, lifetime_s=lifetime_s)

    def _answer(self, answer: Mapping[str, Any]) -> None:
        self._send("command/result", RESULT, answer, _ANSWER_LIFETIME_S)

    def _send(self, topic: str, kind: str, fields: Mapping[str, Any], lifetime_s: float) -> None:
        try:
            text = self._issuer.sign_message(kind, fields, lifetime_s)
        except (MessageProblem, StoreError) as error:
            _log.warning("nothing was published on %s: %s", topic, error)
            return
        self._publisher.publish(topic, text, lifetime_s=lifetime_s)

    def _report(self) -> Mapping[str, Any]:
        # The head is told to whoever asks, to be kept elsewhere, and not in the status: how it
        # grows would tell that a silent alarm was raised.
        head = self._trail.head()
        return {
            "listening": self.ear.listening,
            "enrolling": self.enrolling.running,
            **self._lockout.as_dict(),
            "audit_head": str(head) if head else None,
        }

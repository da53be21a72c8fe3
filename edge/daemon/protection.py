"""What makes a decision one to lock a house with: checks, signatures, commands, the audit trail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Optional

import edge
from edge.access.clock import DoorClock
from edge.access.duress import DuressCheck
from edge.access.guard import Guard
from edge.access.issuing import Issuer, signing_key
from edge.access.lockout import LockOut, LockOutCount, LockOutGate
from edge.access.policy import PolicyCheck
from edge.config import Config
from edge.crypto.canonical import MessageProblem
from edge.crypto.signing import DURESS, RESULT
from edge.daemon.door import Door
from edge.daemon.household import Household
from edge.daemon.orders import Ear, Orders
from edge.errors import StoreError
from edge.mqtt import MqttPublisher
from edge.mqtt.desk import CommandDesk
from edge.recognition import Engine
from edge.store import ProfileStore
from edge.store.audit import AuditTrail
from edge.store.audit_key import audit_key
from edge.store.state import DeviceState
from edge.types import AccessDecision, Event, EventKind

_BUSY_S = 0.25
_ALARM_LIFETIME_S = 600.0
"""An alarm waits for the broker longer than a decision may: late, it is still true."""
_ANSWER_LIFETIME_S = 10.0

_log = logging.getLogger(__name__)


class Protection:
    """Everything between what was recognised and what leaves the device, put together.

    Args:
        config: all settings.
        store: who is enrolled, and the root of the device's other keys.
        household: the profiles as of now.
        engine: the recogniser.
        publisher: not started yet.
        wake: makes the main thread call `work` soon.
        on_decision: called in the worker thread with every decision, after it was handed to MQTT.

    Attributes:
        door: where judgements go.
        ear: whether the device listens.

    Raises:
        EdgeVoiceError: a key, or what the device has to remember, cannot be used.
    """

    def __init__(
        self,
        config: Config,
        *,
        store: ProfileStore,
        household: Household,
        engine: Engine,
        publisher: MqttPublisher,
        wake: Callable[[], None],
        on_decision: Optional[Callable[[AccessDecision], None]],
    ) -> None:
        self._publisher = publisher
        self._wake = wake
        self._state = DeviceState(config.state_path, busy_s=_BUSY_S)
        self._trail = AuditTrail(
            config.state_path,
            audit_key(store, self._state),
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
        self.ear = Ear(lambda on: publisher.set_status(listening=on))
        guard = Guard(
            [
                DuressCheck(lambda: household.profiles, engine.scorer, self._alarm),
                LockOutGate(self._lockout),
                PolicyCheck(config.device.id, self._clock),
                LockOutCount(self._lockout),
            ]
        )
        self.door = Door(guard, self._issuer, publisher, record=record, on_decision=on_decision)
        orders = Orders(
            store, household, self._lockout, self.ear, status=self._report, record=record
        )
        self._desk = CommandDesk(
            config.commands,
            config.device.id,
            self._state,
            orders.handlers(),
            record=record,
            answer=self._answer,
        )
        publisher.listen(CommandDesk.filters, self._take)

    def start(self) -> None:
        """Say how things are before anything is heard."""
        self._trail.record(Event(EventKind.STARTED, {"version": edge.__version__}))
        self._publisher.set_status(
            listening=True, signing_key=self._issuer.key_id, **self._lockout.as_dict()
        )

    def work(self) -> None:
        """Do what may wait for a disk; for every tick of the main thread."""
        self._desk.work()
        self._lockout.tick()
        self._clock.tick()
        self._issuer.top_up()
        self._trail.work()
        self._publisher.set_status(audit_problem=self._trail.problem)

    def stop(self) -> None:
        """Bring to the audit trail what came in, while the broker can still be reached."""
        self._desk.close()
        self._lockout.close()
        self._clock.write()

    def close(self) -> None:
        """Write what is left, and let go of the files."""
        self._trail.record(Event(EventKind.STOPPED))
        self._trail.close()
        self._state.close()

    def _take(self, message: Any) -> None:
        self._desk.take(message)
        self._wake()

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

    def _answer(self, answer: Mapping[str, Any]) -> None:
        try:
            text = self._issuer.sign_message(RESULT, answer, _ANSWER_LIFETIME_S)
        except (MessageProblem, StoreError) as error:
            _log.warning("a command was not answered: %s", error)
            return
        self._publisher.publish("command/result", text, lifetime_s=_ANSWER_LIFETIME_S)

    def _report(self) -> Mapping[str, Any]:
        # The head is told to whoever asks, to be kept elsewhere, and not in the status: how it
        # grows would tell that a silent alarm was raised.
        head = self._trail.head()
        return {
            "listening": self.ear.listening,
            **self._lockout.as_dict(),
            "audit_head": str(head) if head else None,
        }

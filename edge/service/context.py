"""What the parts of a running service share."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edge.access.issuing import Issuer
from edge.challenge.challenge import Prompt
from edge.config import Config, doors_of
from edge.crypto.canonical import MessageProblem
from edge.crypto.signing import CHALLENGE, DURESS, ENROLLMENT, RESULT
from edge.errors import EdgeVoiceError, StoreError
from edge.mqtt import MqttPublisher
from edge.mqtt.link import Incoming
from edge.recognition import Engine
from edge.service.profile_cache import ProfileCache
from edge.store import ProfileStore
from edge.store.audit import AuditTrail, Head
from edge.types import Event

_MESSAGE_LIFETIME_S = 10.0
_ALARM_LIFETIME_S = 600.0
"""An alarm may wait longer for the broker than a decision: late, it is still true."""

_log = logging.getLogger(__name__)


class Wake:
    """Wakes the main thread, also from a signal handler.

    An Event cannot: its lock may be held by the very code that the handler interrupts, which then
    never goes on.
    """

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """Have `wait` return, now or the next time."""
        self._requests.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Wait until woken, which it takes note of, or timed out; whether it was woken."""
        woken = False
        try:
            self._requests.get(timeout=timeout_s)
            woken = True
            while True:
                self._requests.get_nowait()
        except queue.Empty:
            return woken


def same_place(one: Config, other: Config) -> bool:
    """Whether services with these configurations answer at the same place, as the same device."""
    places = [
        (
            config.mqtt.enabled,
            config.mqtt.host,
            config.mqtt.broker_port,
            config.mqtt.base_topic,
            config.device.id,
            config.signing,
        )
        for config in (one, other)
    ]
    return places[0] == places[1]


def follows(successor: Config, door: Config) -> bool:
    """Whether a service with that configuration has a door at the same place as this one."""
    return any(same_place(each, door) for each in doors_of(successor))


class RunControl:
    """Stops and reloads a service; from any thread or signal handler.

    Attributes:
        wake: set to have the main thread act before its next tick.
        stopping: whether the service is to stop.
        successor: the configuration to go on with after a reload, else None.
    """

    def __init__(self, reread: Callable[[], Config] | None = None) -> None:
        self.wake = Wake()
        self.stopping = False
        self.successor: Config | None = None
        self._reread = reread
        self._reload_requested = False

    @property
    def can_reload(self) -> bool:
        """Whether there is a configuration file to read again."""
        return self._reread is not None

    def stop(self) -> None:
        """Make `run` return within 2 s."""
        self.stopping = True
        self.wake.set()

    def request_reload(self) -> None:
        """Make `run` return with a `successor`.

        Where the configuration file has a mistake, a warning says so and nothing changes.
        """
        self._reload_requested = True
        self.wake.set()

    def reload(self) -> None:
        """Stop, with the configuration file's present content as `successor`.

        Raises:
            EdgeVoiceError: it cannot be used; nothing has changed.
        """
        if self._reread is not None:
            self.successor = self._reread()
            _log.info("reloading the configuration")
            self.stop()

    def reload_if_requested(self) -> None:
        """Carry out `request_reload`."""
        if not self._reload_requested:
            return
        self._reload_requested = False
        try:
            self.reload()
        except EdgeVoiceError as error:
            _log.warning("%s; keeping the previous configuration", error)


@dataclass(frozen=True)
class Handover:
    """What a door leaves to the one that follows it after a reload.

    Attributes:
        listening: whether it listened.
        answers: to commands; sent once the next service carries commands out itself, so that none
            is lost that follows an answer.
        publisher: its connection, which keeps the commands that come in meanwhile; None where the
            next service cannot be reached at the same place.
        messages: the commands that it had received and left to the next service.
    """

    listening: bool = True
    answers: Sequence[Mapping[str, Any]] = ()
    publisher: MqttPublisher | None = None
    messages: Sequence[Incoming] = ()

    def close(self) -> None:
        """Publish that the device is offline, where no service follows."""
        if self.publisher is not None:
            self.publisher.close()


class ListeningSwitch:
    """Whether the device listens; for any thread. A change is published.

    Attributes:
        on: whether it does; to be changed by `set`.
    """

    def __init__(self, publisher: MqttPublisher, *, on: bool = True) -> None:
        self.on = on
        self._publisher = publisher

    def set(self, on: bool) -> None:
        """Start or stop listening."""
        self.on = on
        self._publisher.set_status(listening=on)


class SignedMessages:
    """Publishes signed messages other than decisions; one that cannot be signed is dropped."""

    def __init__(self, publisher: MqttPublisher, issuer: Issuer) -> None:
        self._publisher = publisher
        self._issuer = issuer

    def command_result(self, fields: Mapping[str, Any]) -> None:
        """The answer to a command."""
        self._publish("command/result", RESULT, fields, _MESSAGE_LIFETIME_S)

    def enrollment(self, fields: Mapping[str, Any]) -> None:
        """The progress of an enrollment."""
        self._publish("enrollment", ENROLLMENT, fields, _MESSAGE_LIFETIME_S)

    def challenge(self, prompt: Prompt | None) -> None:
        """The digits to show; None clears the display."""
        fields: dict[str, Any] = {"id": None, "digits": None}
        lifetime_s = _MESSAGE_LIFETIME_S
        if prompt is not None:
            fields = {"id": prompt.id, "digits": prompt.digits}
            lifetime_s = max(0.5, prompt.expires_at - time.time())
        # Where this fails nobody can answer, and the door stays shut.
        self._publish("challenge", CHALLENGE, fields, lifetime_s)

    def duress(self, event: Event) -> None:
        """A silent alarm; it never expires, and above debug level no log shows it."""
        fields = {**event.detail, "profile_id": event.profile_id}
        try:
            text = self._issuer.sign_message(DURESS, fields)
        except (MessageProblem, StoreError) as error:
            _log.debug("the alarm was not sent: %s", error)
            return
        self._publisher.publish("duress", text, lifetime_s=_ALARM_LIFETIME_S, silent=True)

    def _publish(self, topic: str, kind: str, fields: Mapping[str, Any], lifetime_s: float) -> None:
        try:
            text = self._issuer.sign_message(kind, fields, lifetime_s)
        except (MessageProblem, StoreError) as error:
            _log.warning("nothing was published on %s: %s", topic, error)
            return
        self._publisher.publish(topic, text, lifetime_s=lifetime_s)


class DoorTrail:
    """The audit trail as one door writes it: its entries say at which, but for the main one's.

    Args:
        door: its id; None for the main one.
    """

    def __init__(self, trail: AuditTrail, door: str | None = None) -> None:
        self._trail = trail
        self._door = door

    def record(self, event: Event) -> None:
        """As `AuditTrail.record`."""
        if self._door is not None:
            event = replace(event, detail={**event.detail, "door": self._door})
        self._trail.record(event)

    def head(self) -> Head | None:
        """As `AuditTrail.head`."""
        return self._trail.head()


@dataclass(frozen=True)
class ServiceContext:
    """What most parts of a door need; the store, engine, profiles and control are of all doors.

    The store is for the main thread, the rest for any thread; of `profiles` only its list.

    Attributes:
        answers: to commands since a reload; the next service sends them. Empty where that one
            answers elsewhere, or under another name or key.
    """

    config: Config
    store: ProfileStore
    engine: Engine
    profiles: ProfileCache
    publisher: MqttPublisher
    messages: SignedMessages
    trail: DoorTrail
    listening: ListeningSwitch
    control: RunControl
    answers: list[Mapping[str, Any]] = field(default_factory=list)

"""A short-lived connection to the broker: connect, publish, subscribe, wait, leave."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Config, MqttConfig
from edge.crypto.canonical import MessageProblem, read_message, wire
from edge.crypto.signing import ENROLLMENT, RESULT, Verifier, is_genuine
from edge.errors import EnvironmentFault
from edge.mqtt import failures
from edge.mqtt.authentication import read_password, tls_context
from edge.mqtt.link import NEWER, OLDER, UNSUPPORTED_VERSION, make_client
from edge.mqtt.topics import Topics

_ANSWER_S = 5.0
_QUIET_S = 0.4
_MOST_QUIET_S = 5.0
_MOST_BYTES = 1 << 20
_MOST_MESSAGES = 1000
_MOST_ANSWER_BYTES = 32768

ENROLLMENT_ENDS = ("complete", "canceled", "timed_out", "failed")
"""States of an enrollment after which nothing more comes."""

_Found = TypeVar("_Found")


class SessionError(EnvironmentFault):
    """The broker cannot be reached, refuses, or does not answer.

    Attributes:
        reason: the message without the broker's address; for a refusal, the broker's reason.
        silent: it accepted the connection and did not answer in MQTT.
    """

    def __init__(self, message: str, reason: str, *, silent: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.silent = silent


@dataclass(frozen=True)
class Message:
    """A received message.

    Attributes:
        topic: where.
        payload: what.
        retained: the broker had kept it.
        at: `time.monotonic()` when it arrived.
    """

    topic: str
    payload: bytes
    retained: bool
    at: float


class Session:
    """A connection of its own beside the service's; use it with `with`.

    `mqtt.protocol: auto` means MQTT 3.1.1 here, which every broker speaks.

    Args:
        mqtt: the broker.
        purpose: a word for the connection's name.

    Raises:
        ConfigError: a password or certificate cannot be used.
        SessionError: on entering, the broker cannot be reached or refuses.
    """

    def __init__(self, mqtt: MqttConfig, purpose: str) -> None:
        self._mqtt = mqtt
        self._changed = threading.Condition()
        self._messages: dict[int, Message] = {}
        self._received = 0
        self._answers: dict[int | None, ReasonCode] = {}
        self._gone = False
        self._client = make_client(
            mqtt,
            f"edge-voice-{purpose}-{uuid.uuid4().hex[:12]}",
            NEWER if mqtt.protocol == "5" else OLDER,
            read_password(mqtt.password_file),
            tls_context(mqtt.tls),
        )
        self._client.most_bytes = _MOST_BYTES
        self._client.on_connect = lambda _c, _d, _f, reason, _: self._answered(None, reason)
        self._client.on_publish = lambda _c, _d, number, reason, _: self._answered(number, reason)
        self._client.on_subscribe = lambda _c, _d, number, reasons, _: self._answered(
            number, next((each for each in reasons if each.is_failure), reasons[0])
        )
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    def __enter__(self) -> Session:
        try:
            self._client.connect(self._mqtt.host, self._mqtt.broker_port, self._mqtt.keepalive_s)
        except (OSError, ValueError) as error:
            raise self._error(failures.connect_failure(error, self._mqtt)) from None
        self._client.loop_start()
        try:
            reason = self._answer(None)
        except BaseException:
            self.__exit__()
            raise
        if reason.is_failure:
            self.__exit__()
            text = failures.connect_refusal(reason, self._mqtt)
            raise self._error(text, silent=reason.getName() == UNSUPPORTED_VERSION)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def place(self) -> str:
        """The broker, for a message."""
        return f"the broker at {self._mqtt.host}:{self._mqtt.broker_port}"

    def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe; `wait` finds what arrives.

        Raises:
            SessionError: the broker refuses or does not answer.
        """
        _, number = self._client.subscribe([(each, 1) for each in filters])
        reason = self._answer(number)
        if reason.is_failure:
            what = f"refuses a subscription to {', '.join(filters)}"
            raise self._refused(what, reason)

    def publish(self, topic: str, text: str, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has confirmed it.

        Raises:
            SessionError: the broker refuses or does not answer.
        """
        reason = self._answer(self._client.publish(topic, text, qos=1, retain=retain).mid)
        if reason.is_failure:
            raise self._refused(f"refuses what is published on {topic}", reason)

    def wait(
        self, find: Callable[[Message], _Found | None], timeout_s: float
    ) -> tuple[Message, _Found] | None:
        """The first message for which `find` is not None, and its result; None if none arrives.

        Other messages stay for later calls, the latest `_MOST_MESSAGES` of them.

        Raises:
            SessionError: the connection broke.
        """
        deadline = time.monotonic() + timeout_s
        seen = 0
        with self._changed:
            while True:
                for number, message in self._messages.items():
                    found = find(message) if number > seen else None
                    if found is not None:
                        del self._messages[number]
                        return message, found
                seen = self._received
                if self._gone:
                    raise self._error("the connection broke")
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def retained(self, topics: str) -> dict[str, bytes]:
        """The payloads that the broker keeps, by topic, for a topic or filter.

        Raises:
            SessionError: the broker refuses, does not answer, or the connection broke.
        """
        found: dict[str, bytes] = {}

        def match(message: Message) -> Message | None:
            return message if paho.topic_matches_sub(topics, message.topic) else None

        self.subscribe([topics])
        end = time.monotonic() + _MOST_QUIET_S
        while time.monotonic() < end and (arrived := self.wait(match, _QUIET_S)):
            message = arrived[0]
            if message.retained and message.payload:
                found[message.topic] = message.payload
        self._client.unsubscribe(topics)
        return found

    def _answered(self, number: int | None, reason: ReasonCode) -> None:
        with self._changed:
            self._answers[number] = reason
            self._changed.notify_all()

    def _answer(self, number: int | None) -> ReasonCode:
        with self._changed:
            self._changed.wait_for(lambda: number in self._answers or self._gone, _ANSWER_S)
            reason = self._answers.pop(number, None)
        if reason is None:
            raise self._error("it hung up" if self._gone else "it does not answer", silent=True)
        return reason

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        with self._changed:
            if len(self._messages) >= _MOST_MESSAGES:
                del self._messages[next(iter(self._messages))]
            self._received += 1
            payload, retained = bytes(message.payload), bool(message.retain)
            self._messages[self._received] = Message(
                message.topic, payload, retained, time.monotonic()
            )
            self._changed.notify_all()

    def _on_disconnect(self, *_: Any) -> None:
        with self._changed:
            self._gone = True
            self._changed.notify_all()

    def _error(self, reason: str, *, silent: bool = False) -> SessionError:
        return SessionError(f"{self.place}: {reason}", reason, silent=silent)

    def _refused(self, what: str, reason: ReasonCode) -> SessionError:
        name = reason.getName()
        return SessionError(f"{self.place}: {what} ({name}); check its access list", name)


class CommandSession(Session):
    """Sends commands to one device.

    Args:
        config: the broker, and the device.
        device_key: the device's key: answers that it has not signed are ignored. Without it all
            are believed.

    Raises:
        ConfigError: a password or certificate cannot be used.
        SessionError: on entering, the broker cannot be reached or refuses.
    """

    def __init__(self, config: Config, device_key: Verifier | None = None) -> None:
        super().__init__(config.mqtt, "command")
        self._device_id = config.device.id
        self._device_key = device_key
        topics = Topics(config.mqtt.base_topic, config.device.id)
        self._command_topic = topics.below("command")
        self._topics = {
            RESULT: topics.below("command/result"),
            ENROLLMENT: topics.below("enrollment"),
        }

    def __enter__(self) -> CommandSession:
        super().__enter__()
        try:
            self.subscribe(list(self._topics.values()))
        except BaseException:
            self.__exit__()
            raise
        return self

    def send(self, message: Mapping[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
        """Publish a command from `command_message` and wait for its answer.

        Raises:
            EnvironmentFault: no answer came in time.
        """
        self.publish(self._command_topic, wire(message))
        return self._next(
            RESULT,
            message["id"],
            timeout_s,
            f"{self._device_id} did not answer within {timeout_s:g} s; check that the service runs"
            " and that mqtt.base_topic and device.id are the device's",
        )

    def progress(self, enrollment: str, quiet_s: float) -> Iterator[dict[str, Any]]:
        """The messages of an enrollment until it ends.

        Args:
            enrollment: its id, from the answer to `enroll_start`.
            quiet_s: the longest wait for the next message, seconds.

        Raises:
            EnvironmentFault: nothing arrived for so long.
        """
        state = None
        while state not in ENROLLMENT_ENDS:
            event = self._next(
                ENROLLMENT,
                enrollment,
                quiet_s,
                f"no message about the enrollment for {quiet_s:g} s; its end may have been missed:"
                " 'edge-voice command list' shows how far it got",
            )
            yield event
            state = event.get("state")

    def _next(self, domain: str, identity: Any, timeout_s: float, silence: str) -> dict[str, Any]:
        def content_of(message: Message) -> dict[str, Any] | None:
            if message.topic != self._topics[domain] or message.retained:
                return None
            try:
                content = read_message(message.payload, _MOST_ANSWER_BYTES)
            except MessageProblem:
                return None
            matches = content.get("id") == identity and self._genuine(content, domain)
            return content if matches else None

        try:
            arrived = self.wait(content_of, timeout_s)
        except SessionError as error:
            raise EnvironmentFault(f"{error}; the command may still be carried out") from None
        if arrived is None:
            raise EnvironmentFault(silence)
        return arrived[1]

    def _genuine(self, content: Mapping[str, Any], domain: str) -> bool:
        key = self._device_key
        return key is None or (
            is_genuine(content, domain, key) and content.get("device") == self._device_id
        )

"""An MQTT session, short-lived: connect, publish, subscribe, wait, leave."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from paho.mqtt.client import MQTTMessage, topic_matches_sub
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Config, MqttConfig
from edge.crypto.canonical import MessageProblem, read_message, wire
from edge.crypto.signing import ENROLLMENT, RESULT, Verifier, is_genuine
from edge.errors import EnvironmentFault
from edge.mqtt.connection import (
    connect_failure,
    connect_refusal,
    read_password,
    tls_context,
    tls_refusal,
)
from edge.mqtt.link import NEWER, OLDER, UNSUPPORTED_VERSION, make_client
from edge.mqtt.topics import Topics

_ANSWER_S = 5.0
_QUIET_S = 0.4
_MOST_BYTES = 1 << 20
_MOST_MESSAGES = 1000
_MOST_ANSWER_BYTES = 32768

ENROLLMENT_ENDS = ("unconfirmed", "complete", "canceled", "timed_out", "failed")
"""States of an enrollment after which nothing more comes."""

_Found = TypeVar("_Found")


def json_object(payload: bytes | bytearray) -> dict[str, Any]:
    """The JSON object in a message; empty for anything else."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


class SessionError(EnvironmentFault):
    """The broker cannot be reached, refuses, or does not answer.

    `reason` is the message without the broker's address. A `silent` broker accepted the connection
    and did not answer in this version of MQTT.
    """

    def __init__(self, place: str, reason: str, *, silent: bool = False) -> None:
        super().__init__(f"{place}: {reason}")
        self.reason = reason
        self.silent = silent


class Session:
    """A connection beside the service's, used with `with`; `purpose` is part of its client id.

    `mqtt.protocol: auto` means MQTT 3.1.1 here, which every broker speaks.

    Raises:
        ConfigError: a password or certificate cannot be used.
        SessionError: on entering, the broker cannot be reached or refuses.
    """

    def __init__(self, mqtt: MqttConfig, purpose: str) -> None:
        self.place = f"the broker at {mqtt.host}:{mqtt.broker_port}"
        self._mqtt = mqtt
        self._changed = threading.Condition()
        self._messages: dict[int, MQTTMessage] = {}
        self._received = 0
        self._answers: dict[int | None, ReasonCode] = {}
        self._gone = False
        client = self._client = make_client(
            mqtt,
            f"edge-voice-{purpose}-{uuid.uuid4().hex[:12]}",
            NEWER if mqtt.protocol == "5" else OLDER,
            read_password(mqtt.password_file),
            tls_context(mqtt.tls),
        )
        client.most_bytes = _MOST_BYTES
        client.on_connect = lambda _c, _d, _f, reason, _: self._on_answer(None, reason)
        client.on_publish = lambda _c, _d, number, reason, _: self._on_answer(number, reason)
        client.on_subscribe = lambda _c, _d, number, reasons, _: self._on_answer(
            number, next((each for each in reasons if each.is_failure), reasons[0])
        )
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect

    def __enter__(self) -> Session:
        try:
            self._client.connect(self._mqtt.host, self._mqtt.broker_port, self._mqtt.keepalive_s)
        except (OSError, ValueError) as error:
            reason = connect_failure(error, self._mqtt)
            raise SessionError(self.place, reason) from None
        self._client.loop_start()
        try:
            answer = self._answer(None)
        except BaseException:
            self.__exit__()
            raise
        if answer.is_failure:
            self.__exit__()
            reason = connect_refusal(answer, self._mqtt)
            silent = answer.getName() == UNSUPPORTED_VERSION
            raise SessionError(self.place, reason, silent=silent)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe; `wait` finds what arrives. Raises `SessionError`."""
        _, number = self._client.subscribe([(each, 1) for each in filters])
        self._require(number, f"it refuses a subscription to {', '.join(filters)}")

    def publish(self, topic: str, text: str, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has confirmed it. Raises `SessionError`."""
        info = self._client.publish(topic, text, qos=1, retain=retain)
        self._require(info.mid, f"it refuses a message on {topic}")

    def wait(
        self, find: Callable[[MQTTMessage], _Found | None], timeout_s: float
    ) -> tuple[MQTTMessage, _Found] | None:
        """The first message for which `find` is not None, and its result; None if none arrives.

        Others stay for later calls, the latest `_MOST_MESSAGES`. Raises `SessionError`.
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
                    raise SessionError(self.place, "the connection broke")
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)

    def retained(self, topics: str) -> dict[str, bytes]:
        """The payloads that the broker keeps, by topic, for a filter. Raises `SessionError`."""
        found: dict[str, bytes] = {}
        self.subscribe([topics])
        end = time.monotonic() + _ANSWER_S
        while time.monotonic() < end and (
            arrived := self.wait(
                lambda each: topic_matches_sub(topics, each.topic) or None, _QUIET_S
            )
        ):
            message = arrived[0]
            if message.retain and message.payload:
                found[message.topic] = bytes(message.payload)
        self._client.unsubscribe(topics)
        return found

    def _answer(self, number: int | None) -> ReasonCode:
        with self._changed:
            self._changed.wait_for(lambda: number in self._answers or self._gone, _ANSWER_S)
            answer = self._answers.pop(number, None)
        if answer is None:
            refusal = tls_refusal(self._client.broke, self._mqtt.tls)
            reason = "it hung up" if self._gone else "it does not answer"
            raise SessionError(self.place, refusal or reason, silent=refusal is None)
        return answer

    def _require(self, number: int | None, refusal: str) -> None:
        answer = self._answer(number)
        if answer.is_failure:
            reason = f"{refusal} ({answer.getName()}); check its access list"
            raise SessionError(self.place, reason)

    def _on_answer(self, number: int | None, answer: ReasonCode) -> None:
        with self._changed:
            self._answers[number] = answer
            self._changed.notify_all()

    def _on_message(self, _client: Any, _data: Any, message: MQTTMessage) -> None:
        with self._changed:
            if len(self._messages) >= _MOST_MESSAGES:
                del self._messages[next(iter(self._messages))]
            self._received += 1
            self._messages[self._received] = message
            self._changed.notify_all()

    def _on_disconnect(self, *_: Any) -> None:
        with self._changed:
            self._gone = True
            self._changed.notify_all()


class CommandSession(Session):
    """Sends commands to one device; believes only answers signed by `device_key`, all if None."""

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
        """Publish a `command_message`; returns the answer. Raises `EnvironmentFault`."""
        self.publish(self._command_topic, wire(message))
        silence = (
            f"{self._device_id} did not answer within {timeout_s:g} s; check that the service runs"
            " and that mqtt.base_topic and device.id are the device's"
        )
        return self._next(RESULT, message["id"], timeout_s, silence)

    def progress(self, enrollment: str, quiet_s: float) -> Iterator[dict[str, Any]]:
        """The messages of an enrollment; `EnvironmentFault` once `quiet_s` seconds bring none."""
        silence = (
            f"no message about the enrollment for {quiet_s:g} s; its end may have been missed:"
            " 'edge-voice command list' shows how far it got"
        )
        state = None
        while state not in ENROLLMENT_ENDS:
            event = self._next(ENROLLMENT, enrollment, quiet_s, silence)
            yield event
            state = event.get("state")

    def _next(self, domain: str, identity: Any, timeout_s: float, silence: str) -> dict[str, Any]:
        def content_of(message: MQTTMessage) -> dict[str, Any] | None:
            if message.topic != self._topics[domain] or message.retain:
                return None
            try:
                content = read_message(bytes(message.payload), _MOST_ANSWER_BYTES)
            except MessageProblem:
                return None
            matches = content.get("id") == identity and self._is_genuine(content, domain)
            return content if matches else None

        try:
            arrived = self.wait(content_of, timeout_s)
        except SessionError as error:
            raise EnvironmentFault(f"{error}; the command may still be carried out") from None
        if arrived is None:
            raise EnvironmentFault(silence)
        return arrived[1]

    def _is_genuine(self, content: Mapping[str, Any], domain: str) -> bool:
        key = self._device_key
        return key is None or (
            is_genuine(content, domain, key) and content.get("device") == self._device_id
        )

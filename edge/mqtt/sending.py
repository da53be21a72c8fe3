"""The other end of a command: sign it, send it, wait for the answer."""

from __future__ import annotations

import contextlib
import queue
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Config, MqttConfig
from edge.crypto.canonical import MessageProblem, read_message, wire
from edge.crypto.signing import (
    COMMAND,
    ENROLMENT,
    RESULT,
    SigningKey,
    Verifier,
    is_genuine,
    signed,
)
from edge.errors import EnvironmentFault
from edge.mqtt import trouble
from edge.mqtt.topics import Topics
from edge.mqtt.visit import visitor
from edge.types.decision import utc

_LIFETIME_S = 20.0
_CONNECT_S = 5.0
_MOST_ANSWER_BYTES = 32768
_MOST_WAITING = 100

ENROLMENT_ENDS = ("complete", "cancelled", "timed_out", "failed")
"""States of an enrolment after which nothing more comes."""


def command_message(
    name: str,
    arguments: Mapping[str, Any],
    device_id: str,
    key: SigningKey,
    *,
    lifetime_s: float = _LIFETIME_S,
) -> dict[str, Any]:
    """A signed command, issued now; its counter is the time in milliseconds.

    Raises:
        MessageProblem: the arguments cannot be signed.
    """
    now = time.time()
    message = {
        "id": str(uuid.uuid4()),
        "command": name,
        "arguments": dict(arguments),
        "device": device_id,
        "counter": int(now * 1000),
        "issued_at": utc(now),
        "expires_at": utc(now + lifetime_s),
    }
    return signed(message, COMMAND, key)


class Caller:
    """A line to one device: `with Caller(config) as caller: ...`.

    Args:
        config: the broker, and the device that is meant.
        device_key: the device's key: only what it signed is believed. Without it anything is.

    Raises:
        ConfigError: a password or certificate cannot be used.
        EnvironmentFault: on entering, when the broker cannot be reached.
    """

    def __init__(self, config: Config, device_key: Verifier | None = None) -> None:
        self._mqtt = config.mqtt
        self._device_id = config.device.id
        self._device_key = device_key
        self._topics = Topics(config.mqtt.base_topic, config.device.id)
        self._domains = {
            self._topics.below("command/result"): RESULT,
            self._topics.below("enrolment"): ENROLMENT,
        }
        self._ready: queue.Queue[str | None] = queue.Queue()
        self._arrived: dict[str, queue.Queue[dict[str, Any] | None]] = {
            domain: queue.Queue(_MOST_WAITING) for domain in self._domains.values()
        }
        self._client = visitor(config.mqtt, "command")
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.put(None)
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_disconnect

    def __enter__(self) -> Caller:
        mqtt = self._mqtt
        try:
            self._client.connect(mqtt.host, mqtt.broker_port, mqtt.keepalive_s)
        except (OSError, ValueError) as error:
            text = trouble.connect_trouble(error, mqtt)
            raise EnvironmentFault(f"{_place(mqtt)}: {text}") from None
        self._client.loop_start()
        silence = f"{_place(mqtt)}: does not answer; check it"
        try:
            complaint = _next(self._ready, _CONNECT_S, silence)
        except EnvironmentFault:
            self.__exit__()
            raise
        if complaint is not None:
            self.__exit__()
            raise EnvironmentFault(f"{_place(mqtt)}: {complaint}")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, message: Mapping[str, Any], timeout_s: float = 10.0) -> dict[str, Any]:
        """Publish a command and wait for what became of it.

        Args:
            message: from `command_message`.
            timeout_s: how long to wait for the answer, seconds.

        Returns:
            The answer: `ok` and `reason`, and whatever else is in it.

        Raises:
            EnvironmentFault: no answer came in time.
        """
        self._client.publish(self._topics.below("command"), wire(message), qos=1)
        deadline = time.monotonic() + timeout_s
        silence = (
            f"{self._device_id} did not answer within {timeout_s:g} s; check that the service runs"
            " and that mqtt.base_topic and device.id are its own"
        )
        while True:
            answer = self._next(RESULT, deadline - time.monotonic(), silence)
            if answer.get("id") == message["id"]:
                return answer

    def progress(self, session: str, quiet_s: float) -> Iterator[dict[str, Any]]:
        """How an enrolment goes on, from its beginning to its end.

        Args:
            session: its id, as the answer to `enrol_start` has it.
            quiet_s: how long nothing may be heard of it, seconds.

        Raises:
            EnvironmentFault: nothing was heard of it for so long.
        """
        silence = (
            f"nothing was heard of the enrolment for {quiet_s:g} s; its end may have been missed:"
            " 'edge-voice command list' says how far it came"
        )
        while True:
            event = self._next(ENROLMENT, quiet_s, silence)
            if event.get("id") != session:
                continue
            yield event
            if event.get("state") in ENROLMENT_ENDS:
                return

    def _next(self, domain: str, seconds: float, silence: str) -> dict[str, Any]:
        found = _next(self._arrived[domain], max(0.0, seconds), silence)
        if found is None:
            text = f"{_place(self._mqtt)}: the connection broke; what was asked for goes on"
            raise EnvironmentFault(text)
        message: dict[str, Any] = found
        return message

    def _on_connect(self, client: Any, _data: Any, _flags: Any, reason: ReasonCode, _: Any) -> None:
        if reason.is_failure:
            self._ready.put(trouble.refusal(reason, self._mqtt))
        else:
            client.subscribe([(topic, 1) for topic in self._domains])

    def _on_disconnect(self, *_: Any) -> None:
        for waiting in self._arrived.values():
            with contextlib.suppress(queue.Full):
                waiting.put_nowait(None)

    def _on_message(self, _client: Any, _data: Any, arrived: paho.MQTTMessage) -> None:
        domain = self._domains.get(arrived.topic)
        try:
            content = read_message(bytes(arrived.payload), _MOST_ANSWER_BYTES)
        except MessageProblem:
            return
        key = self._device_key
        believed = domain is not None and (
            key is None
            or (is_genuine(content, domain, key) and content.get("device") == self._device_id)
        )
        if domain is not None and believed and not arrived.retain:
            with contextlib.suppress(queue.Full):  # somebody else's flood
                self._arrived[domain].put_nowait(content)


def _next(waiting: queue.Queue[Any], seconds: float, otherwise: str) -> Any:
    try:
        return waiting.get(timeout=seconds)
    except queue.Empty:
        raise EnvironmentFault(otherwise) from None


def _place(mqtt: MqttConfig) -> str:
    return f"the broker at {mqtt.host}:{mqtt.broker_port}"

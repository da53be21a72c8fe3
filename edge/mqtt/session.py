"""A short stay at the broker, for a command at the command line."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Config, MqttConfig
from edge.crypto.canonical import MessageProblem, read_message, wire
from edge.crypto.signing import (
    COMMAND,
    ENROLLMENT,
    RESULT,
    SigningKey,
    Verifier,
    is_genuine,
    signed,
)
from edge.errors import EnvironmentFault
from edge.mqtt import failures
from edge.mqtt.authentication import read_password, tls_context
from edge.mqtt.topics import Topics
from edge.types.decision import utc

_ANSWER_S = 5.0
_QUIET_S = 0.4
_MOST_KEPT = 1000


class Session:
    """A connection of its own, beside that of the service; to be used with `with`.

    Args:
        mqtt: the broker and how to reach it.
        purpose: a word for the connection's name.

    Raises:
        ConfigError: a password or certificate cannot be used.
        EnvironmentFault: when the block begins, the broker cannot be reached or refuses.
    """

    def __init__(self, mqtt: MqttConfig, purpose: str) -> None:
        self._mqtt = mqtt
        self._answers: queue.Queue[str | None] = queue.Queue()
        self._client = visitor(mqtt, purpose)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe

    def __enter__(self) -> Session:
        try:
            self._client.connect(self._mqtt.host, self._mqtt.broker_port, self._mqtt.keepalive_s)
        except (OSError, ValueError) as error:
            text = failures.connect_trouble(error, self._mqtt)
            raise EnvironmentFault(f"{self.place}: {text}") from None
        self._client.loop_start()
        try:
            self._require(self._answer())
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    @property
    def place(self) -> str:
        """The broker, for a message."""
        return f"the broker at {self._mqtt.host}:{self._mqtt.broker_port}"

    def listen(self, topic: str, taker: Callable[[paho.MQTTMessage], None]) -> None:
        """Hand on every message on a topic or filter, in a thread of its own.

        Raises:
            EnvironmentFault: the broker does not let us, or does not answer.
        """
        self._client.on_message = lambda _client, _data, message: taker(message)
        self._client.subscribe(topic, qos=1)
        self._require(self._answer())

    def publish(self, topic: str, text: str, *, retain: bool = False) -> None:
        """Publish, and wait until the broker has confirmed it.

        Raises:
            EnvironmentFault: it did not.
        """
        info = self._client.publish(topic, text, qos=1, retain=retain)
        with contextlib.suppress(RuntimeError, ValueError):  # not sent; which shows below
            info.wait_for_publish(_ANSWER_S)
        if not info.is_published():
            raise EnvironmentFault(f"{self.place}: did not confirm a message; check it")

    def kept(self, topic: str) -> dict[str, bytes]:
        """What the broker keeps on the topics that match a filter; those without content left out.

        Raises:
            EnvironmentFault: the broker does not let us see it, or does not answer.
        """
        lock = threading.Lock()
        found: dict[str, bytes] = {}
        last = [time.monotonic()]

        def take(message: paho.MQTTMessage) -> None:
            with lock:
                last[0] = time.monotonic()
                if message.retain and message.payload and len(found) < _MOST_KEPT:
                    found[message.topic] = bytes(message.payload)

        self.listen(topic, take)
        end = time.monotonic() + _ANSWER_S
        last[0] = time.monotonic()
        while time.monotonic() < min(end, last[0] + _QUIET_S):
            time.sleep(0.02)
        self._client.unsubscribe(topic)
        with lock:
            return dict(found)

    def _answer(self) -> str | None:
        try:
            return self._answers.get(timeout=_ANSWER_S)
        except queue.Empty:
            return "does not answer; check it"

    def _require(self, complaint: str | None) -> None:
        if complaint is not None:
            raise EnvironmentFault(f"{self.place}: {complaint}")

    def _leave(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(
        self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _: Any
    ) -> None:
        self._answers.put(failures.refusal(reason, self._mqtt) if reason.is_failure else None)

    def _on_subscribe(
        self, _client: Any, _data: Any, _number: int, reasons: list[ReasonCode], _: Any
    ) -> None:
        refused = any(reason.is_failure for reason in reasons)
        self._answers.put(
            "it does not let this user see what is published there; check its access list"
            if refused
            else None
        )


def visitor(mqtt: MqttConfig, purpose: str) -> paho.Client:
    """A client that is not connected yet, with a name of its own.

    Raises:
        ConfigError: a password or certificate cannot be used.
    """
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"edge-voice-{purpose}-{uuid.uuid4().hex[:12]}",
        protocol=MQTTProtocolVersion.MQTTv5
        if mqtt.protocol == "5"
        else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
    )
    client.connect_timeout = _ANSWER_S
    if mqtt.username is not None:
        password = None if mqtt.password_file is None else read_password(mqtt.password_file)
        client.username_pw_set(mqtt.username, password)
    context = tls_context(mqtt.tls)
    if context is not None:
        client.tls_set_context(context)
    return client


_LIFETIME_S = 20.0
_CONNECT_S = 5.0
_MOST_ANSWER_BYTES = 32768
_MOST_WAITING = 100

ENROLLMENT_ENDS = ("complete", "canceled", "timed_out", "failed")
"""States of an enrollment after which nothing more comes."""


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


class CommandSession:
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
            self._topics.below("enrollment"): ENROLLMENT,
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

    def __enter__(self) -> CommandSession:
        mqtt = self._mqtt
        try:
            self._client.connect(mqtt.host, mqtt.broker_port, mqtt.keepalive_s)
        except (OSError, ValueError) as error:
            text = failures.connect_trouble(error, mqtt)
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
        """How an enrollment goes on, from its beginning to its end.

        Args:
            session: its id, as the answer to `enroll_start` has it.
            quiet_s: how long nothing may be heard of it, seconds.

        Raises:
            EnvironmentFault: nothing was heard of it for so long.
        """
        silence = (
            f"nothing was heard of the enrollment for {quiet_s:g} s; its end may have been missed:"
            " 'edge-voice command list' says how far it came"
        )
        while True:
            event = self._next(ENROLLMENT, quiet_s, silence)
            if event.get("id") != session:
                continue
            yield event
            if event.get("state") in ENROLLMENT_ENDS:
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
            self._ready.put(failures.refusal(reason, self._mqtt))
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

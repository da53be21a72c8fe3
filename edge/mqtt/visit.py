"""A short stay at the broker, for a command at the command line."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import MqttConfig
from edge.errors import EnvironmentFault
from edge.mqtt import trouble
from edge.mqtt.credentials import read_password, tls_context

_ANSWER_S = 5.0
_QUIET_S = 0.4
_MOST_KEPT = 1000


class Visit:
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

    def __enter__(self) -> Visit:
        try:
            self._client.connect(self._mqtt.host, self._mqtt.broker_port, self._mqtt.keepalive_s)
        except (OSError, ValueError) as error:
            text = trouble.connect_trouble(error, self._mqtt)
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
        self._answers.put(trouble.refusal(reason, self._mqtt) if reason.is_failure else None)

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

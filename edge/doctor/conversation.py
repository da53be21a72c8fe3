"""A few words with the broker under a name of the doctor's own; nothing of it is retained."""

from __future__ import annotations

import contextlib
import json
import queue
import ssl
import time
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import MqttConfig
from edge.mqtt import failures

_CONNECT_S = 4.0
_MOST_BYTES = 16384
_MOST_MESSAGES = 1000
"""Anybody on the broker may say much on these topics."""
_KEPT_S = 0.5
"""How long what the broker keeps is waited for, after it has agreed to a subscription."""
_VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


class BrokerRefused(Exception):
    """The broker does not want it; the text says what and why."""


class Unanswered(Exception):
    """The broker takes the connection and says nothing that is MQTT."""


class Conversation:
    """One connection.

    Args:
        mqtt: the broker.
        password: as read.
        tls: the encryption; None for none.
        patience_s: how long each answer is waited for, seconds.
    """

    def __init__(
        self,
        mqtt: MqttConfig,
        password: str | None,
        tls: ssl.SSLContext | None,
        patience_s: float = 3.0,
    ) -> None:
        self.patience_s = patience_s
        self._mqtt = mqtt
        self._password = password
        self._tls = tls
        self._client: paho.Client | None = None
        self._answers: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._messages: list[tuple[str, bytes]] = []

    def __enter__(self) -> Conversation:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hang_up()

    def connect(self) -> str:
        """Log in.

        Returns:
            The version of MQTT that is spoken.

        Raises:
            Refused: the broker said no, or hung up.
            Unanswered: it said nothing.
        """
        if self._mqtt.protocol != "auto":
            return self._open(self._mqtt.protocol)
        try:
            return self._open("5")
        except Unanswered:
            # A broker from before MQTT 5 may hang up on it without a word.
            self._hang_up()
            return self._open("3.1.1")

    def subscribe(self, topic: str) -> str | None:
        """Ask for a topic; why the broker refuses it, None where it does not."""
        client = self._connected()
        client.subscribe(topic, qos=1)
        return self._refusal("subscribed")

    def publish(self, topic: str, text: str) -> None:
        """Say something. Raises `Refused` where the broker does not take it."""
        self._connected().publish(topic, text, qos=1, retain=False)
        refusal = self._refusal("published")
        if refusal is not None:
            raise BrokerRefused(refusal)

    def came_back(self, topic: str, word: str) -> bool:
        """Whether a message with that word in it arrives."""
        return self._message(topic, word.encode()) is not None

    def kept(self, topic: str) -> Mapping[str, Any]:
        """The JSON object that the broker keeps on a topic; empty where it shows none."""
        if self.subscribe(topic) is not None:
            return {}
        message = self._message(topic, b"", wait_s=_KEPT_S)
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(message or b"{}")
            if isinstance(value, dict):
                return value
        return {}

    def kept_topics(self, topics: str) -> frozenset[str]:
        """The topics that match a filter and on which the broker keeps something."""
        if self.subscribe(topics) is not None:
            return frozenset()
        time.sleep(_KEPT_S)
        return frozenset(
            where
            for where, payload in list(self._messages)
            if payload and paho.topic_matches_sub(topics, where)
        )

    def _open(self, version: str) -> str:
        client = self._client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"edge-voice-doctor-{uuid.uuid4().hex[:12]}",
            protocol=_VERSIONS[version],
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_S
        if self._mqtt.username is not None:
            client.username_pw_set(self._mqtt.username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.on_connect = lambda _c, _d, _f, reason, _p: self._answers.put(("connected", reason))
        client.on_disconnect = lambda *_: self._answers.put(("gone", None))
        client.on_subscribe = lambda _c, _d, _m, reasons, _p: self._answers.put(
            ("subscribed", reasons[0])
        )
        client.on_publish = lambda _c, _d, _m, reason, _p: self._answers.put(("published", reason))
        client.on_message = self._take
        try:
            client.connect(self._mqtt.host, self._mqtt.broker_port, keepalive=10)
        except (OSError, ValueError) as error:
            raise BrokerRefused(failures.connect_trouble(error, self._mqtt)) from None
        client.loop_start()
        what, reason = self._answer()
        if what != "connected":
            raise Unanswered
        if reason.is_failure:
            raise BrokerRefused(failures.refusal(reason, self._mqtt))
        return version

    def _take(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        if len(message.payload) <= _MOST_BYTES and len(self._messages) < _MOST_MESSAGES:
            self._messages.append((message.topic, bytes(message.payload)))

    def _message(self, topic: str, content: bytes, wait_s: float | None = None) -> bytes | None:
        deadline = time.monotonic() + (self.patience_s if wait_s is None else wait_s)
        while True:
            for where, payload in list(self._messages):
                if where == topic and content in payload:
                    return payload
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.01)

    def _refusal(self, awaited: str) -> str | None:
        """What the broker says against it; None where it agrees."""
        while True:
            what, reason = self._answer()
            if what in ("gone", "nothing"):
                return "it hung up" if what == "gone" else "it does not answer"
            if what == awaited:
                return _failure(reason)

    def _answer(self) -> tuple[str, Any]:
        try:
            return self._answers.get(timeout=self.patience_s)
        except queue.Empty:
            return "nothing", None

    def _connected(self) -> paho.Client:
        if self._client is None:
            raise RuntimeError("not connected")
        return self._client

    def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.on_disconnect = None
            client.disconnect()
            client.loop_stop()
        self._answers = queue.Queue()


def _failure(reason: ReasonCode) -> str | None:
    return reason.getName() if reason.is_failure else None

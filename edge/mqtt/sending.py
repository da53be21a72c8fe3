"""The other end of a command: sign it, send it, wait for the answer."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Mapping
from typing import Any, Optional

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge.config import Config, MqttConfig
from edge.crypto.canonical import MessageProblem, read_message, wire
from edge.crypto.signing import COMMAND, RESULT, SigningKey, Verifier, is_genuine, signed
from edge.errors import EnvironmentFault
from edge.mqtt import trouble
from edge.mqtt.commands import MAX_BYTES
from edge.mqtt.credentials import read_password, tls_context
from edge.mqtt.topics import Topics
from edge.types.decision import utc

_LIFETIME_S = 20.0
_CONNECT_S = 5.0


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


def send_command(
    config: Config,
    message: Mapping[str, Any],
    *,
    device_key: Optional[Verifier] = None,
    timeout_s: float = 10.0,
) -> dict[str, Any]:
    """Publish a command and wait for what became of it.

    Args:
        config: the broker, and the device that is meant.
        message: from `command_message`.
        device_key: the device's key: only an answer that it signed is believed. Without it any
            answer is.
        timeout_s: how long to wait for the answer, seconds.

    Returns:
        The answer: `ok` and `reason`, and whatever else is in it.

    Raises:
        ConfigError: a password or certificate cannot be used.
        EnvironmentFault: the broker cannot be reached, or no answer came in time.
    """
    topics = Topics(config.mqtt.base_topic, config.device.id)
    answers: queue.Queue[dict[str, Any]] = queue.Queue()
    ready: queue.Queue[Optional[str]] = queue.Queue()

    def on_connect(client: Any, _data: Any, _flags: Any, reason: ReasonCode, _: Any) -> None:
        if reason.is_failure:
            ready.put(trouble.refusal(reason, config.mqtt))
        else:
            client.subscribe(topics.below("command/result"), qos=1)

    def on_message(_client: Any, _data: Any, arrived: paho.MQTTMessage) -> None:
        try:
            answer = read_message(bytes(arrived.payload), MAX_BYTES)
        except MessageProblem:
            return
        believed = device_key is None or (
            is_genuine(answer, RESULT, device_key) and answer.get("device") == config.device.id
        )
        if believed and not arrived.retain and answer.get("id") == message["id"]:
            answers.put(answer)

    client = _client(config.mqtt)
    client.on_connect = on_connect
    client.on_subscribe = lambda *_: ready.put(None)
    client.on_message = on_message
    try:
        client.connect(config.mqtt.host, config.mqtt.broker_port, config.mqtt.keepalive_s)
    except (OSError, ValueError) as error:
        text = trouble.connect_trouble(error, config.mqtt)
        raise EnvironmentFault(f"{_place(config.mqtt)}: {text}") from None
    client.loop_start()
    try:
        complaint = _next(ready, _CONNECT_S, f"{_place(config.mqtt)}: does not answer; check it")
        if complaint is not None:
            raise EnvironmentFault(f"{_place(config.mqtt)}: {complaint}")
        client.publish(topics.below("command"), wire(message), qos=1)
        answer: dict[str, Any] = _next(
            answers,
            timeout_s,
            f"{config.device.id} did not answer within {timeout_s:g} s; check that the service runs"
            " and that mqtt.base_topic and device.id are its own",
        )
        return answer
    finally:
        client.disconnect()
        client.loop_stop()


def _client(mqtt: MqttConfig) -> paho.Client:
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"edge-voice-command-{uuid.uuid4().hex[:12]}",
        protocol=MQTTProtocolVersion.MQTTv5
        if mqtt.protocol == "5"
        else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
    )
    client.connect_timeout = _CONNECT_S
    if mqtt.username is not None:
        password = None if mqtt.password_file is None else read_password(mqtt.password_file)
        client.username_pw_set(mqtt.username, password)
    context = tls_context(mqtt.tls)
    if context is not None:
        client.tls_set_context(context)
    return client


def _next(waiting: queue.Queue[Any], seconds: float, otherwise: str) -> Any:
    try:
        return waiting.get(timeout=seconds)
    except queue.Empty:
        raise EnvironmentFault(otherwise) from None


def _place(mqtt: MqttConfig) -> str:
    return f"the broker at {mqtt.host}:{mqtt.broker_port}"

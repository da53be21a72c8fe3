"""The other end of a command: sign it, send it, wait for the answer."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Mapping
from typing import Any, Optional

import paho.mqtt.client as paho

from edge.config import Config
from edge.crypto.canonical import MessageProblem, read_message, wire
from edge.crypto.signing import COMMAND, RESULT, SigningKey, Verifier, is_genuine, signed
from edge.errors import EnvironmentFault
from edge.mqtt.commands import MAX_BYTES
from edge.mqtt.topics import Topics
from edge.mqtt.visit import Visit
from edge.types.decision import utc

_LIFETIME_S = 20.0


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

    def take(arrived: paho.MQTTMessage) -> None:
        try:
            answer = read_message(bytes(arrived.payload), MAX_BYTES)
        except MessageProblem:
            return
        believed = device_key is None or (
            is_genuine(answer, RESULT, device_key) and answer.get("device") == config.device.id
        )
        if believed and not arrived.retain and answer.get("id") == message["id"]:
            answers.put(answer)

    with Visit(config.mqtt, "command") as visit:
        visit.listen(topics.below("command/result"), take)
        visit.publish(topics.below("command"), wire(message))
        try:
            return answers.get(timeout=timeout_s)
        except queue.Empty:
            raise EnvironmentFault(
                f"{config.device.id} did not answer within {timeout_s:g} s; check that the service"
                " runs and that mqtt.base_topic and device.id are its own"
            ) from None

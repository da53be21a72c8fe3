"""A device that publishes, and what tests ask about it."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge.config import DeviceConfig, MqttConfig
from edge.mqtt import MqttPublisher
from edge.types import AccessDecision, Confidence, Outcome, ReasonCode
from tests.integration.broker import Subscriber

DEVICE = DeviceConfig(id="hall", name="Hall")


_COUNTER = itertools.count(1)


def decision(lifetime_s: float = 60.0) -> AccessDecision:
    now = time.time()
    return AccessDecision(
        id=str(uuid.uuid4()),
        time=now,
        device=DEVICE.id,
        outcome=Outcome.GRANTED,
        reason=ReasonCode.RECOGNIZED,
        confidence=Confidence.HIGH,
        profile_id=str(uuid.uuid4()),
        name="Ada",
        lifetime_s=lifetime_s,
        counter=next(_COUNTER),
        issued_at=now,
    )


@contextmanager
def publisher(port: int, **settings: Any) -> Iterator[MqttPublisher]:
    subject = MqttPublisher(MqttConfig(port=port, **settings), DEVICE)
    subject.start()
    try:
        yield subject
    finally:
        subject.close()


def online(status: Any) -> bool:
    return bool(status["state"] == "online")


def offline(status: Any) -> bool:
    return bool(status["state"] == "offline")


def ids(listener: Subscriber) -> list[str]:
    return [message.json["id"] for message in listener.on("/decision")]

"""Home Assistant's discovery with a real broker: what is announced, said again, and taken back."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.config import Config, DeviceConfig, HomeAssistantConfig, MqttConfig
from edge.mqtt import MqttPublisher, discovery
from edge.store.state import DeviceState
from tests.integration.broker import Broker, Subscriber
from tests.integration.home import settled
from tests.integration.house import LISTENING, House, feed, is_listening, speak, stop

PREFIX = "ha"
HERE = f"{PREFIX}/sensor/edge_voice_test-door/last_person/config"
SWITCH = f"{PREFIX}/switch/edge_voice_test-door/listening/config"
ON = {"discovery": True, "prefix": PREFIX, "sound_interval_s": 1}


@contextmanager
def sender(broker: Broker) -> Iterator[paho.Client]:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def say(client: paho.Client, topic: str, payload: str, *, retain: bool = False) -> None:
    client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(10)


def kept(broker: Broker, topic: str) -> dict[str, str]:
    """What the broker keeps on such topics, by topic."""
    with Subscriber(broker, topic) as listener, sender(broker) as client:
        say(client, "end/of/what/was/kept", "{}")
        time.sleep(0.2)
        return {each.topic: each.text for each in listener.messages if each.retain}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def house(tmp_path: Path, broker: Broker) -> House:
    return House(
        tmp_path,
        broker,
        dict(os.environ),
        homeassistant=ON,
        commands={"unsigned": {"listening": True, "lift_lockout": True}},
    )


def configs(listener: Subscriber) -> dict[str, Any]:
    found = {}
    for message in listener.messages:
        if message.topic.startswith(f"{PREFIX}/") and message.topic.endswith("/config"):
            found[message.topic] = json.loads(message.text) if message.text else None
    return found


def test_the_daemon_announces_what_it_can_do(house: House, broker: Broker) -> None:
    house.enrol_ada()
    with Subscriber(broker) as listener:
        daemon = house.start("--input", "-")
        try:
            feed(daemon, np.zeros(16_000))
            listener.wait_for("/status", is_listening, timeout=LISTENING)
            assert settled(lambda: len(configs(listener)) == 15)
            found = configs(listener)
            names = {topic.split("/")[3] for topic, content in found.items() if content}
            assert names == {
                "access", "last_person", "confidence", "enrolled", "sound_level", "microphone",
                "enrolment", "problem", "lockout", "listening", "lift_lockout",
            }  # fmt: skip
            # What they read is really published there.
            speak(daemon, "ada_right_phrase")
            decision = listener.wait_for("/decision")
            assert found[f"{PREFIX}/event/edge_voice_test-door/access/config"]["state_topic"] == (
                decision.topic
            )
            assert not decision.retain
            status = listener.on("/status")[-1]
            for name in ("last_person", "confidence"):
                topic = f"{PREFIX}/sensor/edge_voice_test-door/{name}/config"
                assert found[topic]["state_topic"] == decision.topic
            for content in filter(None, found.values()):
                assert content["availability_topic"] == status.topic
            feed(daemon, 0.1 * np.sin(np.arange(48_000)))
            sound = listener.wait_for("/sound", lambda levels: levels["level_dbfs"] > -40)
            assert found[f"{PREFIX}/sensor/edge_voice_test-door/sound_level/config"][
                "state_topic"
            ] == (sound.topic)
            assert sound.json["peak_dbfs"] >= sound.json["level_dbfs"]
            # The switch that is announced works, both ways.
            with sender(broker) as client:
                for word, state in (("OFF", False), ("ON", True)):
                    say(client, found[SWITCH]["command_topic"], word)
                    listener.wait_for("/status", lambda now, on=state: now.get("listening") is on)
        finally:
            stop(daemon)
    assert set(kept(broker, f"{PREFIX}/#")) == {topic for topic in found if found[topic]}
    assert not kept(broker, "edge-voice/test-door/sound")
    assert not kept(broker, "edge-voice/test-door/decision")

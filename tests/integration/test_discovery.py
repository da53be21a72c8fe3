"""Home Assistant's discovery with a real broker: what is announced, said again, and taken back."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.config import (
    CommandsConfig,
    Config,
    DeviceConfig,
    HomeAssistantConfig,
    MqttConfig,
    UnsignedConfig,
)
from edge.mqtt import MqttPublisher
from edge.mqtt.link import Incoming
from edge.service.home_assistant import HomeAssistant
from edge.service.observers import sound_level
from edge.store.device_state import DeviceState
from edge.types import AudioBlock
from tests.integration.broker import Broker, Subscriber, connected, kept, send
from tests.integration.house import House, feed, is_listening, speak, stop
from tests.integration.waiting import settled

PREFIX = "ha"
HERE = f"{PREFIX}/sensor/edge_voice_test-door/last_person/config"
SWITCH = f"{PREFIX}/switch/edge_voice_test-door/listening/config"
ON = {"discovery": True, "prefix": PREFIX, "sound_interval_s": 1}


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


def test_the_service_announces_what_it_can_do(house: House, broker: Broker) -> None:
    house.enroll_ada()
    with Subscriber(broker) as listener:
        service = house.start("--input", "-")
        try:
            feed(service, np.zeros(16_000))
            listener.wait_for("/status", is_listening)
            assert settled(lambda: len(configs(listener)) == 19)
            found = configs(listener)
            names = {topic.split("/")[3] for topic, content in found.items() if content}
            assert names == {
                "access", "last_person", "confidence", "enrolled", "sound_level", "microphone",
                "enrollment", "problem", "lockout", "listening", "lift_lockout",
            }  # fmt: skip
            # What they read is really published there.
            speak(service, "ada_right_phrase")
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
            feed(service, 0.1 * np.sin(np.arange(48_000)))
            sound = listener.wait_for("/sound", lambda levels: levels["level_dbfs"] > -40)
            assert found[f"{PREFIX}/sensor/edge_voice_test-door/sound_level/config"][
                "state_topic"
            ] == (sound.topic)
            assert sound.json["peak_dbfs"] >= sound.json["level_dbfs"]
            # The switch that is announced works, both ways.
            with connected(broker) as client:
                send(client, found[SWITCH]["command_topic"], "OFF")
                listener.wait_for("/status", lambda now: now.get("listening") is False)
                del listener.messages[:]
                send(client, found[SWITCH]["command_topic"], "ON")
                listener.wait_for("/status", lambda now: now.get("listening") is True)
        finally:
            stop(service)
    assert set(kept(broker, f"{PREFIX}/#")) == {topic for topic in found if found[topic]}
    assert not kept(broker, "edge-voice/test-door/sound")
    assert not kept(broker, "edge-voice/test-door/decision")


@contextmanager
def device(
    folder: Path,
    broker: Broker,
    told: Callable[[Incoming], None] = lambda _: None,
    **changes: Any,
) -> Iterator[HomeAssistant]:
    """What the service has for Home Assistant, by itself: no microphone, no models."""
    config = Config(
        device=DeviceConfig(id="test-door"),
        mqtt=MqttConfig(host="127.0.0.1", port=broker.port),
        homeassistant=HomeAssistantConfig(True, PREFIX, 0.05),
        commands=CommandsConfig(unsigned=UnsignedConfig(listening=True, lift_lockout=True)),
        state_directory=folder / "state",
    )
    config = replace(config, **changes)
    publisher = MqttPublisher(config.mqtt, config.device)
    state = DeviceState(config.state_path)
    subject = HomeAssistant(config, publisher, state)
    publisher.listen(("command",), told)
    publisher.start()
    try:
        assert settled(lambda: publisher.announced)
        subject.tick()
        yield subject
    finally:
        publisher.close()
        state.close()


def test_it_is_said_again_when_home_assistant_is_born(
    tmp_path: Path,
    broker: Broker,
    let_pass: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.mqtt.retained._RESEND_S", 3600.0)
    told: list[Incoming] = []

    def heard_all() -> None:
        """Wait until the device has heard all that was said before."""
        count = len(told)
        send(client, "edge-voice/test-door/command", "")
        assert settled(lambda: len(told) > count)

    listening = Subscriber(broker, contract=False)
    doing = device(tmp_path, broker, told.append)
    with listening as listener, connected(broker) as client, doing:
        assert settled(lambda: len(configs(listener)) == 19)
        # Somebody else has spoiled one meanwhile, and nobody asks for it yet.
        send(client, HERE, "spoiled", retain=True)
        assert settled(lambda: "spoiled" in [message.text for message in listener.messages])
        del listener.messages[:]
        let_pass(3601.0)
        for word in ("offline", "on", "", "online" * 100):
            send(client, f"{PREFIX}/status", word)
        heard_all()
        let_pass(3601.0)
        for _ in range(200):  # a flood is heard once
            client.publish(f"{PREFIX}/status", "online", qos=1)
        heard_all()
        assert settled(lambda: len(configs(listener)) == 19)
        assert len(listener.on(HERE)) == 1
        # Not too soon after the one before.
        let_pass(1800.0)
        send(client, f"{PREFIX}/status", "online")
        for _ in range(25):  # while it would say everything, a message at a time
            heard_all()
        assert len(listener.on(HERE)) == 1
        let_pass(1801.0)
        assert settled(lambda: len(listener.on(HERE)) == 2)
    assert json.loads(kept(broker, HERE)[HERE])["name"] == "Last person"


def test_it_is_said_again_after_the_broker_lost_everything(tmp_path: Path, broker: Broker) -> None:
    with device(tmp_path, broker):
        assert HERE in kept(broker, HERE)
        broker.kill()
        broker.start()
        assert settled(lambda: HERE in kept(broker, HERE))


def test_what_is_no_longer_allowed_or_wanted_goes(tmp_path: Path, broker: Broker) -> None:
    def announced(**changes: Any) -> set[str]:
        with device(tmp_path, broker, **changes):
            return set(kept(broker, "+/+/+/+/config"))

    on = announced()
    assert SWITCH in on
    assert HERE in on
    fewer = announced(commands=CommandsConfig(unsigned=UnsignedConfig(lift_lockout=True)))
    assert on - fewer == {SWITCH}
    # Under another prefix and another name: the former ones go.
    moved = announced(
        homeassistant=HomeAssistantConfig(True, "other"), device=DeviceConfig(id="hall")
    )
    assert len(moved) == len(on)
    assert all(topic.startswith("other/") and "/edge_voice_hall/" in topic for topic in moved)
    # Switched off: all go, and that is forgotten, so that nothing more is said there.
    assert announced(homeassistant=HomeAssistantConfig(False, "other")) == set()
    state = DeviceState(tmp_path / "state")
    assert state.get("homeassistant/announced") is None
    state.close()


def test_the_command_takes_everything_away(house: House, broker: Broker) -> None:
    mine = f"{PREFIX}/camera/edge_voice_test-door/of_another_version/config"
    others = (
        f"{PREFIX}/sensor/edge_voice_other/last_person/config",
        f"{PREFIX}/sensor/lamp/config",
        f"{PREFIX}/sensor/edge_voice_test-door/x/y/config",
    )
    with Subscriber(broker, contract=False) as listener, connected(broker) as client:
        for topic in (mine, *others):
            send(client, topic, "{}", retain=True)
        service = house.start("--input", "-")
        try:
            feed(service, np.zeros(16_000))
            assert settled(lambda: HERE in configs(listener))
            assert settled(lambda: SWITCH in configs(listener))
            done = house.run("discovery", "remove")
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[0] == "12 entities were removed."
            assert "is running, and will announce them again" in done.stdout
            assert set(kept(broker, f"{PREFIX}/#")) == set(others)
        finally:
            stop(service)
    done = house.run("discovery", "remove", "--json")
    assert json.loads(done.stdout) == {"removed": [], "running": False, "comes_back": True}
    other = house.run("discovery", "remove", "--device", "other")
    assert other.stdout == "1 entity was removed.\n"
    assert set(kept(broker, f"{PREFIX}/#")) == set(others[1:])


def test_removing_what_the_broker_does_not_let_us(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    acl = "topic read #\ntopic write edge-voice/#\n\nuser owner\ntopic readwrite #\n"
    with Broker(tmp_path / "broker", acl=acl) as broker:
        house = House(tmp_path, broker, dict(os.environ), homeassistant=ON)
        with connected(broker, "owner") as client:
            send(client, HERE, "{}", retain=True)
        done = house.run("discovery", "remove")
        assert done.returncode == 3
        assert "still keeps 1 of them" in done.stderr
        assert "access list" in done.stderr
        # The device says in its log that the broker refuses them, once, and goes on.
        with device(tmp_path, broker):
            pass
    complaints = [text for text in caplog.messages if "refused a retained message" in text]
    assert len(complaints) == 1
    assert f" on {PREFIX}/" in complaints[0]


def test_the_level_of_sound_fills_no_log(
    tmp_path: Path, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    level = sound_level([AudioBlock(np.full(512, 0.25, np.float32), 0.0, 0.0)])
    assert level is not None

    def hear(subject: HomeAssistant) -> bool:
        subject.level(level)
        subject.tick()
        return False

    with device(tmp_path, broker) as subject:
        begun = time.monotonic()
        assert settled(lambda: hear(subject) or time.monotonic() > begun + 0.2)  # nobody subscribes
        with Subscriber(broker) as listener:
            assert settled(lambda: hear(subject) or listener.on("/sound"))
            sound = listener.wait_for("/sound")
            assert sound.json == {"level_dbfs": -12.0, "peak_dbfs": -12.0}
            assert not sound.retain
        broker.kill()
        assert settled(lambda: hear(subject) or "lost the broker" in caplog.text)
    assert not [text for text in caplog.messages if "sound" in text or "nobody" in text]


def test_no_broker_and_nonsense(tmp_path: Path, broker: Broker) -> None:
    house = House(tmp_path, broker, dict(os.environ))
    for option, value in (("--prefix", "a/#"), ("--prefix", ""), ("--device", "+")):
        done = house.run("discovery", "remove", option, value)
        assert done.returncode == 2
        assert option in done.stderr
    broker.kill()
    done = house.run("discovery", "remove")
    assert done.returncode == 3
    assert f"the broker at 127.0.0.1:{broker.port}: nothing listens there" in done.stderr
    with Broker(tmp_path / "locked", login=("edge-voice", "secret")) as locked:
        done = House(tmp_path, locked, dict(os.environ)).run("discovery", "remove", "--json")
        assert done.returncode == 3
        assert "it wants a user name" in json.loads(done.stdout)["error"]["message"]
    off = House(tmp_path, broker, dict(os.environ), mqtt={"enabled": False})
    done = off.run("discovery", "remove")
    assert done.returncode == 2
    assert "mqtt.enabled is off" in done.stderr

"""Somebody is enrolled over MQTT alone, at a running device, and everything that can go wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.crypto.canonical import wire
from edge.crypto.signing import is_genuine, key_in, read_verifying_key
from edge.mqtt.sending import command_message
from tests.integration.broker import Broker, Subscriber
from tests.integration.house import LISTENING, feed, speak, stop
from tests.integration.test_example_lock import attacker
from tests.integration.test_protection import SignedHouse, trail

BASE = "edge-voice/test-door"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as running:
        yield running


class Guided:
    """A daemon, somebody who listens to all it says, and an owner who commands."""

    def __init__(self, house: SignedHouse, home: Subscriber, daemon: Any, client: Any) -> None:
        self.house, self.home, self.daemon, self.client = house, home, daemon, client
        self._key = key_in(house.owner)

    def command(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Send a signed command; what is answered."""
        message = command_message(name, arguments, "test-door", self._key)
        self.client.publish(f"{BASE}/command", wire(message), qos=1).wait_for_publish(10)
        got = self.home.wait_for("/command/result", lambda r: r.get("id") == message["id"])
        answer: dict[str, Any] = got.json
        return answer

    def press(self, name: str, payload: str = "PRESS") -> None:
        self.client.publish(f"{BASE}/set/{name}", payload, qos=1).wait_for_publish(10)

    def say(self, recording: str) -> dict[str, Any]:
        """Say something to a session; what came of it."""
        before = len(self.home.on("/enrolment"))
        speak(self.daemon, recording)
        return self.event(before)

    def event(self, number: int) -> dict[str, Any]:
        """The event of that number, the first being 0."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            events = self.home.on("/enrolment")
            if len(events) > number:
                event: dict[str, Any] = events[number].json
                return event
            time.sleep(0.05)
        raise AssertionError(f"no event {number}: {[m.text for m in self.home.on('/enrolment')]}")

    def status(self, **fields: Any) -> dict[str, Any]:
        """Wait for a status that says so."""
        got = self.home.wait_for(
            "/status", lambda s: all(s.get(name) == value for name, value in fields.items())
        )
        status: dict[str, Any] = got.json
        return status


@contextmanager
def guided(folder: Path, broker: Broker, **sections: Any) -> Iterator[Guided]:
    house = SignedHouse(folder, broker, **sections)
    with Subscriber(broker) as home, attacker(broker) as client:
        daemon = house.start("--input", "-")
        try:
            feed(daemon, np.zeros(16_000))
            home.wait_for("/status", lambda s: s.get("microphone") == "listening", LISTENING)
            yield Guided(house, home, daemon, client)
        finally:
            stop(daemon)


def test_from_the_first_command_to_the_opened_door(broker: Broker, tmp_path: Path) -> None:
    with guided(tmp_path, broker) as door:
        begun = door.command("enrol_start", person="Ada", phrase="what Ada says")
        assert begun["ok"]
        assert begun["detail"]["person"] == "Ada"
        assert (begun["detail"]["done"], begun["detail"]["required"]) == (0, 3)
        started = door.event(0)
        assert started["id"] == begun["detail"]["session"]
        assert started["state"] == "started"
        assert started["message"] == "say your passphrase 3 times, with a pause after each"
        door.status(enrolling=True)
        events = [door.say(f"ada_enrol_{number}") for number in (1, 2, 3)]
        assert [event["state"] for event in events] == ["accepted", "accepted", "complete"]
        assert [event["done"] for event in events] == [1, 2, 3]
        assert [event["message"] for event in events] == [
            "1 of 3: and again", "2 of 3: once more", "Ada is enrolled",
        ]  # fmt: skip
        door.status(enrolling=False, enrolled=1)
        assert not door.home.on("/decision")
        speak(door.daemon, "ada_right_phrase")
        opened = door.home.wait_for("/decision").json
        assert (opened["decision"], opened["name"]) == ("granted", "Ada")
        assert opened["profile_id"] == events[-1]["profile_id"]
        key = read_verifying_key(door.house.public_key)
        for message in door.home.on("/enrolment"):
            assert not message.retain
            assert is_genuine(message.json, "enrolment", key)
            assert not is_genuine(message.json, "decision", key)
        (person,) = door.command("list")["detail"]["people"]
        assert (person["name"], person["complete"], person["samples"]) == ("Ada", True, 3)
        assert "phrase" not in person
    kept = [entry for entry in trail(door.house) if entry["kind"] == "enrolment"]
    assert len(kept) == 1
    assert kept[0]["detail"]["complete"] is True
    assert "Ada" not in json.dumps(trail(door.house))
    assert "what Ada says" not in json.dumps(trail(door.house))

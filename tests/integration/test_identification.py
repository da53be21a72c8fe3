"""Who speaks, told while they speak: a real service, voices into it, a broker's subscriber out."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.broker import Broker, Subscriber, connected, kept, send
from tests.integration.house import DEMO, House, heard, speak, stop
from tests.integration.waiting import settled

PREFIX = "homeassistant"
SWITCH = "edge-voice/test-door/set/identification"


class Home:
    """A service that is fed, and what it tells of who speaks."""

    def __init__(self, service: subprocess.Popen[bytes], told: Subscriber) -> None:
        self.service = service
        self.told = told

    def utterance(self, name: str) -> Any:
        """Have a recording spoken; the summary of it."""
        before = len(self.told.on("/utterance"))
        speak(self.service, name)
        assert settled(lambda: len(self.told.on("/utterance")) > before), self.told.messages
        return self.told.on("/utterance")[-1].json

    def speakers(self) -> list[str | None]:
        """Who was told at the end of each turn, and silence, one after the other."""
        told = [message.json for message in self.told.on("/speaker")]
        return [
            each.get("name", each["state"])
            for each, later in zip(told, [*told[1:], {}])
            if each.get("turn") is None or each["turn"] != later.get("turn")
        ]


def house_of(folder: Path, broker: Broker, **sections: Any) -> House:
    sections.setdefault("identification", {"enabled": True, "presence_s": 60.0})
    house = House(folder, broker, dict(os.environ), **sections)
    house.enroll_ada()
    return house


def enroll_robin(house: House) -> None:
    files = [str(DEMO / f"robin_enroll_{number}.flac") for number in (1, 2, 3)]
    done = house.run("enroll", "Robin", "--voice", "--short", *files)
    assert done.returncode == 0, done.stderr


@contextmanager
def running(house: House, broker: Broker) -> Iterator[Home]:
    with Subscriber(broker) as told:
        service = house.start("--input", "-")
        try:
            told.wait_for("/status", lambda status: "enrolled" in status)
            yield Home(service, told)
        finally:
            stop(service)


def test_two_people_and_a_stranger_in_turn(broker: Broker, tmp_path: Path) -> None:
    house = house_of(tmp_path, broker)
    enroll_robin(house)
    recordings = {
        "ada_wrong_phrase": "Ada",
        "robin_near_phrase": "Robin",
        "stranger_other_phrase": None,
        "ada_right_phrase": "Ada",
    }
    with running(house, broker) as home:
        for recording, name in recordings.items():
            summary = home.utterance(recording)
            assert [each["name"] for each in summary["speakers"]] == ([name] if name else [])
            assert (summary["unknown_s"] > 1.0) == (name is None)
        assert home.speakers() == [
            "silent", "Ada", "silent", "Robin", "silent", None, "silent", "Ada", "silent",
        ]  # fmt: skip
        turns = [message.json.get("turn") for message in home.told.on("/speaker")]
        assert sorted({turn for turn in turns if turn}) == [1, 2, 3, 4]
        assert all(turns.count(turn) >= 3 for turn in (1, 2, 3, 4)), "while they speak"
        # The door is answered as without it, and a voice alone opens nothing.
        decisions = [message.json["reason"] for message in home.told.on("/decision")]
        assert decisions == ["wrong_phrase", "no_match", "no_match", "recognized"]
        told = [*home.told.on("/speaker"), *home.told.on("/utterance")]
        assert {message.qos for message in told} == {0}
        assert not any(message.retain for message in told)
        assert not kept(broker, "edge-voice/test-door/speaker")
        assert not kept(broker, "edge-voice/test-door/utterance")


def test_nothing_is_told_unless_it_is_wanted(broker: Broker, tmp_path: Path) -> None:
    house = house_of(tmp_path, broker, identification={})
    with running(house, broker) as home:
        speak(home.service, "ada_right_phrase")
        assert home.told.wait_for("/decision").json["decision"] == "granted"
        heard(home.service)
        with connected(broker) as client:
            send(client, SWITCH, "ON")
        speak(home.service, "ada_wrong_phrase")
        home.told.wait_for("/decision", lambda decision: decision["decision"] == "denied")
        heard(home.service)
        assert not home.told.on("/speaker")
        assert not home.told.on("/utterance")
        assert all("identifying" not in status.json for status in home.told.on("/status"))
    # After the last message of the service.
    assert not home.told.on("/speaker")


def test_it_is_switched_off_and_on_and_stays_off_over_a_restart(
    broker: Broker, tmp_path: Path
) -> None:
    house = house_of(tmp_path, broker, commands={"unsigned": {"identification": True}})
    with running(house, broker) as home, connected(broker) as client:
        home.told.wait_for("/status", lambda status: status.get("identifying") is True)
        home.utterance("ada_wrong_phrase")
        send(client, SWITCH, "OFF")
        home.told.wait_for("/status", lambda status: status.get("identifying") is False)
        del home.told.messages[:]
        speak(home.service, "ada_right_phrase")
        home.told.wait_for("/decision")
        heard(home.service)
        assert not home.told.on("/speaker")
    with running(house, broker) as home, connected(broker) as client:
        status = home.told.wait_for("/status", lambda status: "identifying" in status)
        assert status.json["identifying"] is False
        speak(home.service, "ada_right_phrase")
        home.told.wait_for("/decision")
        heard(home.service)
        assert not home.told.on("/speaker")
        send(client, SWITCH, "ON")
        home.told.wait_for("/status", lambda status: status.get("identifying") is True)
        summary = home.utterance("ada_wrong_phrase")
        assert [each["name"] for each in summary["speakers"]] == ["Ada"]


def test_nothing_waits_for_a_broker_that_is_away(broker: Broker, tmp_path: Path) -> None:
    house = house_of(tmp_path, broker)
    enroll_robin(house)
    with running(house, broker) as home:
        home.utterance("ada_wrong_phrase")
        home.told.lost()
        broker.kill()
        assert settled(lambda: "lost the broker" in house.log.read_text())
        del home.told.messages[:]
        speak(home.service, "robin_near_phrase")
        heard(home.service)
        broker.start()
        home.told.ready_again()
        home.told.wait_for("/status", lambda status: status["state"] == "online")
        # That nobody speaks is told first, as what was told last may no longer be true.
        summary = home.utterance("ada_wrong_phrase")
        assert [each["name"] for each in summary["speakers"]] == ["Ada"]
        assert home.speakers() == ["silent", "Ada", "silent"]
        assert len(home.told.on("/utterance")) == 1


def test_people_have_an_entity_as_long_as_they_are_enrolled(broker: Broker, tmp_path: Path) -> None:
    house = house_of(tmp_path, broker, homeassistant={"discovery": True})

    def announced() -> dict[str, Any]:
        found = kept(broker, f"{PREFIX}/binary_sensor/#")
        contents = [json.loads(text) for topic, text in found.items() if "/present_" in topic]
        return {content["name"]: content for content in contents}

    with running(house, broker) as home:
        assert settled(lambda: set(announced()) == {"Ada"})
        ada = announced()["Ada"]
        assert (ada["device_class"], ada["off_delay"]) == ("occupancy", 60)
        assert ada["state_topic"] == "edge-voice/test-door/speaker"
        (speaker,) = home.utterance("ada_wrong_phrase")["speakers"]
        assert f"'{speaker['profile_id']}'" in ada["value_template"]
        enroll_robin(house)
        assert settled(lambda: set(announced()) == {"Ada", "Robin"})
        assert home.utterance("robin_near_phrase")["speakers"][0]["name"] == "Robin"
        assert house.run("profiles", "rename", "Robin", "Robin Hood").returncode == 0
        assert settled(lambda: set(announced()) == {"Ada", "Robin Hood"})
        assert home.utterance("robin_near_phrase")["speakers"][0]["name"] == "Robin Hood"
        assert house.run("profiles", "delete", "Robin Hood", "--yes").returncode == 0
        assert settled(lambda: set(announced()) == {"Ada"})
        assert home.utterance("robin_near_phrase")["speakers"] == []
    assert house.run("profiles", "delete", "Ada", "--yes").returncode == 0
    assert set(announced()) == {"Ada"}, "the service is off"
    with running(house, broker):
        assert settled(lambda: announced() == {})

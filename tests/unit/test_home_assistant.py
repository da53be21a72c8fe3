"""What the service remembers of having been announced, and how it measures sound."""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.audio.blocks import level_db
from edge.config import (
    Config,
    DeviceConfig,
    HomeAssistantConfig,
    IdentificationConfig,
    MqttConfig,
)
from edge.mqtt import MqttPublisher
from edge.mqtt.retained import Retained
from edge.mqtt.topics import Topics
from edge.service.home_assistant import HomeAssistant
from edge.service.observers import sound_level
from edge.store.device_state import DeviceState
from edge.types import AudioBlock

MEMORY = "homeassistant/announced"


class Line(MqttPublisher):
    """A line to a broker that has confirmed everything."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.mqtt, config.device)
        self.texts: dict[str, str] = {}
        self.birth = ""
        self.sent: list[tuple[str, str]] = []

    @property
    def connected(self) -> bool:
        return True

    @property
    def announced(self) -> bool:
        return True

    def announce(self, texts: object, birth_topic: object = None) -> None:
        assert isinstance(texts, dict)
        self.texts, self.birth = dict(texts), str(birth_topic)

    def publish(self, suffix: str, text: str, **_: object) -> None:
        self.sent.append((suffix, text))


def settings(folder: Path, *, discovery: bool, prefix: str = "ha", device: str = "hall") -> Config:
    return Config(
        device=DeviceConfig(id=device),
        homeassistant=HomeAssistantConfig(discovery, prefix, 1.0),
        state_directory=folder,
    )


class OpenedWhenUsed(DeviceState):
    """The device's state, which a test need not close."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, name: str) -> str | None:
        with contextlib.closing(DeviceState(self.folder)) as state:
            return state.get(name)

    def put(self, name: str, text: str | None) -> None:
        with contextlib.closing(DeviceState(self.folder)) as state:
            state.put(name, text)


def watching(config: Config) -> tuple[HomeAssistant, Line]:
    line = Line(config)
    return HomeAssistant(config, line, OpenedWhenUsed(config.state_path)), line


def remembered(folder: Path) -> object:
    state = DeviceState(folder)
    try:
        return json.loads(state.get(MEMORY) or "[]")
    finally:
        state.close()


def remember(folder: Path, text: str) -> None:
    state = DeviceState(folder)
    state.put(MEMORY, text)
    state.close()


def test_a_device_that_was_never_announced_says_nothing(tmp_path: Path) -> None:
    subject, line = watching(settings(tmp_path, discovery=False))
    assert not subject.needed
    assert line.texts == {}
    assert remembered(tmp_path) == []


def test_what_was_announced_is_remembered_until_it_is_taken_back(tmp_path: Path) -> None:
    subject, line = watching(settings(tmp_path, discovery=True))
    assert subject.needed
    assert line.birth == "ha/status"
    assert remembered(tmp_path) == [["ha", "hall"]]
    everything = set(line.texts)
    # The prefix is another now; before that is confirmed both are known.
    subject, line = watching(settings(tmp_path, discovery=True, prefix="other"))
    assert remembered(tmp_path) == [["ha", "hall"], ["other", "hall"]]
    assert everything < set(line.texts)
    assert {line.texts[topic] for topic in everything} == {""}
    assert line.birth == "other/status"
    subject.tick()
    assert remembered(tmp_path) == [["other", "hall"]]
    subject, line = watching(settings(tmp_path, discovery=False))
    assert subject.needed
    assert set(line.texts.values()) == {""}
    assert all(topic.startswith("other/") for topic in line.texts)
    assert remembered(tmp_path) == [["other", "hall"]]
    subject.tick()
    assert remembered(tmp_path) == []


def test_without_mqtt_nothing_is_remembered(tmp_path: Path) -> None:
    config = settings(tmp_path, discovery=True)
    config = Config(
        device=config.device,
        homeassistant=config.homeassistant,
        mqtt=MqttConfig(enabled=False),
        state_directory=tmp_path,
    )
    subject, line = watching(config)
    assert not subject.needed
    assert line.texts == {}
    assert remembered(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    ["", "x", "{}", "7", "[7]", '["ab"]', '[["a"]]', "[[1, 2]]", '[["a/#", "b"], ["", "b"]]'],
)
def test_a_damaged_memory_is_no_reason_to_stop(tmp_path: Path, text: str) -> None:
    remember(tmp_path, text)
    subject, line = watching(settings(tmp_path, discovery=True))
    assert all("/edge_voice_hall/" in topic for topic in line.texts if line.texts[topic])
    assert not any(sign in topic for topic in line.texts for sign in "+#")
    subject.tick()
    assert remembered(tmp_path) == [["ha", "hall"]]


def test_a_state_that_cannot_be_used_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "device.sqlite").write_bytes(b"no database at all" * 100)
    with caplog.at_level(logging.WARNING):
        _, line = watching(settings(tmp_path, discovery=True))
    assert len(line.texts) == 19
    assert "where the device was announced cannot be read" in caplog.text


PEOPLE = "homeassistant/people"
ADA, BEA = ("0f8fad5b-d9cb-469f-a165-70867728950e", "Ada"), ("7c9e6679-7425", "Bea")


def present(*people: tuple[str, str], prefix: str = "ha") -> set[str]:
    return {f"{prefix}/binary_sensor/edge_voice_hall/present_{each}/config" for each, _ in people}


class Home:
    """A device that identifies people, who may be enrolled and deleted."""

    def __init__(self, folder: Path, *, on: bool = True, prefix: str = "ha") -> None:
        self.people: list[tuple[str, str]] | None = None
        config = settings(folder, discovery=True, prefix=prefix)
        config = replace(config, identification=IdentificationConfig(enabled=on))
        self.line = Line(config)
        state = OpenedWhenUsed(folder)
        self.subject = HomeAssistant(config, self.line, state, lambda: self.people)

    def shown(self) -> dict[str, str]:
        """The names of the people announced, by topic; empty for who is withdrawn."""
        return {
            topic: json.loads(text)["name"] if text else ""
            for topic, text in self.line.texts.items()
            if "/present_" in topic
        }

    def see(self, *people: tuple[str, str]) -> set[str]:
        self.people = list(people)
        self.subject.tick()
        return {name for name in self.shown().values() if name}


def kept(folder: Path) -> set[str]:
    with contextlib.closing(DeviceState(folder)) as state:
        return set(json.loads(state.get(PEOPLE) or "[]"))


def test_people_come_and_go_with_their_enrollment(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.subject.tick()
    assert home.shown() == {}  # it is not known yet who is enrolled
    assert home.see(ADA, BEA) == {"Ada", "Bea"}
    assert set(home.shown()) == kept(tmp_path) == present(ADA, BEA)
    assert home.line.birth == "ha/status"
    assert home.see((ADA[0], "Ada Lovelace"), BEA) == {"Ada Lovelace", "Bea"}
    assert home.see(BEA) == {"Bea"}
    assert home.shown() == dict.fromkeys(present(ADA), "") | dict.fromkeys(present(BEA), "Bea")
    assert kept(tmp_path) == present(ADA, BEA), "until that is confirmed"
    home.subject.tick()
    assert kept(tmp_path) == present(BEA)
    home.people = None  # the store cannot be read just now
    home.subject.tick()
    assert set(home.shown().values()) == {"", "Bea"}


def test_people_who_were_deleted_while_it_was_off_are_withdrawn(tmp_path: Path) -> None:
    Home(tmp_path).see(ADA, BEA)
    home = Home(tmp_path)
    assert home.shown() == {}, "nobody is withdrawn who may still be enrolled"
    home.see(BEA)
    assert home.shown() == dict.fromkeys(present(ADA), "") | dict.fromkeys(present(BEA), "Bea")


@pytest.mark.parametrize("change", [{"on": False}, {"prefix": "other"}])
def test_people_are_withdrawn_where_they_are_no_longer_announced(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    Home(tmp_path).see(ADA)
    home = Home(tmp_path, **change)
    home.see(ADA)
    home.subject.tick()
    assert home.shown()[min(present(ADA))] == ""
    assert kept(tmp_path) == (present(ADA, prefix="other") if "prefix" in change else set())


@pytest.mark.parametrize("text", ["x", "{}", "7", "[7]", '["a/#"]', '[""]'])
def test_a_damaged_memory_of_people_withdraws_nobody(tmp_path: Path, text: str) -> None:
    with contextlib.closing(DeviceState(tmp_path)) as state:
        state.put(PEOPLE, text)
    home = Home(tmp_path)
    assert home.see(ADA) == {"Ada"}
    assert set(home.shown()) == kept(tmp_path) == present(ADA)


def test_the_level_is_that_of_all_that_was_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("edge.service.home_assistant.time.monotonic", lambda: now[0])
    subject, line = watching(settings(tmp_path, discovery=True))
    rng = np.random.default_rng(5)
    loud = (0.5 * rng.standard_normal(512)).astype(np.float32)
    quiet = (1e-3 * rng.standard_normal(1024)).astype(np.float32)
    for samples in (loud, quiet, np.zeros(0, np.float32)):
        level = sound_level([AudioBlock(samples, 0.0, 0.0)])
        if level is not None:
            subject.level(level)
    subject.tick()
    assert line.sent == []  # not yet
    now[0] += 1.0
    subject.tick()
    ((suffix, text),) = line.sent
    assert suffix == "sound"
    levels = json.loads(text)
    assert levels["level_dbfs"] == round(level_db(np.concatenate((loud, quiet))), 1)
    assert levels["peak_dbfs"] == round(20 * float(np.log10(np.abs(loud).max())), 1)
    now[0] += 1.0
    subject.tick()  # nothing was heard: nothing is said
    assert len(line.sent) == 1


def test_nothing_is_announced_where_nobody_can_publish() -> None:
    subject = Retained(Topics("edge-voice", "hall"), {})
    for topic in ("", "a/+/config", "a/#", "$SYS/a", "a\0b"):
        with pytest.raises(ValueError, match="cannot publish on"):
            subject.announce({topic: ""})
    with pytest.raises(ValueError, match="too many"):
        subject.announce({f"a/{number}": "" for number in range(2049)})
    subject.announce({"a/b/config": "{}"})
    assert list(subject.current(0)) == ["edge-voice/hall/status", "a/b/config"]

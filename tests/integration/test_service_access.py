"""The service at a real broker: a silent alarm that nobody at the door notices, and a lock-out."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.access.lockout import LockOut
from edge.cli.main import main
from edge.config import AccessConfig, Config, LockOutConfig, MqttConfig, ReplayConfig
from edge.recognition import Engine
from edge.resources import demo_directory
from edge.store import open_store
from edge.store.audit_file import FILE_NAME, reading
from edge.store.device_state import DeviceState
from edge.types import AccessRule, Profile, ProfileKind
from tests.integration.broker import Broker, Subscriber
from tests.integration.listening import Room, listening
from tests.integration.waiting import settled
from tests.unit.voices import enrolled, quiet, recording, spliced

DEMO = demo_directory()


@pytest.fixture(scope="module")
def profiles() -> list[Profile]:
    """Ada, and her duress phrase: one saying of it taken twice, since there is no second one."""
    engine = Engine.open()
    ada = enrolled(engine, "ada", phrase="coffee")
    other = engine.extend(
        Profile.begin("Ada (duress)", phrase="help"), recording("ada_wrong_phrase")
    )
    return [ada, replace(other, samples=other.samples * 3)]


@pytest.fixture
def config(tmp_path: Path, broker: Broker, profiles: list[Profile]) -> Config:
    config = Config(
        mqtt=MqttConfig(host="127.0.0.1", port=broker.port),
        access=AccessConfig(decision_lifetime_s=60.0),
        lockout=LockOutConfig(rejections=2, first_s=600.0),
        replay=ReplayConfig(enabled=False),  # one recording stands for many sayings
        state_directory=tmp_path / "state",
    )
    owner = None
    with open_store(config.state_path) as store:
        for profile in profiles:
            kept = store.create(
                profile.name,
                ProfileKind.PHRASE,
                profile.phrase,
                required=3,
                samples=profile.samples,
                speaker_model=profile.speaker_model,
                phrase_model=profile.phrase_model,
                duress_of=owner,
            )
            owner = kept.id
    return config


def hear(room: Room, home: Subscriber, *names: str) -> list[dict[str, Any]]:
    """What is decided on what is said, one after another."""
    for name in names:
        before = len(home.on("/decision"))
        room.say(name)
        assert settled(lambda before=before: len(home.on("/decision")) > before)
    return [message.json for message in home.on("/decision")]


def told(decision: dict[str, Any]) -> dict[str, Any]:
    """What a decision says in words, and the names of its figures."""
    words = {
        name: value for name, value in decision.items() if isinstance(value, (str, type(None)))
    }
    for name in ("id", "time", "issued_at", "expires_at", "signature"):
        words.pop(name, None)
    figures = {name: sorted(decision[name]) for name in ("scores", "quality", "timings_ms")}
    return {**words, **figures, "names": list(decision)}


def test_a_duress_phrase_opens_as_usual_and_raises_the_alarm(
    config: Config, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with listening(config) as room, Subscriber(broker) as home:
        usual, forced = hear(room, home, "ada_right_phrase", "ada_wrong_phrase")
        assert usual["decision"] == "granted"
        assert told(usual) == told(forced)
        assert (usual["name"], usual["phrase"]) == ("ada", None)
        alarm = home.wait_for("/duress")
        assert not alarm.retain
        assert alarm.json["decision"] == forced["id"]
        assert alarm.json["profile_id"] == forced["profile_id"]
        # Neither the figures of the device nor its journal tell of it.
        assert forced["counter"] == usual["counter"] + 1
    assert len(home.on("/duress")) == 1
    for message in home.on("/status"):
        assert "duress" not in json.dumps(message.json)
    lines = [record.message for record in caplog.records if record.levelno >= logging.INFO]
    opened = [line.split(",")[0] for line in lines if line.startswith("granted")]
    assert len(opened) == 2
    # Nor how much the audit trail grows, which `status` tells everybody.
    with reading(config.state_path / FILE_NAME) as found:
        kinds = [entry.kind for entry in found]
    assert kinds == ["started", "decision", "duress", "stopped"]
    assert opened[0].split("(")[0] == opened[1].split("(")[0]
    assert not [line for line in lines if "duress" in line.lower() or "alarm" in line.lower()]


def test_outside_the_hours_the_door_stays_shut_and_the_alarm_is_raised(
    config: Config, broker: Broker
) -> None:
    with open_store(config.state_path) as store:
        store.set_rule("ada", AccessRule(doors=("another-door",)))
    with listening(config) as room, Subscriber(broker) as home:
        (shut,) = hear(room, home, "ada_wrong_phrase")
        assert (shut["reason"], shut["name"]) == ("not_here", "ada")
        home.wait_for("/duress")
    assert len(home.on("/duress")) == 1


def test_during_a_lock_out_every_answer_is_the_same(config: Config, broker: Broker) -> None:
    """The right voice and a stranger's, a duress phrase and nothing that can be judged."""
    said = ("ada_right_phrase", "stranger_adas_phrase", "ada_wrong_phrase", "robin_near_phrase")
    state = DeviceState(config.state_path)
    LockOut(config.lockout, state, record=lambda _: None, changed=lambda _: None).begin("Ada")
    state.close()
    with listening(config) as room, Subscriber(broker) as home:
        decisions = hear(room, home, *said)
        home.wait_for("/duress")
    for decision in decisions:
        for name in ("id", "time", "counter", "issued_at", "expires_at"):
            decision.pop(name)
    assert decisions[0] == {
        "device": "front-door", "decision": "denied", "reason": "locked_out", "confidence": "high",
        "profile_id": None, "name": None, "phrase": None, "scores": {}, "utterance_s": 0,
        "quality": None, "timings_ms": {}, "lifetime_s": 60,
    }  # fmt: skip
    assert decisions == [decisions[0]] * 4
    with reading(config.state_path / FILE_NAME) as found:
        kinds = [entry.kind for entry in found]
    assert kinds == ["started", "decision", "decision", "duress", "decision", "stopped"]


def test_a_phrase_inside_other_talk_counts(config: Config, broker: Broker) -> None:
    talk = ["stranger_other_phrase", "stranger_adas_phrase", "stranger_other_phrase"]
    wrapped = spliced(*talk)
    with listening(config) as room, Subscriber(broker) as home:
        for _ in range(2):
            before = len(home.on("/decision"))
            room.say(np.concatenate((quiet(1.0), wrapped)))
            assert settled(lambda before=before: len(home.on("/decision")) > before)
        home.wait_for("/status", lambda status: status.get("locked_out") is True)
        reasons = [message.json["reason"] for message in home.on("/decision")]
        # It locks while the second one is still being said.
        assert reasons == ["no_match", "locked_out"]


def test_a_lock_out_is_published_survives_and_is_lifted(
    config: Config, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"state_directory: {config.state_path}\n")
    monkeypatch.setenv("EDGE_VOICE_CONFIG", str(file))
    with listening(config) as room, Subscriber(broker) as home:
        decisions = hear(room, home, *["stranger_adas_phrase"] * 2, "ada_right_phrase")
        assert [each["reason"] for each in decisions] == [
            "unknown_speaker",
            "unknown_speaker",
            "locked_out",
        ]
        assert (decisions[2]["name"], decisions[2]["scores"]) == (None, {})
        locked = home.wait_for("/status", lambda status: bool(status.get("locked_out")))
        assert locked.json["locked_out_until"].endswith("Z")
    # After a restart, lifted while the service runs.
    with listening(config) as room, Subscriber(broker) as home:
        (locked_out,) = hear(room, home, "stranger_other_phrase")
        assert main(["lockout", "lift"]) == 0
        home.wait_for("/status", lambda status: status.get("locked_out") is False)
        _, accepted = hear(room, home, "ada_right_phrase")
        assert (locked_out["reason"], accepted["reason"]) == ("locked_out", "recognized")

"""Several doors of one service: what each has of its own, and what they share."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.access.lockout import LockOut, lockout_keys
from edge.cli.main import main
from edge.config import Config, LockOutConfig, ReplayConfig, doors_of, parse_config
from edge.mqtt import MqttPublisher, discovery
from edge.replay.memory import ReplayCheck
from edge.service.build import _befores
from edge.service.context import DoorTrail, Handover, follows
from edge.service.home_assistant import HomeAssistant
from edge.store.device_state import DeviceState
from edge.types import Event, EventKind, ReasonCode
from tests.unit.commands import Capture, run_json
from tests.unit.test_replay import said

TEXT = """
device: {id: front, name: Front door}
audio: {device: 3, ring_s: 30}
mqtt: {client_id: house}
microphones:
  back: {name: Back door, source: arecord -t wav}
  kitchen: {device: USB}
"""


def house(text: str = TEXT, **changes: Any) -> Config:
    return replace(parse_config(text.encode(), Path("config.yaml")), **changes)


def test_each_door_is_as_a_device_of_its_own() -> None:
    front, back, kitchen = doors_of(house())
    assert front == house()
    assert [(d.device.id, d.device.name) for d in (back, kitchen)] == [
        ("back", "Back door"), ("kitchen", "kitchen"),
    ]  # fmt: skip
    assert (back.audio.device, back.audio.source) == (None, "arecord -t wav")
    assert (kitchen.audio.device, kitchen.audio.source) == ("USB", None)
    assert [door.audio.ring_s for door in (back, kitchen)] == [30.0, 30.0]
    # One of two clients with the same id is thrown out by the broker.
    assert [d.mqtt.client_id for d in (front, back, kitchen)] == [
        "house", "house-back", "house-kitchen",
    ]  # fmt: skip
    assert lockout_keys(front) == ["lockout", "lockout/back", "lockout/kitchen"]


def test_a_door_is_followed_by_the_one_with_its_name() -> None:
    _, back, kitchen = doors_of(house())
    later = house(microphones={"back": house().microphones["back"]})
    assert follows(later, back)
    assert not follows(later, kitchen)
    assert not follows(replace(later, mqtt=replace(later.mqtt, base_topic="home")), back)


def test_each_door_goes_on_with_what_it_left() -> None:
    left = {"front": Handover(listening=False), "back": Handover(answers=[{"id": "1"}])}
    assert _befores(doors_of(house()), left) == [left["front"], left["back"], Handover()]
    renamed = house(TEXT.replace("front,", "main,"))
    assert _befores(doors_of(renamed), left)[0] == Handover(listening=False)
    assert _befores(doors_of(house()), {}) == [Handover()] * 3


def test_the_trail_says_at_which_door() -> None:
    events: list[Event] = []
    trail: Any = type("Trail", (), {"record": lambda _, event: events.append(event)})()
    for door in (None, "back"):
        DoorTrail(trail, door).record(Event(EventKind.LOCK_OUT, {"round": 1}))
    assert [event.detail for event in events] == [{"round": 1}, {"round": 1, "door": "back"}]


@pytest.mark.parametrize(
    ("later_s", "expected"),
    [
        (0.0, ReasonCode.RECOGNIZED),
        (0.49, ReasonCode.RECOGNIZED),
        (0.51, ReasonCode.REPLAY_SUSPECTED),
        (60.0, ReasonCode.REPLAY_SUSPECTED),
    ],
)
def test_what_another_door_heard_is_a_recording_unless_it_is_heard_at_once(
    later_s: float, expected: ReasonCode
) -> None:
    """Where in its stream it lies says nothing about another stream."""
    check = ReplayCheck(ReplayConfig())
    for door, ended_at, reason in (
        ("front", 5000.0, ReasonCode.RECOGNIZED),
        ("back", 5000.0 + later_s, expected),
    ):
        judgment = said(1, start_s=100.0, ended_at=ended_at)
        judgment = replace(judgment, decision=replace(judgment.decision, device=door))
        assert check.review(judgment).decision.reason is reason


@contextlib.contextmanager
def announced(config: Config, state: DeviceState) -> Iterator[list[tuple[HomeAssistant, Any]]]:
    """Each door's announcement, and what the broker is to retain of it."""
    found = []
    for door in doors_of(config):
        publisher = MqttPublisher(door.mqtt, door.device)
        subject = HomeAssistant(door, publisher, state)
        found.append((subject, publisher._retained.current(0)))
    yield found


def test_each_door_is_announced_and_the_main_one_withdraws_those_that_are_gone(
    tmp_path: Path,
) -> None:
    text = TEXT + "homeassistant: {discovery: true, prefix: ha}\n"
    with contextlib.closing(DeviceState(tmp_path)) as state:
        with announced(house(text), state) as doors:
            for (_, texts), door in zip(doors, ("front", "back", "kitchen")):
                topics = [topic for topic in texts if topic.startswith("ha/")]
                assert topics
                assert all(f"/edge_voice_{door}/" in topic for topic in topics)
        assert len(json.loads(state.get("homeassistant/announced") or "")) == 3
        state.put("homeassistant/people/kitchen", '["ha/binary_sensor/ada/config"]')
        fewer = house(text)
        fewer = replace(fewer, microphones={"back": fewer.microphones["back"]})
        with announced(fewer, state) as doors:
            front, back = (texts for _, texts in doors)
            gone = {*discovery.removal("ha", "kitchen"), "ha/binary_sensor/ada/config"}
            assert {front[topic] for topic in gone} == {""}
            assert not gone & set(back)
            assert not any("edge_voice_back" in topic for topic in front)
            doors[0][0]._remember(doors[0][0]._wanted)  # as once the broker has confirmed
        assert json.loads(state.get("homeassistant/announced") or "") == [
            ["ha", "front"], ["ha", "back"],
        ]  # fmt: skip
        assert state.get("homeassistant/people/kitchen") is None


@pytest.mark.usefixtures("config")
def test_lock_outs_and_rules_of_all_doors_are_shown(
    capsys: Capture, config: Path, store_path: Path
) -> None:
    config.write_text(config.read_text() + TEXT)
    state = DeviceState(store_path.parent)
    settings = LockOutConfig(rejections=1)
    back = LockOut(
        settings, state, record=lambda _: None, changed=lambda _: None, key="lockout/back"
    )
    back.rejected(ReasonCode.UNKNOWN_SPEAKER)
    shown = run_json(capsys, "lockout", "show")[1]
    assert not shown["locked_out"]
    assert [shown["doors"][door]["locked_out"] for door in ("back", "kitchen")] == [True, False]
    assert main(["lockout", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("front: Not locked out")
    assert lines[1].startswith("back: locked out for ")
    assert lines[2].startswith("kitchen: not locked out")
    assert run_json(capsys, "lockout", "lift") == (0, {"lifted": True})
    back.tick()
    assert not back.locked
    state.close()

    assert main(["access", "set", "Ada", "--doors", "back,garage"]) == 0
    verdict = (
        "; may open back now; may not open front now: not_here; may not open kitchen now: not_here"
        "; no microphone here is called garage"
    )
    assert capsys.readouterr().out.strip().endswith(verdict)
    assert run_json(capsys, "access", "show", "Ada")[1]["doors"] == {
        "front": "not_here", "back": None, "kitchen": "not_here",
    }  # fmt: skip

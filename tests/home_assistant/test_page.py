"""What docs/home-assistant.md says to paste, pasted: the automations, and the lock beside them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.home_assistant.door import Door
from tests.home_assistant.events import Watch
from tests.home_assistant.home_assistant import REPOSITORY, HomeAssistant
from tests.integration.broker import Broker, Subscriber, connected, send
from tests.integration.waiting import PATIENCE, settled

MakeDoor = Callable[..., Door]
PAGE = (REPOSITORY / "docs/home-assistant.md").read_text(encoding="utf-8")
DEVICE = "front-door"
TOPIC = f"edge-voice/{DEVICE}/decision"
GATE = "lock.garden_gate"
LOCK = "binary_sensor.edge_voice_lock_front_door"
LIFETIME_S = 8.0


@pytest.fixture
def pasted(home: HomeAssistant) -> Iterator[HomeAssistant]:
    """Home Assistant with the automations of the page, and the gate locked."""
    blocks = re.findall(r"^```yaml\n(- alias:.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    home.automate("".join(blocks))
    home.call("lock.lock", GATE)
    there = {str(got["entity_id"]): got for got in home.get("states")}
    names = [name for name in there if name.startswith("automation.")]
    assert len(names) == len(blocks) > 0
    assert {there[name]["state"] for name in names} == {"on"}
    yield home
    home.automate("[]")
    assert settled(
        lambda: not any(got["entity_id"].startswith("automation.") for got in home.get("states"))
    )


def test_the_gate_opens_for_whoever_is_let_in_and_shuts_for_the_past(
    broker: Broker, pasted: HomeAssistant, door: MakeDoor
) -> None:
    front = door(device=DEVICE, access={"decision_lifetime_s": LIFETIME_S})
    front.open()
    calls = pasted.watch("call_service")
    with Subscriber(broker, TOPIC) as listener:
        assert front.hear("stranger_adas_phrase")["event_type"] == "denied"
        assert front.hear("ada_right_phrase")["event_type"] == "granted"
        pasted.wait_for(GATE, "unlocked")
        assert len(_unlocked(calls)) == 1, "once, and not for the one before"
        decision = listener.wait_for("/decision", lambda got: got["decision"] == "granted")
    pasted.call("lock.lock", GATE)

    # The device is gone for a moment, and then Home Assistant: the event is shown again.
    front.cut_power()
    pasted.wait_for(front.entity("access"), "unavailable")
    calls = pasted.watch("call_service")
    front.open()
    shown = pasted.wait_for(front.entity("access"), lambda got: got["state"] != "unavailable")
    assert shown["attributes"]["event_type"] == "granted"
    # The same decision once more, later than it may be acted on.
    assert settled(lambda: time.monotonic() > decision.at + LIFETIME_S)
    with connected(broker) as client:
        send(client, TOPIC, decision.text)
    pasted.wait_for(front.entity("access"), lambda got: got["state"] != shown["state"])
    _is_locked(pasted)
    assert not _unlocked(calls)
    pasted.stop()
    pasted.start()
    front.wait_for("access", lambda got: got["attributes"].get("event_type") == "granted")
    _is_locked(pasted)


def test_alarms_are_raised(pasted: HomeAssistant, door: MakeDoor) -> None:
    front = door(device=DEVICE, lockout={"rejections": 3, "within_s": 60.0, "first_s": 300.0})
    front.open()
    calls = pasted.watch("call_service")
    for _ in range(3):
        assert front.hear("stranger_adas_phrase")["event_type"] == "denied"
    assert settled(lambda: len(_messages(calls)) == 2), _messages(calls)
    tried, until = sorted(_messages(calls))
    assert tried == "Somebody was turned away three times."
    assert re.fullmatch(r"Too many attempts: nobody is let in until \d\d:\d\d\.", until), until
    assert not _unlocked(calls)
    calls = pasted.watch("call_service")
    # Two minutes are too long for a test: what it does when they are over.
    pasted.call("automation.trigger", "automation.front_door_no_microphone")
    calls.wait_for(domain="persistent_notification")
    assert _messages(calls) == ["Device offline or something is wrong; see the entity."]


def test_a_lock_that_opens_only_for_a_fresh_and_signed_decision(
    broker: Broker, pasted: HomeAssistant, door: MakeDoor, tmp_path: Path
) -> None:
    front = door(device=DEVICE, access={"decision_lifetime_s": LIFETIME_S})
    front.open()
    opened = tmp_path / "opened"
    lock = subprocess.Popen(
        [
            sys.executable, str(REPOSITORY / "tools/example_lock.py"), "--device", DEVICE,
            "--key", str(front.public_key), "--state", str(tmp_path / "counter"),
            "--host", "127.0.0.1", "--port", str(broker.port), "--log", str(tmp_path / "lock.log"),
            "--open-command", f"touch {opened}", "--home-assistant", "homeassistant",
        ]
    )  # fmt: skip
    try:
        pasted.wait_for(LOCK, lambda got: got["state"] in ("off", "unknown"))
        states = pasted.watch("state_changed")
        with Subscriber(broker, TOPIC) as listener:
            assert front.hear("ada_right_phrase")["event_type"] == "granted"
            sent = listener.wait_for("/decision").json
        assert settled(opened.exists)
        assert settled(lambda: _passed(states, LOCK)[-2:] == ["on", "off"])
        opened.unlink()
        forged = {**sent, "counter": sent["counter"] + 1, "expires_at": "2099-01-01T00:00:00.000Z"}
        del forged["signature"]
        calls = pasted.watch("call_service")
        with connected(broker) as client:
            send(client, TOPIC, json.dumps(forged))
        calls.wait_for(domain="persistent_notification")
        assert _messages(calls) == ["The lock refused a message: unsigned."]
        pasted.wait_for(LOCK, lambda got: got["attributes"]["last_refused"] == "unsigned")
        assert not opened.exists()
    finally:
        lock.terminate()
        lock.wait(PATIENCE)
    pasted.wait_for(LOCK, "unavailable")
    with connected(broker) as client:
        config = f"homeassistant/binary_sensor/edge_voice_lock_{DEVICE}/lock/config"
        send(client, config, b"", retain=True)
        assert settled(lambda: pasted.state(LOCK) is None)
        status = f"edge-voice-lock/{DEVICE}/status"
        send(client, status, b"", retain=True)


def _is_locked(home: HomeAssistant) -> None:
    """It stays locked after all that Home Assistant has begun by now."""
    home.post("services/persistent_notification/dismiss_all")
    gate = home.state(GATE)
    assert gate is not None
    assert gate["state"] == "locked"


def _unlocked(calls: Watch) -> list[dict[str, Any]]:
    return calls.of(domain="lock", service="unlock")


def _messages(calls: Watch) -> list[str]:
    found = calls.of(domain="persistent_notification", service="create")
    return [str(each["service_data"]["message"]) for each in found]


def _passed(states: Watch, entity: str) -> list[str]:
    found = states.of(entity_id=entity)
    return [str(each["new_state"]["state"]) for each in found if each["new_state"]]

"""What Home Assistant makes of the device: every entity, and states that follow."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import edge
from edge.types import SAMPLE_RATE, FloatArray
from tests.home_assistant.door import COMMANDING, SHOWN, Door, announced
from tests.home_assistant.home_assistant import HomeAssistant
from tests.integration.broker import Broker, Subscriber, connected, send
from tests.integration.house import feed, heard, speak
from tests.integration.test_service_challenge import PACE, PHRASE
from tests.integration.waiting import settled
from tests.unit.spoken_digits import ADA, WORDS, enroll_ada, needs_flite, recording_of

MakeDoor = Callable[..., Door]
NONSENSE = (
    "",
    "x",
    "null",
    "3",
    '"text"',
    "[]",
    "{}",
    '{"decision": 3, "reason": [], "name": {}, "level_dbfs": "loud", "state": 4}',
    '{"decision": "maybe", "reason": "recognized"}',
    '{"state": "online"}',
    '{"state": "online", "enrolled": "many", "listening": "yes", "locked_out": 1}',
    '{"state": "online", "enrolled": null, "enroll_person": 5, "enrollment": [], "problem": {}}',
    '{"state": "online", "enroll_person": "' + 300 * "x" + '", "enrollment": {"state": 7}}',
    '{"level_dbfs": null}',
    '{"level_dbfs": true, "peak_dbfs": []}',
)
"""What anybody on the broker may send there."""


def test_every_entity_is_there(broker: Broker, home: HomeAssistant, door: MakeDoor) -> None:
    front = door()
    with Subscriber(broker, "homeassistant/#") as listener:
        front.open()
        count = len(SHOWN) + len(COMMANDING)
        assert settled(lambda: len(announced(listener, front.device)) == count)
    everything = {front.entity(purpose) for purpose in (*SHOWN, *COMMANDING)}
    assert settled(lambda: set(front.shown()) == everything), front.shown()
    assert settled(lambda: -45 < _level_of_noise(front) < -35), "20 log10 of 0.01 is -40"
    states = {purpose: front.shown()[front.entity(purpose)] for purpose in (*SHOWN, *COMMANDING)}
    del states["sound_level"]
    assert states == {
        "access": "unknown",
        "last_person": "unknown",
        "confidence": "unknown",
        "enrolled": "1",
        "enrollment": "idle",
        "microphone": "listening",
        "problem": "off",
        "lockout": "off",
        "listening": "on",
        "enroll_person": "",
        "enroll": "unknown",
        "enroll_cancel": "unknown",
        "enroll_confirm": "unknown",
        "lift_lockout": "unknown",
        "lock_out": "unknown",
    }
    assert set(home.template("integration_entities('mqtt')")) == everything
    devices = home.template(
        "integration_entities('mqtt') | map('device_id') | unique | list",
    )
    assert len(devices) == 1
    about = {
        name: home.template(f"device_attr('{devices[0]}', '{name}')")
        for name in ("name", "manufacturer", "model", "sw_version")
    }
    assert about["name"] == front.name
    assert about["manufacturer"] == "Edge Voice"
    assert about["sw_version"] == edge.__version__
    assert about["model"]


def test_a_decision_fires_the_event(broker: Broker, door: MakeDoor) -> None:
    front = door()
    front.open()
    with Subscriber(broker, f"edge-voice/{front.device}/decision") as listener:
        denied = front.hear("stranger_other_phrase")
        assert (denied["event_type"], denied["reason"]) == ("denied", "no_match")
        assert front.wait_for("last_person", "unknown")
        granted = front.hear("ada_right_phrase")
        assert (granted["event_type"], granted["name"]) == ("granted", "Ada")
        # All of the decision, and as it was signed: what acts on it can check it.
        sent = listener.wait_for("/decision", lambda got: got["decision"] == "granted").json
        assert {name: granted[name] for name in sent} == sent
        assert sent["signature"]
    assert front.wait_for("last_person", "Ada")
    assert front.wait_for("confidence", granted["confidence"])
    denied = front.hear("stranger_adas_phrase")
    assert (denied["event_type"], denied["reason"]) == ("denied", "unknown_speaker")
    assert front.wait_for("last_person", "Ada"), "somebody turned away is nobody who came"


def test_a_lock_out_is_shown_and_lifted(door: MakeDoor) -> None:
    front = door(lockout={"rejections": 2, "within_s": 60.0, "first_s": 300.0})
    front.open()
    for _ in range(2):
        assert front.hear("stranger_adas_phrase")["event_type"] == "denied"
    shut = front.wait_for("lockout", "on")
    assert shut["attributes"]["locked_out_until"]
    refused = front.hear("ada_right_phrase")
    assert (refused["event_type"], refused["reason"]) == ("lockout", "locked_out")
    assert refused["name"] is None
    front.tap("button.press", "lift_lockout")
    front.wait_for("lockout", "off")
    assert front.hear("ada_right_phrase")["event_type"] == "granted"
    front.tap("button.press", "lock_out")
    front.wait_for("lockout", "on")


@needs_flite
def test_a_challenge_is_an_event_of_its_own(broker: Broker, door: MakeDoor) -> None:
    front = door(enrolled=False, challenge={"required": "always", "answer_s": 30.0, "attempts": 1})
    enroll_ada(front.config.parent / "state")
    front.open()
    front.wait_for("enrolled", "1")
    with Subscriber(broker, f"edge-voice/{front.device}/challenge") as listener:
        feed(_service(front), recording_of(PHRASE, ADA, PACE))
        feed(_service(front), np.zeros(16_000))
        asked = front.wait_for(
            "access", lambda got: got["attributes"].get("event_type") is not None
        )
        assert asked["attributes"]["event_type"] == "challenge"
        assert front.wait_for("last_person", "unknown"), "who is asked has not been let in"
        digits = listener.wait_for("/challenge", lambda got: got["digits"]).json["digits"]
        _answer_live(
            _service(front), recording_of([WORDS[int(digit)] for digit in digits], ADA, PACE)
        )
    let_in = front.wait_for("access", lambda got: got["state"] != asked["state"])
    assert let_in["attributes"]["event_type"] == "granted"
    front.wait_for("last_person", "Ada")


def test_arming_works_both_ways(broker: Broker, door: MakeDoor) -> None:
    front = door()
    front.open()
    front.wait_for("listening", "on")
    with Subscriber(broker, f"edge-voice/{front.device}/#") as listener:
        front.tap("switch.turn_off", "listening")
        listener.wait_for("/status", lambda status: status.get("listening") is False)
        front.wait_for("listening", "off")
        speak(_service(front), "ada_right_phrase")
        heard(_service(front))  # and it has thrown all of it away
        front.tap("switch.turn_on", "listening")
        front.wait_for("listening", "on")
        # What comes is what was said last; what it was deaf to never came.
        assert front.hear("ada_wrong_phrase")["reason"] == "wrong_phrase"
        listener.wait_for("/decision")
        assert len(listener.on("/decision")) == 1
    for command, state in (("disarm", "off"), ("arm", "on")):
        told = front.tell(command)
        assert told.returncode == 0, told.stderr
        front.wait_for("listening", state)


def test_nonsense_on_the_topics_is_nothing(broker: Broker, door: MakeDoor) -> None:
    front = door()
    front.open()
    granted = front.hear("ada_right_phrase")
    shown = front.wait_for("access", lambda _: True)["state"]
    with connected(broker) as client:
        for topic in ("decision", "sound", "status"):
            for payload in NONSENSE:
                to = f"edge-voice/{front.device}/{topic}"
                send(client, to, payload)
        ending = json.dumps({"state": "online", "enrolled": 7})
        send(client, f"edge-voice/{front.device}/status", ending)
    front.wait_for("enrolled", "7")  # so it has read all the rest, and has nothing to complain of
    assert front.wait_for("access", lambda _: True)["state"] == shown
    front.wait_for("last_person", granted["name"])


def test_only_what_is_allowed_is_announced(broker: Broker, door: MakeDoor) -> None:
    front = door(allowed=())
    shown = {front.entity(purpose) for purpose in SHOWN}
    front.open()
    assert settled(lambda: set(front.shown()) == shown), front.shown()
    front.close()
    front.allow(["listening"])
    front.open()
    more = shown | {front.entity("listening")}
    assert settled(lambda: set(front.shown()) == more), front.shown()
    front.close()
    front.allow([])
    front.open()
    assert settled(lambda: set(front.shown()) == shown), front.shown()


def test_removed_is_gone(broker: Broker, home: HomeAssistant, door: MakeDoor) -> None:
    front = door()
    front.open()
    front.close()
    assert front.shown()
    done = front.run("discovery", "remove")
    assert done.returncode == 0, done.stderr
    assert settled(lambda: not front.shown()), front.shown()
    assert home.template("integration_entities('mqtt')") == []
    with Subscriber(broker, "homeassistant/#") as listener, connected(broker) as client:
        send(client, "homeassistant/after/it", "{}")
        listener.wait_for("/it")
        assert not announced(listener, front.device)


def _service(front: Door) -> Any:
    assert front.service is not None
    return front.service


def _level_of_noise(front: Door) -> float:
    """What Home Assistant shows of noise at 0.01 of full scale, dBFS; not a number before it does.

    It is slow to listen after it has found an entity, and nobody says again what it missed.
    """
    feed(_service(front), 0.01 * np.random.default_rng(0).normal(size=4000))
    level = front.home.state(front.entity("sound_level"))
    if level is None or level["state"] in ("unavailable", "unknown"):
        return float("nan")
    assert level["attributes"]["unit_of_measurement"] == "dBFS"
    return float(level["state"])


def _answer_live(service: subprocess.Popen[bytes], samples: FloatArray) -> None:
    """Feed an answer at a microphone's pace; all at once, it would have begun early."""
    begun = time.monotonic()
    for number, block in enumerate(np.array_split(samples, len(samples) // 1_600)):
        assert settled(lambda number=number: time.monotonic() > begun + number / 10)
        feed(service, block)
    feed(service, np.zeros(SAMPLE_RATE))

"""Somebody is enrolled over MQTT alone, at a running device, and everything that can go wrong."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from edge.crypto.canonical import wire
from edge.crypto.signing import PrivateKey, is_genuine, key_in, read_verifying_key
from edge.mqtt.commands import command_message
from edge.store.ages import RUNNING_KEY
from edge.store.device_state import DeviceState
from tests.integration.broker import Broker, Subscriber, connected, send
from tests.integration.house import DEMO, feed, speak, stop
from tests.integration.test_signed_service import SignedHouse, trail
from tests.integration.waiting import PATIENCE, settled

BASE = "edge-voice/test-door"


class Guided:
    """A service, somebody who listens to all it says, and an owner who commands."""

    def __init__(self, house: SignedHouse, home: Subscriber, service: Any, client: Any) -> None:
        self.house, self.home, self.service, self.client = house, home, service, client
        self._key = key_in(house.owner)

    def command(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Send a signed command; what is answered."""
        message = command_message(name, arguments, "test-door", self._key)
        send(self.client, f"{BASE}/command", wire(message))
        got = self.home.wait_for("/command/result", lambda r: r.get("id") == message["id"])
        answer: dict[str, Any] = got.json
        return answer

    def press(self, name: str, payload: str = "PRESS") -> None:
        send(self.client, f"{BASE}/set/{name}", payload)

    def say(self, recording: str) -> dict[str, Any]:
        """Say something to a session; what came of it."""
        before = len(self.home.on("/enrollment"))
        speak(self.service, recording)
        return self.event(before)

    def run_for(self, seconds: float) -> None:
        """As if the machine had run for so much longer."""

        def later(text: str | None) -> str:
            running = json.loads(text or "")
            return json.dumps({**running, "total_s": running["total_s"] + seconds})

        with closing(DeviceState(self.house.config.parent / "state")) as state:
            state.change(RUNNING_KEY, later)

    def event(self, number: int) -> dict[str, Any]:
        """The event of that number, the first being 0."""
        assert settled(lambda: len(self.home.on("/enrollment")) > number)
        event: dict[str, Any] = self.home.on("/enrollment")[number].json
        return event

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
    with Subscriber(broker) as home, connected(broker) as client:
        service = house.start("--input", "-")
        try:
            feed(service, np.zeros(16_000))
            home.wait_for("/status", lambda s: s.get("microphone") == "listening")
            yield Guided(house, home, service, client)
        finally:
            stop(service)


def test_from_the_first_command_to_the_opened_door(broker: Broker, tmp_path: Path) -> None:
    with guided(tmp_path, broker) as door:
        begun = door.command("enroll_start", person="Ada", phrase="what Ada says")
        assert begun["ok"]
        assert begun["detail"]["person"] == "Ada"
        assert (begun["detail"]["done"], begun["detail"]["required"]) == (0, 3)
        started = door.event(0)
        assert started["id"] == begun["detail"]["session"]
        assert started["state"] == "started"
        assert started["message"] == "say your passphrase 3 times and pause after each"
        door.status(enrolling=True)
        events = [door.say(f"ada_enroll_{number}") for number in (1, 2, 3)]
        assert [event["state"] for event in events] == ["accepted", "accepted", "unconfirmed"]
        assert [event["done"] for event in events] == [1, 2, 3]
        assert [event["message"] for event in events] == [
            "1 of 3: again", "2 of 3: once more, in haste: so you get in on busy days too",
            "Ada is enrolled: now the owner must confirm it",
        ]  # fmt: skip
        status = door.home.wait_for("/status", lambda s: "unconfirmed" in s).json
        (waits,) = status["unconfirmed"]
        assert (status["enrolling"], status["enrolled"]) == (False, 0)
        assert (waits["person"], waits["done"]) == ("Ada", 3)
        assert status["enrollment"]["state"] == "unconfirmed"
        assert not door.home.on("/decision")
        speak(door.service, "ada_right_phrase")
        shut = door.home.wait_for("/decision").json
        assert (shut["decision"], shut["reason"]) == ("denied", "nobody_enrolled")
        door.home.messages.clear()
        confirmed = door.command("enroll_confirm", person="Ada")
        assert confirmed["ok"]
        assert confirmed["detail"] == {**waits, "enrolled_twice": False}
        assert "unconfirmed" not in door.status(enrolled=1)
        assert door.command("enroll_confirm", person="Ada")["reason"] == "nothing_to_confirm"
        speak(door.service, "ada_right_phrase")
        opened = door.home.wait_for("/decision").json
        assert (opened["decision"], opened["name"]) == ("granted", "Ada")
        assert opened["profile_id"] == events[-1]["profile_id"]
        key = read_verifying_key(door.house.public_key)
        for event in (started, *events):
            assert is_genuine(event, "enrollment", key)
            assert not is_genuine(event, "decision", key)
        (person,) = door.command("list")["detail"]["people"]
        assert (person["name"], person["complete"], person["samples"]) == ("Ada", True, 3)
        assert "phrase" not in person
    changes = [entry for entry in trail(door.house) if entry["kind"] == "change"]
    assert [entry["detail"]["what"] for entry in changes] == ["confirmed"]
    kept = [entry for entry in trail(door.house) if entry["kind"] == "enrollment"]
    assert len(kept) == 1
    assert kept[0]["detail"]["complete"] is True
    assert "Ada" not in json.dumps(trail(door.house))
    assert "what Ada says" not in json.dumps(trail(door.house))


def test_what_is_refused_and_what_a_display_says(broker: Broker, tmp_path: Path) -> None:
    with guided(tmp_path, broker) as door:
        assert door.command("enroll_cancel")["reason"] == "not_enrolling"
        assert door.command("enroll_start", person="Ada")["ok"]
        busy = door.command("enroll_start", person="Robin")
        assert (busy["ok"], busy["reason"]) == (False, "busy")
        assert "Ada is being enrolled" in busy["detail"]["message"]
        first = door.say("ada_enroll_1")
        assert first["state"] == "accepted"
        for said, reason, message in (
            ("stranger_adas_phrase", "unknown_speaker",
             "different voice: once more, by the same person as the first time"),
            ("ada_wrong_phrase", "wrong_phrase",
             "different phrase: once more, with the same words as the first time"),
        ):  # fmt: skip
            event = door.say(said)
            assert (event["state"], event["reason"], event["done"]) == ("refused", reason, 1)
            assert event["message"] == message
            assert door.status(enrolling=True)["enrollment"]["message"] is not None
        quiet = len(door.home.on("/enrollment"))
        feed(door.service, np.concatenate((0.002 * recorded("ada_enroll_2"), hiss(1.0))))
        feed(door.service, np.concatenate((8.0 * recorded("ada_enroll_2"), hiss(1.0))))
        assert door.event(quiet)["reason"] in ("too_quiet", "too_noisy", "clipped")
        assert door.command("enroll_cancel")["detail"]["done"] == 1
        over = door.home.wait_for("/enrollment", lambda e: e["state"] == "canceled").json
        assert over["message"] == "canceled: 1 of 3 saved, start again to continue"
        # What was taken is kept, and gone on with.
        again = door.command("enroll_start", person="ada")
        assert (again["detail"]["done"], again["detail"]["person"]) == (1, "Ada")
        assert again["detail"]["message"] == "1 of 3: continue with the same passphrase"
        assert door.say("ada_enroll_2")["done"] == 2
        assert door.say("ada_enroll_3")["state"] == "unconfirmed"
        waits = door.command("enroll_start", person="Ada")
        assert waits["reason"] == "unconfirmed"
        assert waits["detail"]["message"] == (
            "Ada is enrolled: confirm it, or enroll once more in 60 minutes"
        )
        assert door.command("enroll_confirm", person="Ada")["ok"]
        # Whoever opens is not enrolled over by a command: the old signature stays in use.
        assert door.command("enroll_start", person="Ada")["reason"] == "exists"
        assert door.command("disarm")["ok"]
        assert door.command("enroll_start", person="Robin")["reason"] == "not_listening"
        assert not door.home.on("/decision")
    what = [entry["detail"] for entry in trail(door.house) if entry["kind"] == "enrollment"]
    assert [each["complete"] for each in what] == [False, True]


def test_whoever_speaks_first_opens_nothing(broker: Broker, tmp_path: Path) -> None:
    """The owner meant Ada, and somebody else stood at the door."""
    with guided(tmp_path, broker) as door:
        assert door.command("enroll_start", person="Ada")["ok"]
        for number in (1, 2, 3):
            event = door.say(f"robin_enroll_{number}")
        assert event["state"] == "unconfirmed"
        door.home.messages.clear()
        speak(door.service, "robin_right_phrase")
        assert door.home.wait_for("/decision").json["decision"] == "denied"
        (person,) = door.command("list")["detail"]["people"]
        assert (person["name"], person["complete"], person["unconfirmed"]) == ("Ada", False, True)
        # An hour later Ada is asked: it is not her voice.
        door.run_for(3600.0)
        door.home.messages.clear()
        assert door.command("enroll_start", person="Ada")["detail"]["done"] == 0
        assert door.event(0)["state"] == "started"
        refused = door.say("ada_enroll_1")
        assert (refused["reason"], refused["message"]) == (
            "unknown_speaker",
            "another voice: the named person must speak",
        )
        assert door.command("enroll_cancel")["ok"]
        assert door.command("delete", person="Ada")["ok"]
        assert door.command("list")["detail"]["people"] == []


def test_the_same_voice_on_another_occasion_confirms(broker: Broker, tmp_path: Path) -> None:
    with guided(tmp_path, broker) as door:
        assert door.command("enroll_start", person="Ada")["ok"]
        for number in (1, 2, 3):
            door.say(f"ada_enroll_{number}")
        door.home.wait_for("/status", lambda s: "unconfirmed" in s)
        door.run_for(3600.0)
        door.home.messages.clear()
        assert door.command("enroll_start", person="Ada")["ok"]
        for number in (1, 2, 3):
            said = soxr.resample(recorded(f"ada_enroll_{number}"), 105, 100)
            feed(door.service, np.concatenate((said, hiss(2.0))))
            event = door.event(number)
        assert (event["state"], event["message"]) == ("complete", "Ada is enrolled")
        door.status(enrolled=1)
        speak(door.service, "ada_right_phrase")
        assert door.home.wait_for("/decision").json["decision"] == "granted"
    what = [entry["detail"] for entry in trail(door.house) if entry["kind"] == "enrollment"]
    assert [(each["what"], each["complete"]) for each in what] == [
        ("enrolled", True), ("second session", True),
    ]  # fmt: skip


def test_what_nobody_confirms_is_removed(broker: Broker, tmp_path: Path) -> None:
    with guided(tmp_path, broker) as door:
        assert door.command("enroll_start", person="Ada")["ok"]
        for number in (1, 2, 3):
            door.say(f"ada_enroll_{number}")
        door.home.wait_for("/status", lambda s: "unconfirmed" in s)
        door.run_for(7 * 86400.0)
        # Looked for every ten minutes, and when somebody has changed.
        assert door.house.run("access", "disable", "Ada").returncode == 0
        assert settled(lambda: "unconfirmed" not in door.home.on("/status")[-1].json)
        (person,) = door.command("list")["detail"]["people"]
        assert (person["samples"], person["enabled"], person["unconfirmed"]) == (0, False, False)
    changes = [entry["detail"] for entry in trail(door.house) if entry["kind"] == "change"]
    assert changes[-1] == {"what": "reset", "by": "nobody confirmed it"}


def test_nothing_opens_while_somebody_is_enrolled(broker: Broker, tmp_path: Path) -> None:
    # The enrollment ends by itself: nobody fits.
    with guided(tmp_path, broker, replay={"enabled": True}) as door:
        door.house.enroll_ada()
        door.status(enrolled=1)
        assert door.command("enroll_start", person="Robin")["ok"]
        assert door.say("stranger_adas_phrase")["state"] == "accepted"
        for _ in range(8):
            event = door.say("ada_right_phrase")
        assert event["reason"] in ("unknown_speaker", "too_many_refusals")
        over = door.home.wait_for("/enrollment", lambda e: e["state"] == "failed").json
        assert over["reason"] == "too_many_refusals"
        assert over["message"].startswith("too many failed tries: 1 of 3 saved")
        door.status(enrolling=False)
        assert not door.home.on("/decision")
        speak(door.service, "ada_right_phrase")
        assert door.home.wait_for("/decision").json["decision"] == "granted"


def test_nobody_speaks(broker: Broker, tmp_path: Path) -> None:
    with guided(tmp_path, broker, enrollment={"wait_s": 5.0}) as door:
        assert door.command("enroll_start", person="Ada")["ok"]
        over = door.home.wait_for("/enrollment", lambda e: e["state"] == "timed_out").json
        assert (over["reason"], over["message"]) == ("nobody_spoke", "nobody spoke")
        shown = door.home.wait_for(
            "/status", lambda s: (s.get("enrollment") or {}).get("state") == "timed_out"
        )
        assert shown.json["enrolling"] is False
        assert door.command("list")["detail"]["people"] == []


def test_the_device_stops_listening_in_the_midst_of_it(broker: Broker, tmp_path: Path) -> None:
    with guided(tmp_path, broker) as door:
        assert door.command("enroll_start", person="Ada")["ok"]
        assert door.say("ada_enroll_1")["done"] == 1
        assert door.command("disarm")["ok"]
        shut = door.home.wait_for("/enrollment", lambda e: e["state"] == "canceled").json
        assert shut["reason"] == "not_listening"
        # Deleted in the middle of it.
        assert door.command("arm")["ok"]
        assert door.command("enroll_start", person="Ada")["ok"]
        assert door.command("delete", person="Ada")["ok"]
        gone = door.home.wait_for("/enrollment", lambda e: e["reason"] == "changed").json
        assert gone["state"] == "canceled"
        assert door.command("list")["detail"]["people"] == []


def test_the_broker_is_gone_for_a_while(broker: Broker, tmp_path: Path) -> None:
    with guided(tmp_path, broker) as door:
        assert door.command("enroll_start", person="Ada")["ok"]
        assert door.say("ada_enroll_1")["done"] == 1
        door.home.lost()
        broker.kill()
        speak(door.service, "ada_enroll_2")
        show = ("profiles", "show", "Ada", "--json")
        assert settled(
            lambda: json.loads(door.house.run(*show).stdout)["profile"]["remaining"] == 1
        )
        broker.start()
        door.home.ready_again()
        door.home.wait_for("/status", lambda s: (s.get("enrollment") or {}).get("done") == 2)
        speak(door.service, "ada_enroll_3")
        door.home.wait_for("/enrollment", lambda e: e["state"] == "unconfirmed")
        assert door.command("enroll_confirm", person="Ada")["ok"]
        door.home.messages.clear()
        speak(door.service, "ada_right_phrase")
        assert door.home.wait_for("/decision").json["decision"] == "granted"


UNSIGNED = {
    "enroll": True, "enroll_cancel": True, "enroll_person": True, "enroll_confirm": True,
}  # fmt: skip


def test_whom_the_field_of_home_assistant_takes(broker: Broker, tmp_path: Path) -> None:
    with guided(tmp_path, broker, unsigned=UNSIGNED) as door:
        door.press("enroll")  # nobody is chosen
        for wrong in ("x" * 65, "A\nB", "\u202eadA", "3f0c8a52-7d3b-4c21-9a0e-1b2c3d4e5f60"):
            door.press("enroll_person", wrong)
        send(door.client, f"{BASE}/set/enroll_person", b"\xff\xfe")
        door.press("enroll_person", "  Zoë  ")
        door.status(enroll_person="Zoë")
        assert not door.home.on("/enrollment")
        before = len(door.home.on("/status"))
        door.press("enroll_person", "")
        assert settled(
            lambda: any("enroll_person" not in s.json for s in door.home.on("/status")[before:])
        )
    reasons = [e["detail"]["reason"] for e in trail(door.house) if e["kind"] == "command"]
    assert reasons.count("no_person") == 1
    assert reasons.count("bad_name") == 1
    refused = [e["detail"]["reason"] for e in trail(door.house) if e["kind"] == "command_refused"]
    assert refused == ["bad_arguments"] * 4


def test_buttons_of_home_assistant(broker: Broker, tmp_path: Path) -> None:
    """No more presses than the service takes at once, however fast it is."""
    with guided(tmp_path, broker, unsigned=UNSIGNED) as door:
        door.press("enroll_person", "Ada")
        door.status(enroll_person="Ada")
        door.press("enroll")
        assert door.event(0)["person"] == "Ada"
        door.press("enroll_cancel")
        assert door.event(1)["state"] == "canceled"
        door.press("enroll")
        assert door.event(2)["state"] == "started"
        for number in (1, 2, 3):
            event = door.say(f"ada_enroll_{number}")
        assert event["state"] == "unconfirmed"
        # A button confirms whoever waits as far as the service knows by then, and tells.
        door.home.wait_for("/status", lambda s: "unconfirmed" in s)
        # Start a second time is no second session: anyone may have pressed it.
        door.press("enroll_person", "Ada")
        door.press("enroll")
        door.press("enroll_confirm")
        door.status(enrolled=1)
        assert len(door.home.on("/enrollment")) == 6
    reasons = [e["detail"]["reason"] for e in trail(door.house) if e["kind"] == "command"]
    assert reasons.count("unconfirmed") == 1


def test_a_flood_stops_no_enrollment(broker: Broker, tmp_path: Path) -> None:
    shut = {**UNSIGNED, "enroll_cancel": False, "enroll_confirm": False}
    with guided(tmp_path, broker, unsigned=shut) as door:
        assert door.command("enroll_start", person="Ada")["ok"]
        stranger = PrivateKey(b"s" * 32)
        for number in range(1500):
            content = command_message("enroll_cancel", {}, "test-door", stranger)
            door.client.publish(f"{BASE}/command", wire(content), qos=0)
            for name in ("enroll", "enroll_cancel", "enroll_confirm", "enroll_person"):
                door.client.publish(f"{BASE}/set/{name}", f"PRESS{number % 3}", qos=0)
        for number in (1, 2, 3):
            event = door.say(f"ada_enroll_{number}")
        assert event["state"] == "unconfirmed"
        door.press("enroll_confirm")  # not allowed
        (person,) = door.command("list")["detail"]["people"]
        assert person["unconfirmed"] is True


def test_each_command_once_at_the_command_line(broker: Broker, tmp_path: Path) -> None:
    with guided(tmp_path, broker) as door:
        house = door.house

        def tell(*arguments: str) -> str:
            done = house.tell(*arguments, "--device-key", str(house.public_key))
            assert done.returncode == 0, (arguments, done.stdout, done.stderr)
            return done.stdout

        assert "test-door: done" in tell("ping")
        follower = subprocess.Popen(
            house.command("command", "enroll_start", "--person", "Ada", "--key", str(house.owner)),
            env=house.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert door.event(0)["state"] == "started"
        for number in (1, 2, 3):
            assert door.say(f"ada_enroll_{number}")["done"] == number
        said, _ = follower.communicate(timeout=PATIENCE)
        assert follower.returncode == 0
        assert said.splitlines() == [
            "test-door: done",
            "  say your passphrase 3 times and pause after each",
            "  1 of 3: again",
            "  2 of 3: once more, in haste: so you get in on busy days too",
            "  Ada is enrolled: now the owner must confirm it",
        ]
        assert "Ada: enrolled, to be confirmed" in tell("list")
        confirmed = tell("enroll_confirm", "--person", "Ada")
        assert "  person: Ada\n  done: 3\n" in confirmed
        assert "  enrolled_twice: no\n" in confirmed
        assert "Ada: enrolled\n" in tell("list")
        tell("disable", "--person", "Ada")
        assert "Ada: enrolled, disabled" in tell("list")
        tell("enable", "--person", "Ada")
        tell("disarm")
        assert "listening: no" in tell("status")
        tell("arm")
        tell("lock_out")
        assert door.status(locked_out=True)
        assert "was_locked_out: yes" in tell("lift_lockout")
        refused = house.tell("challenge")
        assert refused.returncode == 1
        assert "nobody_can_answer: nobody has enrolled digits" in refused.stderr
        assert house.tell("enroll_start", "--person", "Ada").returncode == 1
        tell("reset", "--person", "Ada")
        assert "Ada: 3 more needed" in tell("list")
        tell("reload")
        tell("delete", "--person", "Ada")
        assert house.tell("delete", "--person", "Ada").returncode == 1
        assert "people" not in tell("list")


def recorded(name: str) -> Any:
    samples, _ = soundfile.read(DEMO / f"{name}.flac")
    return samples


def hiss(seconds: float) -> Any:
    return 1e-3 * np.random.default_rng(0).normal(size=int(16_000 * seconds))

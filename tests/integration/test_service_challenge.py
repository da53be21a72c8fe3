"""The challenge from the passphrase to the open door, over a real broker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edge.config import load_config
from tests.integration.broker import Broker, Subscriber
from tests.integration.house import House
from tests.integration.listening import Room, listening
from tests.integration.test_signed_service import SignedHouse
from tests.unit.spoken_digits import ADA, ROBIN, WORDS, enroll_ada, needs_flite, recording_of

PHRASE = ["good evening, the green house on the hill"]
PACE = 1.1
"""None of the enrolled paces."""

pytestmark = needs_flite


def test_only_the_right_digits_in_the_right_voice_open(broker: Broker, tmp_path: Path) -> None:
    asks = {"required": "always", "answer_s": 60.0, "attempts": 1}
    house = House(tmp_path, broker, dict(os.environ), challenge=asks)
    enroll_ada(tmp_path / "state")
    with listening(load_config(house.config)) as room, Subscriber(broker) as home:
        for answer in ("wrong digits", "wrong voice", "passphrase", "right"):
            digits = _asked(room, home)
            if answer == "wrong digits":
                last = next(d for d in range(9, -1, -1) if d not in digits)
                _answer(room, (*digits[:-1], last), ADA)
            elif answer == "wrong voice":
                _answer(room, digits, ROBIN)
            elif answer == "passphrase":
                room.say(recording_of(PHRASE, ADA, PACE))
            else:
                _answer(room, digits, ADA)
            done = home.wait_for("/decision", lambda d: d["reason"] != "challenge_asked").json
            expected = (
                ("granted", "recognized") if answer == "right" else ("denied", "challenge_failed")
            )
            assert (done["decision"], done["reason"]) == expected, answer
            over = home.wait_for("/challenge", lambda c: c["digits"] is None)
            assert not over.retain
        assert done["name"] == "Ada"


def test_digits_are_demanded_by_a_command(broker: Broker, tmp_path: Path) -> None:
    house = SignedHouse(tmp_path, broker, challenge={"answer_s": 60.0})
    enroll_ada(tmp_path / "state")
    with listening(load_config(house.config)) as room, Subscriber(broker) as home:
        home.wait_for("/status", lambda s: s.get("enrolled") == 1)
        done = house.tell("challenge")
        assert done.returncode == 0, done.stderr
        assert "people_who_can_answer: 1" in done.stdout
        home.wait_for("/status", lambda s: s.get("challenge_demanded") is True)
        digits = _asked(room, home)
        home.messages.clear()
        _answer(room, digits, ADA)
        home.wait_for("/decision", lambda d: d["reason"] == "recognized")
        home.wait_for("/status", lambda s: "challenge_demanded" not in s)
        home.messages.clear()
        room.say(recording_of(PHRASE, ADA, PACE))
        assert home.wait_for("/decision").json["decision"] == "granted"


def _asked(room: Room, home: Subscriber) -> tuple[int, ...]:
    """The digits that are shown after the passphrase."""
    home.messages.clear()
    room.say(recording_of(PHRASE, ADA, PACE))
    asked = home.wait_for("/decision").json
    assert (asked["decision"], asked["reason"]) == ("denied", "challenge_asked")
    prompt: dict[str, Any] = home.wait_for("/challenge").json
    return tuple(int(digit) for digit in prompt["digits"])


def _answer(room: Room, digits: tuple[int, ...], voice: str) -> None:
    room.say(recording_of([WORDS[digit] for digit in digits], voice, PACE))

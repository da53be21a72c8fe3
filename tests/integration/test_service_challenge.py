"""The challenge from the passphrase to the open door, over a real broker."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.types import FloatArray
from tests.integration.broker import Broker, Subscriber
from tests.integration.house import House, feed, feed_live, stop
from tests.integration.test_signed_service import SignedHouse
from tests.unit.spoken_digits import ADA, ROBIN, WORDS, enroll_ada, needs_flite, recording_of

PHRASE = ["good evening, the green house on the hill"]
PACE = 1.1
"""None of the enrolled paces."""

pytestmark = needs_flite


@pytest.fixture
def house(broker: Broker, tmp_path: Path) -> House:
    """A door that always challenges, and Ada with her digits."""
    asks = {"required": "always", "answer_s": 20.0, "attempts": 1}
    house = House(tmp_path, broker, dict(os.environ), challenge=asks)
    enroll_ada(tmp_path / "state")
    return house


def test_the_right_digits_in_the_right_voice_open(broker: Broker, house: House) -> None:
    with Subscriber(broker) as home:
        service = _started(house, home)
        try:
            digits = _asked(service, home)
            _answer(service, digits, ADA)
            opened = home.wait_for("/decision", lambda d: d["reason"] != "challenge_asked").json
            assert (opened["decision"], opened["reason"]) == ("granted", "accepted")
            assert opened["name"] == "Ada"
            over = home.wait_for("/challenge", lambda c: c["digits"] is None)
            assert not over.retain
        finally:
            stop(service)


@pytest.mark.parametrize("wrong", ["digits", "voice", "passphrase"])
def test_anything_else_does_not(broker: Broker, house: House, wrong: str) -> None:
    with Subscriber(broker) as home:
        service = _started(house, home)
        try:
            digits = _asked(service, home)
            if wrong == "digits":
                last = next(d for d in range(9, -1, -1) if d not in digits)
                _answer(service, (*digits[:-1], last), ADA)
            elif wrong == "voice":
                _answer(service, digits, ROBIN)
            else:
                feed_live(service, recording_of(PHRASE, ADA, PACE))
            shut = home.wait_for("/decision", lambda d: d["reason"] != "challenge_asked").json
            assert (shut["decision"], shut["reason"]) == ("denied", "challenge_failed")
        finally:
            stop(service)


def test_digits_are_demanded_by_a_command(broker: Broker, tmp_path: Path) -> None:
    house = SignedHouse(tmp_path, broker, challenge={"answer_s": 20.0})
    enroll_ada(tmp_path / "state")
    with Subscriber(broker) as home:
        service = _started(house, home)
        try:
            done = house.tell("challenge")
            assert done.returncode == 0, done.stderr
            assert "people_who_can_answer: 1" in done.stdout
            home.wait_for("/status", lambda s: s.get("challenge_demanded") is True)
            digits = _asked(service, home)
            home.messages.clear()
            _answer(service, digits, ADA)
            home.wait_for("/decision", lambda d: d["reason"] == "accepted")
            home.wait_for("/status", lambda s: "challenge_demanded" not in s)
            home.messages.clear()
            _say(service, recording_of(PHRASE, ADA, PACE))
            assert home.wait_for("/decision").json["decision"] == "granted"
        finally:
            stop(service)


def _started(house: House, home: Subscriber) -> subprocess.Popen[bytes]:
    service = house.start("--input", "-")
    feed(service, np.zeros(16_000))
    home.wait_for("/status", lambda s: s.get("enrolled") == 1)
    return service


def _asked(service: subprocess.Popen[bytes], home: Subscriber) -> tuple[int, ...]:
    """The digits that are shown after the passphrase."""
    _say(service, recording_of(PHRASE, ADA, PACE))
    asked = home.wait_for("/decision").json
    assert (asked["decision"], asked["reason"]) == ("denied", "challenge_asked")
    prompt: dict[str, Any] = home.wait_for("/challenge").json
    return tuple(int(digit) for digit in prompt["digits"])


def _answer(service: subprocess.Popen[bytes], digits: tuple[int, ...], voice: str) -> None:
    feed_live(service, recording_of([WORDS[digit] for digit in digits], voice, PACE))


def _say(service: subprocess.Popen[bytes], samples: FloatArray) -> None:
    feed(service, np.concatenate((samples, np.zeros(16_000, np.float32))))

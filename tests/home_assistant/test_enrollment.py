"""Enrollment from Home Assistant's own page: a name typed in, a button, and what it shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.home_assistant.door import Door
from tests.integration.house import speak

MakeDoor = Callable[..., Door]


def test_somebody_is_enrolled_from_the_page_and_let_in(door: MakeDoor) -> None:
    front = door()
    front.open()
    front.wait_for("enrolled", "1")
    assert front.hear("robin_right_phrase")["event_type"] == "denied"
    quiet = front.wait_for("access", lambda _: True)["state"]

    front.tap("text.set_value", "enroll_person", value="Robin")
    front.wait_for("enroll_person", "Robin")
    front.tap("button.press", "enroll")
    begun = front.wait_for("enrollment", "started")["attributes"]
    assert (begun["person"], begun["done"], begun["required"]) == ("Robin", 0, 3)
    assert begun["message"]
    _say(front, "robin_enroll_1", lambda now: now["state"] == "accepted")
    refused = _say(front, "ada_right_phrase", lambda now: now["state"] == "refused")
    assert refused["attributes"]["done"] == 1
    assert refused["attributes"]["message"]
    _say(front, "robin_enroll_2", lambda now: now["attributes"]["done"] == 2)
    waits = _say(front, "robin_enroll_3", lambda now: now["state"] == "unconfirmed")
    assert waits["attributes"]["message"] == "Robin is enrolled: now the owner must confirm it"
    front.wait_for("enroll_person", "")
    assert front.hear("robin_right_phrase")["event_type"] == "denied"
    quiet = front.wait_for("access", lambda _: True)["state"]
    waits = front.wait_for("enrollment", lambda now: now["attributes"].get("unconfirmed"))
    assert [each["person"] for each in waits["attributes"]["unconfirmed"]] == ["Robin"]
    front.tap("button.press", "enroll_confirm")
    front.wait_for("enrolled", "2")
    assert front.wait_for("access", lambda _: True)["state"] == quiet, "nothing opens meanwhile"
    front.wait_for("enrollment", "idle")

    granted = front.hear("robin_right_phrase")
    assert (granted["event_type"], granted["name"]) == ("granted", "Robin")
    front.wait_for("last_person", "Robin")


def test_an_enrollment_is_called_off(door: MakeDoor) -> None:
    front = door()
    front.open()
    front.wait_for("enrolled", "1")
    front.tap("text.set_value", "enroll_person", value="Robin")
    front.wait_for("enroll_person", "Robin")
    front.tap("button.press", "enroll")
    front.wait_for("enrollment", "started")
    front.tap("button.press", "enroll_cancel")
    front.wait_for("enrollment", "canceled")
    assert front.hear("ada_right_phrase")["event_type"] == "granted"
    front.wait_for("enrolled", "1")


def _say(front: Door, recording: str, then: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    assert front.service is not None
    speak(front.service, recording)
    return front.wait_for("enrollment", then)

"""Enrollments that the page asks the service for: the room, the repetitions, and a trial."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.mqtt import CommandFailed
from edge.recognition import Engine
from edge.service.enrollment_requests import (
    REQUEST_KEY,
    EnrollmentRequests,
    RequestBox,
    Requested,
)
from edge.service.observers import SoundLevel
from edge.store import open_store
from tests.unit.stores import Memory
from tests.unit.test_remote_enrollment import Room
from tests.unit.voices import quiet, samples_of

ROOM = SoundLevel(1600, 1600 * 1e-6, 1e-6, 0.01)
"""A tenth of a second at -60 dB."""
DOOR = SoundLevel(1600, 1600 * 1e-1, 1e-1, 0.9)
"""A door that closes."""


KEY = bytes(range(32))
REQUESTED = Requested("r1", "Ada", None, 100.0)


def foreign() -> str:
    """A request that was sealed with another key."""
    state = Memory()
    RequestBox(state, bytes(32)).put(REQUESTED)
    return state.texts[REQUEST_KEY]


class Door:
    """The requests of a door, with an enrollment that only notes what it is asked."""

    def __init__(self) -> None:
        self.state = Memory()
        self.box = RequestBox(self.state, KEY)
        self.now = 100.0
        self.speaking = False
        self.started: list[Any] = []
        self.canceled = 0
        self.fault: CommandFailed | None = None
        self.told: list[dict[str, Any]] = []
        enrollment: Any = SimpleNamespace(
            told=self.told, require_possible=self._possible, start=self._start, cancel=self._cancel
        )
        pointer: Any = self
        self.requests = EnrollmentRequests(self.box, enrollment, pointer, clock=lambda: self.now)

    def ask(self, person: str = "Ada", phrase: str | None = None, at_s: float = 100.0) -> None:
        self.box.put(Requested("r1", person, phrase, at_s))
        self.requests.tick()

    def hear(self, *levels: SoundLevel) -> None:
        for level in levels:
            self.requests.level(level)

    @property
    def states(self) -> list[str]:
        return [each["state"] for each in self.told]

    def _possible(self) -> None:
        if self.fault is not None:
            raise self.fault

    def _start(self, arguments: dict[str, Any], *, trial: bool) -> None:
        self._possible()
        self.started.append((arguments, trial))

    def _cancel(self) -> None:
        self.canceled += 1


def test_the_room_is_listened_to_before() -> None:
    door = Door()
    door.ask(phrase="good night")
    assert door.state.get(REQUEST_KEY) is None
    assert door.requests.live
    door.hear(*[ROOM] * 17, DOOR, ROOM)
    assert (door.states, door.started) == (["measuring"], [])
    door.hear(ROOM)
    assert door.started == [({"person": "Ada", "phrase": "good night"}, True)]
    room = door.told[-1]
    # What closes a door is no noise of the room.
    assert room["noise"] == {"level_dbfs": -60.0, "verdict": "quiet", "speech_s": 0.0}
    assert room["target_dbfs"] == [-39.0, -12.0]
    assert room["request"] == "r1"
    assert room["message"] == "The room is quiet enough (-60 dB)."
    assert not door.requests.live
    door.hear(*[ROOM] * 40)
    assert len(door.started) == 1


def test_who_speaks_meanwhile_is_asked_to_be_silent_twice() -> None:
    door = Door()
    door.ask()
    door.speaking = True
    for tries in (1, 2, 3):
        assert door.states == ["measuring"] * tries
        door.hear(*[ROOM] * 20)
    assert door.told[1]["message"] == "somebody spoke: once more, in silence"
    assert door.states[3:] == ["room"]
    assert len(door.started) == 1


@pytest.mark.parametrize(("at_s", "taken"), [(90.0, True), (89.9, False), (100.1, False)])
def test_an_old_request_is_dropped(at_s: float, taken: bool) -> None:
    door = Door()
    door.ask(at_s=at_s)
    assert bool(door.told) is taken
    assert door.state.get(REQUEST_KEY) is None


@pytest.mark.parametrize("text", ["", "no seal", "00", foreign()])
def test_what_is_no_request_of_this_device_is_dropped(text: str) -> None:
    door = Door()
    door.state.put(REQUEST_KEY, text)
    door.requests.tick()
    assert (door.told, door.state.get(REQUEST_KEY)) == ([], None)


def test_what_hinders_an_enrollment_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    door.fault = CommandFailed("not_listening", "listening is switched off: arm first")
    door.ask()
    assert (door.told[-1]["state"], door.told[-1]["reason"]) == ("failed", "not_listening")
    assert door.told[-1]["message"] == "listening is switched off: arm first"
    assert not door.requests.live
    door.fault = None
    door.ask()
    door.fault = CommandFailed("exists", "already enrolled: reset or delete first")
    door.hear(*[ROOM] * 20)
    assert (door.states[-1], door.told[-1]["reason"]) == ("failed", "exists")


def test_a_second_request_waits_for_nobody() -> None:
    door = Door()
    door.ask()
    door.box.put(Requested("r2", "Robin", None, 100.0))
    door.requests.tick()
    assert (door.told[-1]["request"], door.told[-1]["reason"]) == ("r2", "busy")
    door.hear(*[ROOM] * 20)
    assert door.started == [({"person": "Ada"}, True)]


def test_canceling_ends_what_goes_on() -> None:
    door = Door()
    door.ask()
    door.box.put(Requested("r2", "", None, 100.0))
    door.requests.tick()
    assert (door.states, door.canceled) == (["measuring", "canceled"], 1)
    door.hear(*[ROOM] * 20)
    assert door.started == []
    door.box.put(Requested("r3", "", None, 100.0))
    door.requests.tick()
    assert (len(door.told), door.canceled) == (2, 2)


def test_without_sound_it_ends() -> None:
    door = Door()
    door.ask()
    door.now += 14.9
    door.requests.tick()
    assert door.requests.live
    door.now += 0.1
    door.requests.tick()
    assert door.told[-1]["reason"] == "no_sound"
    assert not door.requests.live


def test_a_state_that_cannot_be_read_is_tried_again() -> None:
    door = Door()
    door.box.put(Requested("r1", "Ada", None, 100.0))
    door.state.broken = True
    door.requests.tick()
    door.state.broken = False
    door.requests.tick()
    assert door.states == ["measuring"]


def test_neither_name_nor_phrase_can_be_read_in_the_state() -> None:
    state = Memory()
    RequestBox(state, KEY).put(Requested("r1", "Augusta", "open sesame", 1.0))
    kept = state.texts[REQUEST_KEY] + str(bytes.fromhex(state.texts[REQUEST_KEY]))
    assert "Augusta" not in kept
    assert "sesame" not in kept
    assert RequestBox(state, KEY).take(1.0) == Requested("r1", "Augusta", "open sesame", 1.0)
    assert RequestBox(state, KEY).take(1.0) is None


# --- the trial after it ---


@pytest.fixture
def room(engine: Engine, tmp_path: Path) -> Iterator[Room]:
    with open_store(tmp_path) as store:
        yield Room(engine, store)


def enroll_ada(room: Room) -> None:
    room.enrollment.start({"person": "Ada"}, trial=True)
    for number in (1, 2, 3):
        room.say(f"ada_enroll_{number}")


def told(room: Room) -> list[tuple[str, str]]:
    return [(str(each["state"]), str(each["message"])) for each in room.enrollment.told]


def speak(room: Room, recording: str) -> None:
    room.hear(np.concatenate((quiet(0.6), samples_of(recording), quiet(1.3))))


def test_a_trial_says_whether_it_would_open_and_stores_nothing(room: Room) -> None:
    enroll_ada(room)
    assert [state for state, _ in told(room)][-2:] == ["unconfirmed", "trying"]
    assert room.enrollment.running
    assert room.status["enrolling"] is True
    before = len(room.reported)
    speak(room, "stranger_adas_phrase")
    state, message = told(room)[-1]
    assert (state, message[:19]) == ("tried", "it would not open: ")
    assert room.enrollment.told[-1]["trial"]["accepted"] is False
    speak(room, "ada_right_phrase")
    assert [state for state, _ in told(room)][-2:] == ["tried", "over"]
    assert room.enrollment.told[-2]["trial"]["accepted"] is True
    assert room.enrollment.told[-2]["message"].startswith("it opens")
    assert not room.enrollment.running
    assert room.status["enrolling"] is False
    # Over MQTT there is nothing of it, and the profile is as it was.
    assert len(room.reported) == before
    (ada,) = room.people
    assert (len(ada.samples), ada.confirmed) == (3, False)


def test_nobody_has_to_try_it(room: Room) -> None:
    enroll_ada(room)
    room.now += 14.9
    room.hear(quiet(0.1))
    assert room.enrollment.running
    room.now += 0.2
    room.hear(quiet(0.1))
    assert told(room)[-1] == ("over", "the trial is over")
    assert not room.enrollment.running


def test_three_trials_are_enough(room: Room) -> None:
    enroll_ada(room)
    for _ in range(3):
        assert room.enrollment.running
        speak(room, "stranger_other_phrase")
    assert [state for state, _ in told(room)][-4:] == ["tried", "tried", "tried", "over"]
    assert not room.enrollment.running


def test_a_trial_can_be_stopped_and_ends_with_its_person(room: Room) -> None:
    enroll_ada(room)
    assert room.enrollment.cancel() is not None
    assert told(room)[-1][0] == "over"
    room.store.delete("Ada")
    enroll_ada(room)
    (ada,) = room.people
    room.enrollment.changed(ada)
    assert told(room)[-1][0] == "over"
    assert not room.enrollment.running


def test_without_being_asked_for_there_is_no_trial(room: Room) -> None:
    room.start()
    for number in (1, 2, 3):
        room.say(f"ada_enroll_{number}")
    assert told(room)[-1][0] == "unconfirmed"
    assert not room.enrollment.running


def test_a_trial_that_fails_ends(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    enroll_ada(room)

    def broken(*_: Any) -> Any:
        raise RuntimeError("out of order")

    monkeypatch.setattr("edge.service.enrollment.try_out", broken)
    speak(room, "ada_right_phrase")
    assert told(room)[-1][0] == "over"
    assert not room.enrollment.running

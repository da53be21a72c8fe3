"""An enrollment in the service: what ends it, what is refused, and what a display says of each."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.access.decider import Decider
from edge.audio.blocks import blocks_of
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.config import Config, EnrollmentConfig, ReplayConfig
from edge.enrollment import prompts
from edge.enrollment.process import Enrollment, EnrollmentRequest
from edge.errors import EnrollmentRejected, ProfileError, StoreError
from edge.mqtt import CommandFailed
from edge.recognition import Engine
from edge.service.confirmation import APART_S, EXPIRES_S, Unconfirmed
from edge.service.context import RunControl
from edge.service.enrollment import RemoteEnrollment
from edge.store import ProfileStore, open_store
from edge.types import (
    AccessRule,
    AudioBlock,
    Event,
    EventKind,
    FloatArray,
    Profile,
    ProfileKind,
    ProfileStatus,
    ReasonCode,
)
from edge.types.decision import utc
from tests.unit.stores import Memory, make_sample
from tests.unit.voices import quiet, recording, samples_of, with_a_pause


class Room:
    """An enrollment without a broker: what is said and what is reported."""

    def __init__(self, engine: Engine, store: ProfileStore, *, replay: bool = True) -> None:
        self.store = store
        self.config = Config(
            enrollment=EnrollmentConfig(wait_s=60.0, total_s=300.0),
            replay=ReplayConfig(enabled=replay),
        )
        self.now = 1000.0
        self.reported: list[dict[str, Any]] = []
        self.status: dict[str, Any] = {}
        self.events: list[Event] = []
        self.refreshed = 0
        self.position = 0.0
        self.listening = SimpleNamespace(on=True)
        self.profiles = SimpleNamespace(refresh=self._refresh, profiles=[], revision=0)
        self.state: Any = Memory()
        self.up_s = 100.0
        context: Any = SimpleNamespace(
            config=self.config,
            store=store,
            engine=engine,
            profiles=self.profiles,
            publisher=SimpleNamespace(set_status=self.status.update),
            messages=SimpleNamespace(enrollment=lambda fields: self.reported.append(dict(fields))),
            trail=SimpleNamespace(record=self.events.append),
            listening=self.listening,
            control=RunControl(),
        )
        endpointer = EndPointer(EndPointSettings.of(self.config.audio, rolling=True))
        unconfirmed = Unconfirmed(context, self.state, clock=lambda: self.up_s, boot="one")
        self.enrollment = RemoteEnrollment(context, endpointer, unconfirmed, clock=lambda: self.now)

    def _refresh(self) -> None:
        self.refreshed += 1
        self.profiles.profiles = self.store.list()
        self.profiles.revision += 1

    def enroll_ada(self) -> Profile:
        """All of an enrollment."""
        self.start()
        for number in (1, 2, 3):
            self.say(f"ada_enroll_{number}")
        return self.store.get("Ada")

    def start(self, person: str = "Ada", phrase: str | None = None) -> Any:
        given = {"person": person} if phrase is None else {"person": person, "phrase": phrase}
        return self.enrollment.start(given)

    def refused(self, person: str = "Ada", phrase: str | None = None) -> str:
        with pytest.raises(CommandFailed) as caught:
            self.start(person, phrase)
        assert caught.value.message
        return caught.value.reason

    def hear(self, samples: FloatArray, lost: int = 0) -> None:
        """Sound as it is worked on: a block in the one thread, a tick in the other."""
        for at in range(0, len(samples), 512):
            piece = samples[at : at + 512].astype(np.float32)
            # By the room's clock, so that it is all said after the session began.
            clipped = float((np.abs(piece) >= 0.999).mean())
            block = AudioBlock(piece, self.position, self.now + 1e3, lost * (at == 0), clipped)
            self.position += len(piece) / 16_000
            self.enrollment.feed(block)
            self.enrollment.tick()

    def say(self, recording: str, pace: int = 100) -> dict[str, Any]:
        before = len(self.reported)
        said = soxr.resample(samples_of(recording), pace, 100)
        self.hear(np.concatenate((quiet(0.6), said, quiet(1.2))))
        assert len(self.reported) > before, "nothing came of it"
        return self.reported[before]

    def say_faster(self, recording: str) -> dict[str, Any]:
        """Say it once more, as another saying of the same person."""
        return self.say(recording, 105)

    @property
    def people(self) -> list[Profile]:
        return self.store.list()


@pytest.fixture
def room(engine: Engine, tmp_path: Path) -> Iterator[Room]:
    with open_store(tmp_path) as store:
        yield Room(engine, store)


@pytest.fixture
def trusting(engine: Engine, tmp_path: Path) -> Iterator[Room]:
    """Where one recording at another pace is another saying."""
    with open_store(tmp_path) as store:
        yield Room(engine, store, replay=False)


def test_from_the_beginning_to_the_end(room: Room) -> None:
    begun = room.start(phrase="what Ada says")
    assert room.status == {"enrolling": True, "enrollment": room.status["enrollment"]}
    assert room.status["enrollment"]["state"] == "started"
    assert [room.say(f"ada_enroll_{n}")["state"] for n in (1, 2, 3)] == [
        "accepted", "accepted", "unconfirmed",
    ]  # fmt: skip
    assert {event["id"] for event in room.reported} == {begun["session"]}
    assert set(room.reported[0]) == {
        "id", "state", "person", "profile_id", "done", "required", "reason", "message",
    }  # fmt: skip
    assert not any("what Ada says" in str(event) for event in room.reported)
    (ada,) = room.people
    assert (ada.name, ada.phrase, ada.remaining) == ("Ada", "what Ada says", 0)
    # What was said to enroll is remembered before anybody may open.
    assert len(room.store.kept("heard", ada.id)) == 3
    assert room.refreshed == 1
    (event,) = room.events
    assert event.kind is EventKind.ENROLLMENT
    assert event.profile_id == ada.id
    assert not room.enrollment.running
    assert room.status["enrolling"] is False
    room.now += 59.9
    room.enrollment.tick()
    assert room.status["enrollment"] is not None
    room.now += 0.2
    room.enrollment.tick()
    assert room.status["enrollment"] is None


def test_a_block_is_taken_only_while_it_goes_on(room: Room) -> None:
    block = AudioBlock(quiet(0.032), 0.0, time.monotonic())
    assert not room.enrollment.feed(block)
    room.start()
    assert room.enrollment.feed(block)
    room.enrollment.cancel()
    assert not room.enrollment.feed(block)


def test_what_was_being_said_before_belongs_to_nobody(room: Room) -> None:
    said = np.concatenate((samples_of("ada_enroll_1"), quiet(1.2)))
    endpointer = room.enrollment._endpointer
    for block in blocks_of(said[:16_000]):
        endpointer.feed(block)
    room.position = 1.0
    assert endpointer.speaking
    room.start()
    room.hear(said[40_000:])
    assert not endpointer.speaking
    assert [event["state"] for event in room.reported] == ["started"]
    assert room.say("ada_enroll_1")["done"] == 1


def test_how_long_is_waited(room: Room) -> None:
    room.start()
    room.now += 59.0
    room.hear(quiet(0.1))
    assert room.enrollment.running
    room.now += 1.0
    room.hear(quiet(0.1))
    assert (room.reported[-1]["state"], room.reported[-1]["reason"]) == (
        "timed_out",
        "nobody_spoke",
    )
    assert room.reported[-1]["message"] == "nobody spoke"
    # It may not take for ever, though somebody speaks all the time.
    room.start()
    for _ in range(6):
        room.now += 45.0
        room.say("ada_enroll_1" if not room.people else "stranger_adas_phrase")
    room.now += 45.0
    room.hear(quiet(0.1))
    over = room.reported[-1]
    assert (over["state"], over["reason"]) == ("timed_out", "too_long_in_all")
    assert over["message"] == "it took too long: 1 of 3 saved, start again to continue"
    assert [event.detail["complete"] for event in room.events] == [False]
    assert len(room.store.kept("heard")) == 1


def test_too_many_refusals(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    examine, refusing = Enrollment.examine, [True]

    def examined(self: Enrollment, *given: Any) -> Any:
        if refusing[0]:
            raise EnrollmentRejected("unknown_speaker", "another voice")
        return examine(self, *given)

    monkeypatch.setattr(Enrollment, "examine", examined)
    room.start()
    for tries in (7, 8):  # whoever is accepted in between may go on
        for _ in range(tries):
            assert room.enrollment.running
            assert room.say("ada_enroll_1")["reason"] == "unknown_speaker"
        refusing[0] = False
        if tries == 7:
            assert room.say("ada_enroll_1")["state"] == "accepted"
        refusing[0] = True
    assert room.reported[-1]["reason"] == "too_many_refusals"
    assert not room.enrollment.running


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda samples: 0.006 * samples, "too_quiet"),
        (lambda samples: np.clip(60 * samples, -1, 1), "clipped"),
    ],
)
def test_what_is_wrong_with_the_sound(room: Room, change: Any, reason: str) -> None:
    room.start()
    samples = np.concatenate((0.01 * quiet(0.6), change(samples_of("ada_enroll_1"))))
    room.hear(np.concatenate((samples, 0.01 * quiet(1.2))))
    assert room.reported[-1]["reason"] == reason
    assert room.reported[-1]["message"] == prompts.refused(reason)
    assert room.people == []


def test_a_pause_in_the_phrase_makes_no_two_of_it(room: Room) -> None:
    """Nobody has to say it in one breath; after the enrollment the end comes as soon as before."""
    room.start()
    usual = room.enrollment._endpointer.settings
    room.hear(np.concatenate((quiet(0.6), with_a_pause("ada_enroll_1", 0.7), quiet(1.3))))
    assert [event["state"] for event in room.reported] == ["started", "accepted"]
    assert room.people[0].samples[0].net_speech_s > 1.8
    room.enrollment.cancel()
    room.hear(quiet(0.1))
    assert room.enrollment._endpointer.settings == usual


def test_speech_without_end_and_sound_that_was_lost(room: Room) -> None:
    room.start()
    talk = np.concatenate([samples_of(f"ada_enroll_{n % 3 + 1}") for n in range(12)])
    talk = talk[np.abs(talk) > 0.002][: 20 * 16_000]
    room.hear(np.concatenate((talk, quiet(1.2))))
    assert room.reported[-1]["reason"] == "too_long"
    room.hear(samples_of("ada_enroll_1")[:20_000])
    room.hear(quiet(0.1), lost=4000)
    assert (room.reported[-1]["state"], room.reported[-1]["reason"]) == ("refused", "lost")
    assert room.reported[-1]["message"] == "some audio was lost: once more, please"


def test_who_cannot_be_enrolled(room: Room, engine: Engine) -> None:
    room.listening.on = False
    assert room.refused() == "not_listening"
    room.listening.on = True
    assert room.refused("") == "no_person"
    assert room.refused("\u200d") == "bad_name"
    assert room.refused("7f0c8a52-7d3b-4c21-9a0e-1b2c3d4e5f60") == "bad_name"
    own: dict[str, Any] = {"speaker_model": engine.models.speaker.sha256}
    both: dict[str, Any] = {**own, "phrase_model": engine.models.phrase.sha256}
    voice = room.store.create(
        "Robin", ProfileKind.VOICE, "", required=30.0, samples=[make_sample(phrase=False)],
        phrase_model="", **own,
    )  # fmt: skip
    assert room.refused("Robin") == "other_kind"
    assert room.refused(voice.id) == "other_kind"
    room.store.create(
        "Zoë", ProfileKind.PHRASE, "", required=3, samples=[make_sample()],
        speaker_model="5" * 64, phrase_model="9" * 64,
    )  # fmt: skip
    assert room.refused("zoë") == "other_model"
    begun = room.store.create(
        "Kim", ProfileKind.PHRASE, "hello", required=3, samples=[make_sample()], **both
    )
    assert room.refused("Kim", "good night") == "other_phrase"
    whole = room.store.create(
        "Ada", ProfileKind.PHRASE, "", required=3, samples=[make_sample(n) for n in range(3)],
        **both,
    )  # fmt: skip
    room.store.create(
        "Ada (duress)", ProfileKind.PHRASE, "", required=3, samples=[make_sample(9)],
        duress_of=whole.id, **both,
    )  # fmt: skip
    assert room.refused("Ada") == "exists"
    # Nothing tells that there is a second phrase: whoever has none looks like this too.
    assert room.refused("Ada (duress)") == "bad_name"
    assert room.refused("Kim  (DURESS)") == "bad_name"
    assert room.reported == []
    assert room.start("Kim", "hello")["profile_id"] == begun.id
    assert room.refused("Robin") == "busy"


def test_the_store_is_full(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.service.enrollment.MAX_PROFILES", 0)
    assert room.refused() == "full"


def test_a_store_that_is_busy_is_tried_again(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    accept = Enrollment.accept
    failing = [9]

    def busy(self: Enrollment, examined: Any) -> None:
        if failing[0] > 0:
            failing[0] -= 1
            raise StoreError("locked")
        accept(self, examined)

    monkeypatch.setattr(Enrollment, "accept", busy)
    room.start()
    assert room.say("ada_enroll_1")["state"] == "accepted"
    failing[0] = 10
    assert room.say("ada_enroll_2")["reason"] == "store"
    assert room.reported[-1]["state"] == "failed"
    assert room.reported[-1]["message"].startswith("could not be stored: 1 of 3 saved")


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ProfileError("another model"), "other_model"), (RuntimeError("bug"), "internal")],
)
def test_what_goes_wrong_inside_ends_it(
    room: Room, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Enrollment, "examine", fail)
    room.start()
    assert room.say("ada_enroll_1")["reason"] == reason
    assert room.reported[-1]["state"] == "failed"
    assert not room.enrollment.running


def test_the_person_is_gone_meanwhile(room: Room) -> None:
    room.start()
    room.say("ada_enroll_1")
    room.store.delete("Ada")  # at the command line
    assert room.say("ada_enroll_2")["reason"] == "changed"
    room.start()
    room.say("ada_enroll_1")
    (ada,) = room.people
    room.enrollment.changed(replace(ada, id="another"))
    assert room.enrollment.running
    room.enrollment.changed(ada)
    assert not room.enrollment.running
    assert (room.reported[-1]["state"], room.reported[-1]["reason"]) == ("canceled", "changed")


def test_the_end_of_somebody_who_is_gone_is_not_told_any_more(room: Room) -> None:
    room.start()
    for number in (1, 2, 3):
        room.say(f"ada_enroll_{number}")
    assert room.status["enrollment"]["person"] == "Ada"
    room.enrollment.changed(room.people[0])
    assert room.status["enrollment"] is None


def test_what_was_said_to_enroll_is_remembered_though_the_store_is_busy(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = ProfileStore.keep
    failing = [1]

    def busy(self: ProfileStore, *args: Any, **more: Any) -> int:
        if failing[0] > 0:
            failing[0] -= 1
            raise StoreError("locked")
        return keep(self, *args, **more)

    monkeypatch.setattr(ProfileStore, "keep", busy)
    room.start()
    room.say("ada_enroll_1")
    room.enrollment.close()
    assert room.reported[-1]["message"] == (
        "the device is stopping: 1 of 3 saved, start again to continue"
    )
    assert len(room.store.kept("heard")) == 1


def test_what_was_said_is_remembered_before_the_end(room: Room) -> None:
    """Power may fail in the middle; whoever goes on later is asked for what is missing only."""
    room.start()
    assert [room.say(f"ada_enroll_{number}")["state"] for number in (1, 2)] == ["accepted"] * 2
    assert room.enrollment.running
    assert len(room.store.kept("heard")) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=70))
def test_any_text_may_be_chosen(room: Room, text: str) -> None:
    room.status["enroll_person"] = None
    with contextlib.suppress(CommandFailed):
        room.enrollment.choose({"person": text})
    shown = room.status["enroll_person"]
    assert shown is None or (0 < len(shown) <= 64 and shown.strip() == shown)


def test_whoever_is_chosen_is_enrolled_next(room: Room) -> None:
    with pytest.raises(CommandFailed, match="no_person"):
        room.enrollment.start({})
    room.enrollment.choose({"person": " Zoë  Q "})
    assert room.status["enroll_person"] == "Zoë Q"
    assert room.enrollment.start({})["person"] == "Zoë Q"
    room.enrollment.cancel()
    assert room.enrollment.cancel() is None
    room.enrollment.choose({"person": ""})
    assert room.status["enroll_person"] is None


# --- the owner confirms it ---


def test_whoever_was_enrolled_by_command_waits(room: Room, engine: Engine) -> None:
    ada = room.enroll_ada()
    assert ada.status is ProfileStatus.UNCONFIRMED
    assert Decider(engine, room.config).eligible([ada]) == []
    assert room.reported[-1]["message"] == "Ada is enrolled: now the owner must confirm it"
    room.enrollment.tick()
    assert room.status["unconfirmed"] == [
        {
            "profile_id": ada.id,
            "person": "Ada",
            "done": 3,
            "enrolled_at": utc(ada.samples[-1].created_at),
        }
    ]
    ada = room.store.confirm("Ada")
    assert Decider(engine, room.config).eligible([ada]) == [ada]
    room.profiles.refresh()
    room.enrollment.tick()
    assert room.status["unconfirmed"] is None


def test_what_was_begun_by_command_and_completed_on_the_device(room: Room, engine: Engine) -> None:
    """Whoever says the last repetition there is known to whoever enrolls; over MQTT nobody is."""
    room.start()
    room.say("ada_enroll_1")
    room.enrollment.cancel()
    local = EnrollmentRequest("Ada", ProfileKind.PHRASE)
    enrollment = Enrollment(room.store, local, room.config.enrollment)
    for number in (2, 3):
        enrollment.add(engine, recording(f"ada_enroll_{number}"))
    assert room.store.get("Ada").status is ProfileStatus.ENROLLED
    room.store.reset("Ada")
    enrollment = Enrollment(room.store, local, room.config.enrollment)
    for number in (1, 2):
        enrollment.add(engine, recording(f"ada_enroll_{number}"))
    room.start()
    assert room.say("ada_enroll_3")["state"] == "unconfirmed"
    assert room.store.get("Ada").status is ProfileStatus.UNCONFIRMED


def test_a_second_session_on_another_occasion_confirms(trusting: Room) -> None:
    before = trusting.enroll_ada()
    assert trusting.refused("Ada") == "unconfirmed"  # whoever spoke may be there still
    trusting.up_s += APART_S - 60.5
    with pytest.raises(CommandFailed) as caught:
        trusting.start()
    assert caught.value.message == "Ada is enrolled: confirm it, or enroll once more in 2 minutes"
    trusting.up_s += 60.5
    # A signed command says who it is; without one anyone may have begun this session.
    trusting.enrollment.choose({"person": "Ada"})
    with pytest.raises(CommandFailed) as caught:
        trusting.enrollment.start({})
    assert (caught.value.reason, caught.value.message) == (
        "unconfirmed",
        "Ada is enrolled: confirm it",
    )
    begun = trusting.start()
    assert (begun["done"], begun["required"]) == (0, 3)
    stranger = trusting.say("stranger_adas_phrase")
    assert (stranger["reason"], stranger["done"]) == ("unknown_speaker", 0)
    assert stranger["message"] == "another voice: the named person must speak"
    assert [trusting.say_faster(f"ada_enroll_{number}")["state"] for number in (1, 2, 3)] == [
        "accepted", "accepted", "complete",
    ]  # fmt: skip
    assert trusting.reported[-1]["message"] == "Ada is enrolled"
    after = trusting.store.get("Ada")
    assert after.status is ProfileStatus.ENROLLED
    assert [each.created_at for each in after.samples] == [
        each.created_at for each in before.samples
    ]
    assert [event.detail["what"] for event in trusting.events] == ["enrolled", "second session"]
    assert trusting.events[-1].detail["complete"] is True


def test_a_recording_of_the_first_session_is_no_second_one(room: Room) -> None:
    room.enroll_ada()
    room.up_s += APART_S
    room.start()
    assert room.say("ada_enroll_1")["reason"] == "repeated"
    assert room.say("ada_right_phrase")["done"] == 1
    room.enrollment.cancel()
    # What was said in it is remembered too.
    assert len(room.store.kept("heard")) == 4


def test_a_second_session_that_does_not_end_confirms_nothing(trusting: Room) -> None:
    trusting.enroll_ada()
    trusting.up_s += APART_S
    trusting.start()
    for number in (1, 2):
        trusting.say_faster(f"ada_enroll_{number}")
    trusting.enrollment.cancel()
    assert trusting.reported[-1]["message"] == "canceled"
    assert trusting.store.get("Ada").status is ProfileStatus.UNCONFIRMED
    assert (trusting.events[-1].detail["what"], trusting.events[-1].detail["complete"]) == (
        "second session",
        False,
    )
    assert trusting.start()["done"] == 0


def test_a_second_session_of_somebody_who_was_confirmed_meanwhile(trusting: Room) -> None:
    trusting.enroll_ada()
    trusting.up_s += APART_S
    trusting.start()
    for number in (1, 2):
        trusting.say_faster(f"ada_enroll_{number}")
    trusting.store.confirm("Ada")  # at the command line
    assert trusting.say_faster("ada_enroll_3")["reason"] == "changed"
    assert trusting.events[-1].detail["complete"] is False


def test_a_second_session_is_stored_though_the_store_is_busy(
    trusting: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    confirm, failing = ProfileStore.confirm, [3]

    def busy(self: ProfileStore, profile: str) -> Profile:
        if failing[0] > 0:
            failing[0] -= 1
            raise StoreError("locked")
        return confirm(self, profile)

    monkeypatch.setattr(ProfileStore, "confirm", busy)
    trusting.enroll_ada()
    trusting.up_s += APART_S
    trusting.start()
    for number in (1, 2, 3):
        state = trusting.say_faster(f"ada_enroll_{number}")["state"]
    assert (state, failing) == ("complete", [0])


def test_what_nobody_confirms_is_removed(room: Room) -> None:
    ada = room.enroll_ada()
    rule = AccessRule(enabled=False)
    room.store.set_rule("Ada", rule)
    room.profiles.refresh()
    room.enrollment.tick()
    room.up_s += EXPIRES_S - 1.0
    room.enrollment.tick()
    assert room.store.get("Ada").status is ProfileStatus.UNCONFIRMED
    room.start()  # a second session goes with it
    room.up_s += 601.0
    room.enrollment.tick()
    assert room.reported[-1]["reason"] == "changed"
    left = room.store.get("Ada")
    assert (left.id, left.samples, left.rule) == (ada.id, (), rule)
    assert room.events[-1].detail == {"what": "reset", "by": "nobody confirmed it"}
    room.enrollment.tick()
    assert room.status["unconfirmed"] is None
    assert room.state.texts.get("unconfirmed") is None


def test_how_long_it_waited_is_of_this_enrollment(trusting: Room) -> None:
    """Not of an earlier one under that name, nor from a copy of the state that was put back."""
    trusting.enroll_ada()
    trusting.enrollment.tick()
    trusting.up_s += EXPIRES_S - 60.0
    trusting.store.reset("Ada")
    trusting.enroll_ada()
    trusting.enrollment.tick()
    trusting.up_s += EXPIRES_S - 1.0
    trusting.enrollment.tick()
    assert trusting.store.get("Ada").status is ProfileStatus.UNCONFIRMED
    kept = trusting.state.texts["unconfirmed"]
    for damaged in (
        "x",
        "[]",
        kept.replace(str(json.loads(kept)[trusting.people[0].id][1]), "NaN"),
    ):
        trusting.state.texts["unconfirmed"] = damaged
        trusting.up_s += 601.0
        trusting.enrollment.tick()
        assert trusting.store.get("Ada").status is ProfileStatus.UNCONFIRMED
        assert (
            json.loads(trusting.state.texts["unconfirmed"])[trusting.people[0].id][1]
            == trusting.up_s
        )


def test_a_state_that_cannot_be_used_removes_nobody(room: Room) -> None:
    room.enroll_ada()
    room.enrollment.tick()
    room.up_s += EXPIRES_S
    room.state.broken = True
    room.enrollment.tick()
    assert room.store.get("Ada").status is ProfileStatus.UNCONFIRMED
    room.state.broken = False
    room.up_s += 600.0
    room.profiles.revision = -1  # nor a store that could not be read
    room.enrollment.tick()
    assert room.store.get("Ada").status is ProfileStatus.UNCONFIRMED
    room.profiles.revision = 1
    room.enrollment.tick()
    assert room.store.get("Ada").samples == ()


def test_a_store_that_is_busy_keeps_who_waits_for_a_while(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise StoreError("locked")

    room.enroll_ada()
    room.enrollment.tick()
    room.up_s += EXPIRES_S
    with monkeypatch.context() as patch:
        patch.setattr(ProfileStore, "reset", busy)
        room.enrollment.tick()
    assert len(room.store.get("Ada").samples) == 3
    room.up_s += 600.0
    room.enrollment.tick()
    assert room.store.get("Ada").samples == ()


def test_whom_an_unsigned_confirmation_is_for(room: Room) -> None:
    def to_confirm() -> str:
        with pytest.raises(CommandFailed, match="no_person"):
            room.enrollment.to_confirm()
        return "nobody"

    assert to_confirm() == "nobody"
    ada = room.enroll_ada()
    assert room.enrollment.to_confirm() == ada.id
    zoe = room.store.create(
        "Zoë", ProfileKind.PHRASE, required=1, samples=[make_sample()], speaker_model="5" * 64,
        phrase_model="9" * 64, confirmed=False,
    )  # fmt: skip
    room.profiles.refresh()
    assert to_confirm() == "nobody"
    room.enrollment.choose({"person": "zoë"})
    assert room.enrollment.to_confirm() == zoe.id
    room.enrollment.choose({"person": "Robin"})
    assert to_confirm() == "nobody"


def test_a_voice_that_has_a_name_already_is_told(trusting: Room) -> None:
    """But not whose: anyone on the broker would know whom to imitate."""
    trusting.start("Countess")
    for number in (1, 2, 3):
        trusting.say(f"ada_enroll_{number}")
    assert "already" not in trusting.reported[-1]["message"]
    trusting.start("Ada")
    for number in (1, 2, 3):
        trusting.say_faster(f"ada_enroll_{number}")
    assert trusting.reported[-1]["message"] == (
        "Ada is enrolled: now the owner must confirm it; this voice is enrolled already"
    )
    assert trusting.enrollment.enrolled_twice(trusting.store.get("Countess"))


# --- what a display says ---


def test_every_reason_has_words_of_its_own() -> None:
    reasons = [
        ReasonCode.TOO_SHORT, ReasonCode.TOO_LONG, ReasonCode.TOO_NOISY, ReasonCode.TOO_QUIET,
        ReasonCode.CLIPPED, ReasonCode.WRONG_PHRASE, ReasonCode.UNKNOWN_SPEAKER,
        ReasonCode.REPEATED,
    ]  # fmt: skip
    said = [prompts.refused(reason.value) for reason in reasons]
    said += [prompts.refused("cut_off"), prompts.refused("other_length")]
    said += [prompts.refused(prompts.LOST)]
    assert len(set(said)) == len(said)
    for text in said:
        assert "once more" in text
        assert len(text) <= 70, "too long for a small display"
    assert prompts.refused("something new") == "once more, please"
    assert prompts.refused("wrong_phrase", first=True) == "choose another phrase"
    assert "the named person" in prompts.refused("unknown_speaker", first=True)


@pytest.mark.parametrize(
    ("seconds", "done", "text"),
    [
        (0.6, 1, "1 of 3: half a second, was that all? again"),
        (0.76, 1, "1 of 3: one second, was that all? again"),
        (0.99, 2, "2 of 3: one second, was that all? once more, in haste"),
        (1.0, 1, "1 of 3: again"),
    ],
)
def test_of_a_short_one_it_is_asked_whether_it_was_all(
    seconds: float, done: int, text: str
) -> None:
    samples = tuple(replace(make_sample(n), net_speech_s=seconds) for n in range(done))
    assert prompts.accepted(replace(Profile.begin("Ada"), samples=samples)) == text
    assert len(text) <= 70


def test_how_far_it_is() -> None:
    ada = Profile.begin("Ada", required=4)
    assert prompts.started(ada) == "say your passphrase 4 times and pause after each"
    for done, text in (
        (1, "1 of 4: again"),
        (2, "2 of 4: again"),
        (3, "3 of 4: once more, in haste: so you get in on busy days too"),
    ):
        part = replace(ada, samples=tuple(make_sample(n) for n in range(done)))
        assert prompts.accepted(part) == text
    assert prompts.started(part) == "3 of 4: continue with the same passphrase"
    assert prompts.complete(ada) == "Ada is enrolled"
    assert prompts.ended("canceled", ada) == "canceled"
    assert prompts.ended("other_model", ada) == "started with another model: reset first"

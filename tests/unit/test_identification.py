"""Identification in the service: when it is done, and that the door never suffers from it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from edge.config import Config, IdentificationConfig
from edge.recognition.turns import Turn
from edge.service import identification
from edge.service.identification import IdentificationSwitch, LiveIdentification, People
from edge.store.device_state import DeviceState
from edge.types import AudioBlock, Confidence, Profile, SpeakerMatch

HEARD = [0.3, 0.7]
ADA, BEA = (Profile.begin(name, required=0) for name in ("Ada", "Bea"))


class Finder:
    """Finds what it is told to, in the next block."""

    made: ClassVar[list[Finder]] = []
    next: ClassVar[list[Turn] | Exception] = []

    def __init__(
        self, _engine: Any, profiles: Sequence[Profile], silence_s: float, *, detector: Any
    ) -> None:
        assert silence_s == Config().audio.end_silence_s
        assert detector.feed(np.zeros(512)) == HEARD, "what the door has found"
        self.names = [profile.name for profile in profiles]
        self.blocks = 0
        self.open: Turn | None = None
        Finder.made.append(self)

    def feed(self, _block: AudioBlock) -> list[Turn]:
        self.blocks += 1
        found, Finder.next = Finder.next, []
        if isinstance(found, Exception):
            raise found
        for turn in found:
            self.open = None if turn.over else turn
        return found

    def finish(self) -> list[Turn]:
        return [replace(self.open, over=True)] if self.open else []


class Room:
    """A microphone at which people are identified."""

    def __init__(self, folder: Path, *, enabled: bool = True) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.status: list[dict[str, Any]] = []
        self.locked = False
        self.at = 0.0
        config = replace(Config(), identification=IdentificationConfig(enabled=enabled))
        publisher: Any = SimpleNamespace(
            connected=True,
            publish=self._publish,
            set_status=lambda **fields: self.status.append(fields),
        )
        self.publisher = publisher
        self.cache: Any = SimpleNamespace(profiles=[ADA], revision=1)
        context: Any = SimpleNamespace(
            config=config,
            engine=SimpleNamespace(fits=lambda _: True),
            profiles=self.cache,
            publisher=publisher,
        )
        self.context = context
        state: Any = SimpleNamespace(**{name: self._kept(folder, name) for name in ("get", "put")})
        self.switch = IdentificationSwitch(config.identification, publisher, state)
        door: Any = SimpleNamespace(found=HEARD)
        self.subject = LiveIdentification(context, self.switch, lambda: self.locked, detector=door)

    @staticmethod
    def _kept(folder: Path, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            with contextlib.closing(DeviceState(folder)) as state:
                return getattr(state, name)(*arguments)

        return call

    def _publish(self, suffix: str, text: str, **options: Any) -> None:
        assert options == {"lifetime_s": 2.0, "expendable": True, "unconfirmed": True}
        self.sent.append((suffix, json.loads(text)))

    def hear(self, *turns: Turn) -> list[str | None]:
        """Have turns found in a block; what is told, by state or name, or `utterance`."""
        Finder.next = list(turns) or Finder.next
        before = len(self.sent)
        self.subject.feed(AudioBlock(np.zeros(512, np.float32), self.at, time.monotonic()))
        self.at += 0.032
        return self.told(before)

    def told(self, since: int = 0) -> list[str | None]:
        return [
            content.get("name", content["state"]) if suffix == "speaker" else suffix
            for suffix, content in self.sent[since:]
        ]


def turn(profile: Profile = ADA, *, over: bool = False) -> Turn:
    who = SpeakerMatch(profile.id, profile.name, 0.8, 20.0, 8.0)
    return Turn(1, 0.0, 1.0, who, Confidence.HIGH, over)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setattr(identification, "TurnFinder", Finder)
    Finder.made, Finder.next = [], []
    made = Room(tmp_path)
    assert made.hear() == ["silent"], "which is told at first"
    return made


def test_what_is_found_is_told(room: Room) -> None:
    assert room.hear(turn()) == ["Ada"]
    assert room.hear() == []
    assert room.hear(turn(over=True)) == ["silent", "utterance"]
    now = time.time()
    _, summary = room.sent[-1]
    started = summary["started_at"]
    assert time.strftime("%Y-%m-%d", time.gmtime(now)) == started[:10]
    assert Finder.made[0].blocks == 4


@pytest.mark.parametrize("why", ["switched off", "paused", "locked out"])
def test_what_is_open_ends_where_it_stops(room: Room, why: str) -> None:
    room.hear(turn())
    before = len(room.sent)
    if why == "switched off":
        room.switch.set(on=False)
    elif why == "locked out":
        room.locked = True
    else:
        room.subject.pause()
        room.subject.pause()
    told = room.told(before) or room.hear()
    assert told == ["silent", "utterance"]
    count = len(Finder.made)
    if why != "paused":
        assert room.hear(turn()) == []
        Finder.next = []
    room.locked = False
    room.switch.set(on=True)
    assert room.hear(turn()) == ["Ada"]
    assert len(Finder.made) == count + 1, "nothing of before is in what comes"


def test_nothing_is_done_where_it_is_not_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identification, "TurnFinder", Finder)
    Finder.made = []
    room = Room(tmp_path, enabled=False)
    room.switch.set(on=True)
    assert not room.switch.on
    assert room.hear(turn()) == []
    assert Finder.made == []


def test_nobody_is_looked_for_where_nobody_is_enrolled(room: Room) -> None:
    room.cache.profiles = []
    count = len(Finder.made)
    assert room.hear(turn()) == []
    room.cache.profiles = [replace(BEA, duress_of=ADA.id)]
    assert room.hear(turn()) == []
    assert len(Finder.made) == count


def test_who_is_enrolled_or_deleted_counts_at_once(room: Room) -> None:
    room.hear(turn())
    room.cache.profiles = [BEA]
    assert room.hear() == ["silent", "utterance"]
    assert [finder.names for finder in Finder.made] == [["Ada"], ["Bea"]]


def test_what_is_learned_of_the_same_people_waits_for_silence(room: Room) -> None:
    room.hear(turn())
    room.cache.profiles = [ADA]
    assert room.hear() == []
    assert len(Finder.made) == 1
    assert room.hear(turn(over=True)) == ["silent", "utterance"]
    room.hear()
    assert len(Finder.made) == 2


def test_a_fault_is_told_in_the_log_once_and_ends_nothing(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    room.hear(turn())
    Finder.next = RuntimeError("no such tensor")
    assert room.hear() == []
    assert room.hear() == []
    assert [record.getMessage() for record in caplog.records] == [
        "speakers are no longer identified: no such tensor"
    ]
    room.cache.profiles = [ADA, BEA]
    assert room.hear(turn()) == ["Ada"]


def test_silence_is_told_again_after_a_time_without_a_broker(room: Room) -> None:
    room.publisher.connected = False
    assert room.hear() == []
    room.publisher.connected = True
    assert room.hear() == ["silent"]
    room.hear(turn())
    room.publisher.connected = False
    room.hear()
    room.publisher.connected = True
    assert room.hear() == [], "somebody speaks"


def test_the_switch_is_kept_over_a_restart(tmp_path: Path) -> None:
    room = Room(tmp_path)
    assert room.status == [{"identifying": True}]
    room.switch.set(on=False)
    assert room.status[-1] == {"identifying": False}
    again = Room(tmp_path)
    assert again.status == [{"identifying": False}]
    again.switch.set(on=True)
    assert Room(tmp_path).switch.on
    assert Room(tmp_path, enabled=False).status == []


def test_a_state_that_cannot_be_used_does_not_stop_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "device.sqlite").write_bytes(b"no database at all" * 100)
    room = Room(tmp_path)
    room.switch.set(on=False)
    assert not room.switch.on
    assert "cannot be read" in caplog.text
    assert "is not stored" in caplog.text


def test_who_has_an_entity(tmp_path: Path) -> None:
    room = Room(tmp_path)
    people = People(room.context)
    room.cache.profiles = [ADA, replace(BEA, duress_of=ADA.id), replace(BEA, required=3)]
    assert people.listed() == [(ADA.id, "Ada")]
    room.cache.revision = -1  # the store cannot be read
    assert people.listed() is None

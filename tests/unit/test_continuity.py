"""State files that were removed, or that an older copy has replaced."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.errors import StoreError
from edge.service.state_files import StateFiles
from edge.store import ProfileStore, open_store
from edge.store.continuity import Continuity
from edge.store.device_state import DeviceState
from edge.types import Event, EventKind, ProfileKind
from tests.unit.trails import event, open_trail, record, write

STORE, STATE = "signatures.sqlite", "device.sqlite"


@contextmanager
def files(folder: Path) -> Iterator[tuple[ProfileStore, DeviceState]]:
    with open_store(folder, busy_s=0.0) as store, closing(DeviceState(folder, 0.0)) as state:
        yield store, state


def start(folder: Path) -> list[str]:
    """What is found at a start."""
    with files(folder) as (store, state):
        return Continuity(store, state).begin()


def enroll(folder: Path, name: str) -> None:
    with open_store(folder) as store:
        store.create(name, ProfileKind.PHRASE, required=3)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A state folder after two starts, and a copy of it from before the second in `old`."""
    folder = tmp_path / "state"
    assert start(folder) == []
    enroll(folder, "Ada")
    assert start(folder) == []
    shutil.copytree(folder, tmp_path / "old")
    enroll(folder, "Robin")
    for _ in range(2):
        assert start(folder) == []
    return folder


def removed(file: Path, _: Path) -> None:
    file.unlink()


def rolled_back(file: Path, old: Path) -> None:
    shutil.copy(old / file.name, file)


@pytest.mark.parametrize("name", [STORE, STATE])
@pytest.mark.parametrize("harm", [removed, rolled_back])
def test_a_file_that_is_older_than_the_other_is_noticed_once(
    house: Path, name: str, harm: Callable[[Path, Path], None]
) -> None:
    harm(house / name, house.parent / "old")
    assert start(house) == [name]
    assert start(house) == []
    harm(house / name, house.parent / "old")
    assert start(house) == [name]


def test_a_whole_backup_is_consistent(house: Path) -> None:
    shutil.rmtree(house)
    shutil.copytree(house.parent / "old", house)
    assert start(house) == []


def test_signatures_of_the_same_start_are_told_apart_by_their_changes(house: Path) -> None:
    """So somebody who was deleted today does not come back unseen."""
    with files(house) as (store, state):
        continuity = Continuity(store, state)
        assert continuity.begin() == []
        shutil.copy(house / STORE, house.parent / "copy")
        store.delete("Ada")
        assert continuity.follow(-1) == []  # it cannot be read
        assert continuity.follow(store.data_version()[1]) == []
        shutil.copy(house.parent / "copy", house / "new")
        (house / "new").replace(house / STORE)
        version = store.data_version()[1]
        assert continuity.follow(version) == [STORE]
        assert continuity.follow(version) == []
    assert start(house) == []


def test_a_power_cut_between_the_two_files_is_no_finding(
    house: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def cut(*_: object) -> None:
        raise StoreError("the power is gone")

    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(DeviceState, "put", cut)
            assert start(house) == []
    assert caplog.messages == 3 * ["this start is not numbered: the power is gone"]
    assert start(house) == []


def test_a_disk_that_is_full_for_a_while_is_no_finding(
    house: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> int:
        raise StoreError("the disk is full")

    caplog.set_level(logging.CRITICAL)
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(ProfileStore, "keep", full)
            assert start(house) == []
    assert start(house) == []


@pytest.mark.parametrize("text", ["x", "-5", "9" * 16, "٣"])
def test_a_damaged_number_counts_as_none(house: Path, text: str) -> None:
    with closing(DeviceState(house)) as state:
        state.put("starts", text)
    assert start(house) == [STATE]


# --- what the service says of it ---


class _Trail:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.older: set[str] = set()
        self.events: list[Event] = []

    def record(self, event: Event) -> None:
        self.events.append(event)


def test_the_service_says_and_records_what_is_older(house: Path) -> None:
    (house / STATE).unlink()
    trail: Any = _Trail()
    with files(house) as (store, state):
        watch = StateFiles(Continuity(store, state), state, trail)
        assert watch.problem is None
        watch.begin()
        watch.tick(store.data_version()[1])
        expected = "device.sqlite was removed, or an older copy put in its place"
        assert watch.problem == f"{expected}: see edge-voice audit show"
        assert [(event.kind, event.detail) for event in trail.events] == [
            (EventKind.ROLLBACK, {"file": STATE})
        ]
        trail.older.add("audit.sqlite")
        state.problem = "the disk is full"
        assert watch.problem is not None
        assert watch.problem.startswith("audit.sqlite was removed")
        assert watch.problem.endswith("; the disk is full")
        watch.tick(store.data_version()[1])
        assert state.problem is None


@pytest.mark.parametrize("name", ["audit.sqlite", STATE])
def test_the_trail_names_the_file_that_is_older(tmp_path: Path, name: str) -> None:
    write(tmp_path, 1, 2)
    (tmp_path / name).unlink()
    with open_trail(tmp_path) as trail:
        assert trail.older == set()
        record(trail, event(3))
        assert trail.older == {name}
    with open_trail(tmp_path) as trail:
        record(trail, event(4))
        assert trail.older == set()

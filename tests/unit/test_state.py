"""Counters and texts that the device keeps over a restart."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.errors import StoreError
from edge.store.device_state import DeviceState
from tests.unit.stores import is_open
from tests.unit.waiting import ContendedLock


def test_numbers_are_given_out_once_also_after_a_restart(tmp_path: Path) -> None:
    state = DeviceState(tmp_path)
    assert [state.reserve("a", 10), state.reserve("a"), state.reserve("b")] == [1, 11, 1]
    state.close()
    again = DeviceState(tmp_path)
    assert again.reserve("a") == 12


def test_numbers_begin_where_they_are_asked_to(tmp_path: Path) -> None:
    state = DeviceState(tmp_path)
    assert [state.reserve("a", 2, 100), state.reserve("a", 2, 50), state.last("a")] == [
        100,
        102,
        103,
    ]
    assert state.last("b") == 0


def test_what_could_not_be_written_is_said_until_it_can_be(tmp_path: Path) -> None:
    state = DeviceState(tmp_path, busy_s=0.0)
    state.try_again()
    assert state.problem is None
    with closing(sqlite3.connect(state.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError):
            state.put("a", "text")
        state.try_again()
        assert state.problem is not None
        assert "in use by another process" in state.problem
        assert state.get("a") is None
        assert state.problem is not None, "reading is not writing"
    state.try_again()
    assert state.problem is None


def test_a_text_is_replaced_and_removed(tmp_path: Path) -> None:
    state, other = DeviceState(tmp_path), DeviceState(tmp_path)
    state.put("lock", "one")
    state.put("lock", "two")
    assert other.get("lock") == "two"
    state.put("lock", None)
    assert other.get("lock") is None
    for each in (state, other):
        assert is_open(state.path)
        each.close()
    assert not is_open(state.path)


def test_it_is_private(tmp_path: Path) -> None:
    state = DeviceState(tmp_path / "state")
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.path.parent.stat().st_mode) == 0o700
    state.path.chmod(0o644)
    DeviceState(tmp_path / "state")
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"x"])
def test_damage_is_said_and_nothing_is_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "device.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"device\.sqlite"):
        DeviceState(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("value", ["'text'", "-1", "1.5", "x'00'"])
def test_an_impossible_counter_is_damage(tmp_path: Path, value: str) -> None:
    state = DeviceState(tmp_path)
    state.put("a", "text")
    with closing(sqlite3.connect(state.path)) as database, database:
        database.execute(f"UPDATE entry SET value = {value}")  # noqa: S608
    with pytest.raises(StoreError, match=r"memory of counters .* is damaged \(a\)"):
        state.reserve("a")
    with pytest.raises(StoreError, match=r"is damaged \(a\)"):
        state.last("a")
    if value != "'text'":
        with pytest.raises(StoreError, match=r"is damaged \(a\)"):
            state.get("a")


def test_a_counter_may_have_been_set_to_none(tmp_path: Path) -> None:
    state = DeviceState(tmp_path)
    state.reserve("a")
    with closing(sqlite3.connect(state.path)) as database, database:
        database.execute("UPDATE entry SET value = 0")
    assert state.reserve("a", 2) == 1
    assert state.reserve("a") == 3


def test_impossible_amounts_and_texts_are_refused(tmp_path: Path) -> None:
    state = DeviceState(tmp_path)
    for count in (0, -1):
        with pytest.raises(ValueError, match=f"cannot take {count} numbers"):
            state.reserve("a", count)
    state.put("b", "x" * 65536)
    with pytest.raises(ValueError, match="b: longer than 65536 characters"):
        state.put("b", "x" * 65537)
    assert state.get("b") == "x" * 65536
    assert state.reserve("a") == 1


ACTIONS = [
    lambda state: state.reserve("a"),
    lambda state: state.last("a"),
    lambda state: state.get("b"),
    lambda state: state.put("b", "text"),
    DeviceState.close,
]


@pytest.mark.parametrize("action", ACTIONS)
def test_threads_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: Callable[[DeviceState], object]
) -> None:
    lock = ContendedLock()
    made = SimpleNamespace(Lock=lambda: lock)
    monkeypatch.setattr("edge.store.device_state.threading", made)
    state = DeviceState(tmp_path)
    assert lock.holds_up(lambda: action(state))
    state.close()


@pytest.mark.parametrize("action", ACTIONS[:4])
def test_another_process_that_writes_is_waited_for_only_so_long(
    tmp_path: Path, action: Callable[[DeviceState], object]
) -> None:
    state = DeviceState(tmp_path, busy_s=0.0)
    with closing(sqlite3.connect(state.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="in use by another process for too long"):
            action(state)


def test_a_change_is_one_step_for_every_process(tmp_path: Path) -> None:
    """What another process counts meanwhile is not taken back."""
    with closing(DeviceState(tmp_path)) as state, closing(DeviceState(tmp_path, 0.05)) as other:
        state.put("count", "1")

        def counted(text: str | None) -> str:
            with pytest.raises(StoreError):
                other.change("count", lambda text: f"{text}!")
            return f"{text}+1"

        state.change("count", counted)
        assert (state.get("count"), other.get("count")) == ("1+1", "1+1")
        other.change("count", lambda text: f"{text}!")
        other.change("new", lambda text: f"{text}!")
        assert (state.get("count"), state.get("new")) == ("1+1!", "None!")

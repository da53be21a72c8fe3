"""Counters and texts that the device keeps over a restart."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from edge.errors import StoreError
from edge.store.device_state import DeviceState


def test_numbers_are_given_out_once_also_after_a_restart(tmp_path: Path) -> None:
    state = DeviceState(tmp_path)
    assert [state.reserve("a", 10), state.reserve("a"), state.reserve("b")] == [1, 11, 1]
    state.close()
    again = DeviceState(tmp_path)
    assert again.reserve("a") == 12


def test_a_text_is_replaced_and_removed(tmp_path: Path) -> None:
    state, other = DeviceState(tmp_path), DeviceState(tmp_path)
    state.put("lock", "one")
    state.put("lock", "two")
    assert other.get("lock") == "two"
    state.put("lock", None)
    assert other.get("lock") is None


def test_it_is_private(tmp_path: Path) -> None:
    state = DeviceState(tmp_path / "state")
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"x"])
def test_damage_is_said_and_nothing_is_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "device.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"device\.sqlite"):
        DeviceState(tmp_path)
    assert path.read_bytes() == content


def test_an_impossible_counter_is_damage(tmp_path: Path) -> None:
    state = DeviceState(tmp_path)
    state.put("a", "text")
    with pytest.raises(StoreError, match=r"memory of counters .* is damaged"):
        state.reserve("a")

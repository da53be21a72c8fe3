"""The lock-out: when it begins, how long it lasts, what it survives, and what it tells."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.access.lockout import (
    LIFT_KEY,
    STATE_KEY,
    LockOut,
    LockOutCount,
    LockOutGate,
    LockOutRecord,
    duration_s,
    read_record,
    write_record,
)
from edge.config import LockOutConfig
from edge.errors import StoreError
from edge.store.device_state import DeviceState
from edge.types import Confidence, Event, EventKind, ReasonCode
from tests.unit.judgments import judgment_of

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIG = LockOutConfig(rejections=3, within_s=100, first_s=60, growth=2, longest_s=200)
WRONG = ReasonCode.UNKNOWN_SPEAKER


class Door:
    """A lock-out with a clock that the test moves, and what it told."""

    def __init__(self, state: DeviceState, config: LockOutConfig = CONFIG) -> None:
        self.state = state
        self.config = config
        self.now = 1000.0
        self.boot = "first"
        self.events: list[Event] = []
        self.published: list[dict[str, Any]] = []
        self.restart()

    def restart(self, *, power_cut: bool = False) -> None:
        """Begin anew with what was written down; after a power cut the clock begins anew too."""
        if power_cut:
            self.now, self.boot = 5.0, self.boot + " again"
        self.lockout = LockOut(
            self.config,
            self.state,
            record=self.events.append,
            changed=self.published.append,
            clock=lambda: self.now,
            boot=self.boot,
        )

    def reject(self, count: int = 1, reason: ReasonCode = WRONG) -> None:
        for _ in range(count):
            self.lockout.rejected(reason)

    def wait(self, seconds: float, step: float = 1.0) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + step)
            self.lockout.tick()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[DeviceState]:
    state = DeviceState(tmp_path)
    yield state
    state.close()


@pytest.fixture
def door(state: DeviceState) -> Door:
    return Door(state)


# --- when it begins and ends ---


def test_so_many_rejections_lock_and_time_opens_again(door: Door) -> None:
    door.reject(2)
    assert not door.lockout.locked
    door.reject()
    assert (door.lockout.locked, door.lockout.left_s) == (True, 60.0)
    door.wait(59.5)
    assert door.lockout.locked
    door.wait(1.0)
    assert not door.lockout.locked
    assert [event.kind for event in door.events] == [EventKind.LOCK_OUT, EventKind.LOCK_OUT_OVER]
    by = "3 rejections, the last one unknown_speaker"
    assert door.events[0].detail == {"round": 1, "seconds": 60.0, "by": by}
    assert door.events[1].detail == {"by": "time", "round": 1}
    assert [each["locked_out"] for each in door.published] == [True, False]
    assert door.published[0]["locked_out_until"].endswith("Z")
    assert door.published[1] == {
        "locked_out": False, "locked_out_until": None, "lock_out_round": 1,
    }  # fmt: skip


def test_rejections_that_lie_apart_do_not_lock(door: Door) -> None:
    for _ in range(20):
        door.reject()
        door.wait(50.0, 10.0)
        assert not door.lockout.locked


def test_each_one_is_longer_up_to_the_longest(door: Door) -> None:
    lengths = []
    for _ in range(4):
        door.reject(3)
        lengths.append(door.lockout.left_s)
        door.wait(lengths[-1] + 1.0, 10.0)
    assert lengths == [60.0, 120.0, 200.0, 200.0]
    assert duration_s(CONFIG, 1_000_000) == 200.0
    door.wait(CONFIG.forget_s, 5000.0)
    door.reject(3)
    assert (door.lockout.left_s, door.lockout.round) == (60.0, 1)


def test_what_is_said_meanwhile_neither_counts_nor_prolongs(door: Door) -> None:
    door.reject(3)
    for _ in range(59):
        door.wait(1.0)
        door.reject()
    assert door.lockout.left_s == 1.0
    door.wait(2.0)
    door.reject(2)
    assert not door.lockout.locked


def test_being_let_in_forgives_slips_but_not_rounds(door: Door) -> None:
    door.reject(2)
    door.lockout.accepted()
    door.reject(2)
    assert not door.lockout.locked
    door.reject()
    door.wait(61.0)
    door.lockout.accepted()
    door.reject(3)
    assert (door.lockout.round, door.lockout.left_s) == (2, 120.0)


@pytest.mark.parametrize(
    ("settings", "counted"),
    [
        ({"count_wrong_phrase": True},
         "wrong_phrase unknown_speaker replay_suspected challenge_failed"),
        ({}, "unknown_speaker replay_suspected challenge_failed"),
        ({"count_no_match": True, "count_wrong_phrase": False},
         "unknown_speaker replay_suspected challenge_failed no_match"),
        ({"count_unknown_speaker": False, "count_wrong_phrase": False},
         "replay_suspected challenge_failed"),
        ({"enabled": False}, ""),
    ],
)  # fmt: skip
def test_which_reasons_count(state: DeviceState, settings: dict[str, bool], counted: str) -> None:
    found = set()
    for reason in ReasonCode:
        state.put(STATE_KEY, None)
        door = Door(state, replace(CONFIG, **settings))
        door.reject(3, reason)
        if door.lockout.locked:
            found.add(reason.value)
    assert found == set(counted.split())


def test_switched_off_it_ends(door: Door) -> None:
    door.reject(3)
    door.config = replace(CONFIG, enabled=False)
    door.restart()
    assert not door.lockout.locked


# --- as checks ---


def test_the_gate_shuts_everything_out_and_tells_nothing(door: Door) -> None:
    gate, count = LockOutGate(door.lockout), LockOutCount(door.lockout)
    wrong, right = judgment_of(WRONG), judgment_of(ReasonCode.ACCEPTED)
    for _ in range(3):
        assert gate.review(wrong) is wrong
        assert count.review(wrong) is wrong
    for judgment in (right, wrong, judgment_of(ReasonCode.TOO_QUIET)):
        shut = gate.review(judgment)
        decision = shut.decision
        assert not decision.granted
        assert decision.reason is ReasonCode.LOCKED_OUT
        assert (decision.profile_id, decision.name, decision.phrase) == (None, None, None)
        assert (decision.scores, decision.confidence) == ({}, Confidence.HIGH)
        assert shut.candidate is judgment.candidate  # the check for replays has to see it
        assert count.review(shut) is shut
    door.wait(61.0)
    assert gate.review(right) is right


def test_a_person_who_is_let_in_is_counted_as_such(door: Door) -> None:
    count = LockOutCount(door.lockout)
    for reason in (WRONG, WRONG, ReasonCode.ACCEPTED, WRONG, WRONG, ReasonCode.NOT_NOW):
        count.review(judgment_of(reason))
    assert not door.lockout.locked
    count.review(judgment_of(WRONG))
    assert door.lockout.locked


# --- by command ---


def test_it_can_be_begun(door: Door) -> None:
    assert door.lockout.begin("Ada")
    assert (door.lockout.left_s, door.events[-1].detail["by"]) == (60.0, "Ada")
    assert door.published[-1]["locked_out"] is True
    door.restart(power_cut=True)
    assert door.lockout.locked
    door.config = replace(CONFIG, enabled=False)
    door.restart()
    assert not door.lockout.begin("Ada")
    assert len(door.events) == 1


# --- being lifted ---


def test_lifting_ends_it_and_begins_anew(door: Door) -> None:
    assert not door.lockout.lift("nobody")
    door.reject(3)
    assert door.lockout.lift("Ada")
    assert not door.lockout.locked
    assert door.events[-1].detail["by"] == "Ada"
    assert door.published[-1]["locked_out"] is False
    door.reject(3)
    assert (door.lockout.round, door.lockout.left_s) == (1, 60.0)


def test_another_process_lifts_it(door: Door, tmp_path: Path) -> None:
    door.reject(3)
    other = DeviceState(tmp_path)
    other.put(LIFT_KEY, "x" * 500)
    other.close()
    door.wait(1.0)
    assert not door.lockout.locked
    assert door.events[-1].detail["by"] == "x" * 64
    assert door.state.get(LIFT_KEY) is None
    door.reject(3)
    door.wait(2.0)
    assert door.lockout.locked, "lifted twice by one wish"


# --- restarts and power cuts ---


def test_a_restart_of_the_service_lets_the_time_go_on(door: Door) -> None:
    door.reject(3)
    door.now += 20.0
    door.restart()
    assert door.lockout.left_s == 40.0
    door.now += 41.0
    door.restart()
    assert not door.lockout.locked
    assert door.lockout.round == 1


def test_a_power_cut_does_not_shorten_it(door: Door) -> None:
    door.reject(3)
    door.wait(30.0)
    door.restart(power_cut=True)
    assert door.lockout.left_s == 60.0  # as it was last written down
    door.wait(61.0)
    assert not door.lockout.locked
    door.reject(3)
    door.wait(90.0)  # written down every minute
    door.restart(power_cut=True)
    assert 30.0 <= door.lockout.left_s <= 60.0 + 1.0


def test_cutting_the_power_over_and_over_does_not_prolong_it_for_ever(door: Door) -> None:
    door.reject(3)
    for _ in range(3):
        door.wait(61.0)
        door.restart(power_cut=True)
    assert not door.lockout.locked


def test_rejections_survive_a_power_cut_as_recent_as_they_were(door: Door) -> None:
    door.reject(2)
    door.wait(50.0)
    door.restart(power_cut=True)
    door.reject()
    assert door.lockout.locked


def test_rounds_survive(door: Door) -> None:
    door.reject(3)
    door.wait(61.0)
    door.restart(power_cut=True)
    door.reject(3)
    assert door.lockout.left_s == 120.0


def test_without_a_boot_id_nothing_is_taken_off(door: Door) -> None:
    door.boot = ""
    door.restart()
    door.reject(3)
    door.now += 50.0
    door.restart()
    assert door.lockout.left_s == 60.0


def test_a_shorter_longest_holds_at_once(door: Door) -> None:
    door.reject(3)
    door.config = replace(CONFIG, first_s=5, longest_s=10)
    door.restart()
    assert door.lockout.left_s == 10.0


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "x", "[" * 9999, '{"boot":1}'])
def test_damage_begins_with_a_lock_out(door: Door, text: str) -> None:
    door.state.put(STATE_KEY, text)
    door.restart()
    assert door.lockout.left_s == 60.0


records = st.builds(
    LockOutRecord,
    st.integers(0, 1_000_000),
    st.floats(0, 1e7),
    st.lists(st.floats(0, 1e7), max_size=100).map(tuple),
    st.floats(0, 1e7),
)


@given(records, st.floats(-1e9, 1e9), st.floats(0, 1e6))
def test_a_record_comes_back(record: LockOutRecord, clock_s: float, later_s: float) -> None:
    text = write_record(record, clock_s, "a boot")
    assert read_record(text, clock_s + later_s, "another") == record
    assert read_record(text, clock_s - 1.0, "a boot") == record
    found = read_record(text, clock_s, "a boot")
    assert found == record
    assert found.later(later_s).left_s <= record.left_s


@given(st.text(max_size=80) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda each: st.lists(each) | st.dictionaries(
        st.sampled_from(["boot", "clock_s", "round", "left_s", "ages_s", "quiet_s"]), each),
).map(json.dumps))  # fmt: skip
def test_any_text_is_a_record_or_a_value_error(text: str) -> None:
    try:
        record = read_record(text, 0.0, "")
    except ValueError:
        return
    assert 0.0 <= record.left_s < 1e9


class _FullDisk(DeviceState):
    def __init__(self) -> None:
        self.tried = 0

    def get(self, name: str) -> str | None:
        return None

    def put(self, name: str, text: str | None) -> None:
        self.tried += 1
        raise StoreError("no space is left")


def test_on_a_full_disk_it_holds_for_as_long_as_it_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = _FullDisk()
    lockout = LockOut(CONFIG, disk, record=lambda _: None, changed=lambda _: None)
    for _ in range(3):
        lockout.rejected(WRONG)
    lockout.tick()
    assert lockout.locked
    assert disk.tried >= 3
    assert sum("the lock-out cannot be stored" in record.message for record in caplog.records) == 1


KILLED = """
import sys, time
from pathlib import Path
from edge.access.lockout import LockOut
from edge.config import LockOutConfig
from edge.store.device_state import DeviceState
from edge.types import ReasonCode

config = LockOutConfig(rejections=3, within_s=3600, first_s=1000, longest_s=1000)
door = LockOut(config, DeviceState(Path(sys.argv[1])),
               record=lambda event: None, changed=lambda state: None)
for number in range(int(sys.argv[2])):
    door.rejected(ReasonCode.UNKNOWN_SPEAKER)
print("said", flush=True)
time.sleep(60)
"""


def test_it_survives_being_killed(tmp_path: Path) -> None:
    """One rejection a run, each run killed as soon as it has counted: the third one locks."""
    for number in (1, 2, 3):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), "1"],
            stdout=subprocess.PIPE,
            cwd=REPOSITORY,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"said\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        state = DeviceState(tmp_path)
        lockout = LockOut(
            LockOutConfig(rejections=3, within_s=3600, first_s=1000, longest_s=1000),
            state,
            record=lambda _: None,
            changed=lambda _: None,
        )
        state.close()
        assert lockout.locked is (number == 3)
    assert 900.0 < lockout.left_s < 1000.0

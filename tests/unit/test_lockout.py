"""The lock-out: when it begins, how long it lasts, what it survives, and what it tells."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.access import lockout as lockout_module
from edge.access.decider import Judgment
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
from edge.store.device_state import DeviceState
from edge.types import Confidence, Event, EventKind, ReasonCode
from edge.uptime import boot_id
from tests.unit.interleaving import Action, interleaved
from tests.unit.judgments import judgment_of
from tests.unit.stores import Memory

CONFIG = LockOutConfig(rejections=3, within_s=100, first_s=60, growth=2, longest_s=200)
WRONG = ReasonCode.UNKNOWN_SPEAKER
ADA, BOB = np.eye(2, dtype=np.float32)


class Door:
    """A lock-out with a clock that the test moves, and what it told."""

    def __init__(self, config: LockOutConfig = CONFIG) -> None:
        self.state = Memory()
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

    def reject(self, count: int = 1, reason: ReasonCode = WRONG, voice: Any = ADA) -> None:
        for _ in range(count):
            self.lockout.rejected(reason, voice)

    def wait(self, seconds: float, step: float = 1.0) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + step)
            self.lockout.tick()

    @property
    def kinds(self) -> list[str]:
        return [event.kind.value for event in self.events]


@pytest.fixture
def door() -> Door:
    return Door()


# --- when it begins and ends ---


def test_so_many_rejections_lock_and_time_opens_again(
    door: Door, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)
    door.reject(2)
    assert not door.lockout.locked
    door.reject()
    assert (door.lockout.locked, door.lockout.left_s) == (True, 60.0)
    door.wait(59.9, 0.1)
    assert (door.lockout.locked, len(door.published)) == (True, 1)
    assert door.lockout.as_dict() == {
        "locked_out": True, "locked_out_until": "2023-11-14T22:13:20.000Z", "lock_out_round": 1,
    }  # fmt: skip
    door.wait(0.1)
    assert (door.lockout.locked, len(door.published)) == (False, 2)
    door.wait(2.0)
    by = "3 rejections, the last one unknown_speaker"
    assert [(event.kind, event.detail) for event in door.events] == [
        (EventKind.LOCK_OUT, {"round": 1, "lasts_s": 60.0, "by": by}),
        (EventKind.LOCK_OUT_OVER, {"by": "time", "round": 1}),
    ]
    assert door.published == [
        {"locked_out": True, "locked_out_until": "2023-11-14T22:14:20.000Z", "lock_out_round": 1},
        {"locked_out": False, "locked_out_until": None, "lock_out_round": 1},
    ]
    assert caplog.messages == [f"locked out for 60 s: {by} (round 1)", "lock-out expired"]


@pytest.mark.parametrize(("gap_s", "locked"), [(99.9, True), (100.0, False), (250.0, False)])
def test_only_rejections_within_the_time_count(door: Door, gap_s: float, locked: bool) -> None:
    door.reject()
    door.now += gap_s
    door.reject(2)
    assert door.lockout.locked is locked
    door.reject()
    assert door.lockout.locked


def test_each_one_is_longer_up_to_the_longest(door: Door) -> None:
    lengths = []
    for _ in range(4):
        door.reject(3)
        lengths.append(door.lockout.left_s)
        door.wait(lengths[-1])
    assert lengths == [60.0, 120.0, 200.0, 200.0]


@pytest.mark.parametrize(
    ("growth", "number", "expected"),
    [(1.5, 3, 135.0), (1.01, 65, 113.4277), (1.01, 66, 113.4277), (9.9, 1_000_000, 5000.0)],
)
def test_how_long_a_round_lasts(growth: float, number: int, expected: float) -> None:
    config = LockOutConfig(first_s=60, growth=growth, longest_s=5000)
    assert duration_s(config, number) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("meanwhile", ["nothing", "a restart", "a slip"])
@pytest.mark.parametrize(("quiet_s", "length_s"), [(149.9, 200.0), (150.0, 100.0)])
def test_a_round_is_forgotten_once_it_was_quiet_for_long_enough(
    meanwhile: str, quiet_s: float, length_s: float
) -> None:
    """The time of the lock-out is not quiet, and a rejection ends it; being let in does not."""
    door = Door(LockOutConfig(rejections=3, first_s=100, longest_s=1000, forget_s=150))
    door.reject(3)
    door.now += 40.0
    if meanwhile == "a restart":
        door.restart()
    door.now += 60.0
    if meanwhile == "a slip":
        door.now += 140.0
        door.reject()
        door.now += 10.0
        door.lockout.granted(ADA)
        quiet_s -= 10.0
    door.now += quiet_s
    assert door.lockout.round == (1 if length_s == 200.0 else 0)
    door.reject(3)
    assert door.lockout.left_s == length_s


def test_what_is_said_meanwhile_neither_counts_nor_prolongs(door: Door) -> None:
    door.reject(3)
    for _ in range(599):
        door.wait(0.1)
        door.reject()
    assert door.lockout.left_s == pytest.approx(0.1)
    door.wait(1.0)
    door.reject(2)
    assert not door.lockout.locked


def test_being_let_in_forgives_slips_but_not_rounds(door: Door) -> None:
    door.reject(2)
    door.lockout.granted(ADA)
    door.reject(2)
    assert not door.lockout.locked
    door.reject()
    door.wait(61.0)
    door.lockout.granted(ADA)
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
def test_which_reasons_count(settings: dict[str, bool], counted: str) -> None:
    found = set()
    for reason in ReasonCode:
        door = Door(replace(CONFIG, **settings))
        door.reject(3, reason)
        if door.kinds:
            found.add(reason.value)
        assert door.lockout.locked is bool(door.kinds)
    assert found == set(counted.split())


def test_switched_off_it_ends(door: Door) -> None:
    door.reject(3)
    door.config = replace(CONFIG, enabled=False)
    door.restart()
    assert (door.lockout.locked, door.lockout.left_s) == (False, 0.0)
    assert not door.lockout.begin("Ada")
    assert door.kinds == ["lock_out"]


# --- the budget ---


def attempts(door: Door, each_s: float, hours: float, between: Callable[[], object]) -> int:
    """How many attempts are judged, of a stranger who tries that often, whatever the answer."""
    judged = 0
    for _ in range(round(hours * 3600 / each_s)):
        if not door.lockout.locked:
            judged += 1
            door.reject(voice=BOB)
        door.now += each_s
        between()
    return judged


@pytest.mark.parametrize("reason", ["unknown_speaker", "replay_suspected", "challenge_failed"])
def test_four_rejections_every_five_minutes_do_not_go_on_for_a_day(reason: str) -> None:
    door = Door(LockOutConfig())
    for number in range(20):
        assert not door.lockout.locked, number
        door.reject(reason=ReasonCode(reason))
        door.now += 100.0
    assert not door.lockout.locked
    door.reject(reason=ReasonCode(reason))
    assert door.lockout.left_s == 60.0
    assert door.events[-1].detail["by"] == f"the budget of 20 is used up, by {reason} at last"


@pytest.mark.parametrize(
    ("each_s", "days", "most"),
    [(75.25, 1.0, 50), (75.25, 10.0, 270), (301.0, 1.0, 50), (8641.0, 30.0, 300), (10.0, 1.0, 60)],
)
def test_how_many_attempts_a_stranger_has(each_s: float, days: float, most: int) -> None:
    """However they are spread, and although the residents come and go."""
    door = Door(LockOutConfig())
    judged = attempts(door, each_s, 24.0 * days, lambda: door.lockout.granted(ADA))
    assert most * 0.5 < judged <= most


def test_one_that_comes_back_in_time_is_borne_for_ever() -> None:
    door = Door(LockOutConfig(budget=3, budget_s=300.0, rejections=100, forget_s=1e5))
    for _ in range(3):
        door.reject()
    for _ in range(50):
        door.now += 100.0
        door.reject()
        assert not door.lockout.locked
    door.now += 99.0
    door.reject()
    assert door.lockout.locked
    door.now += 61.0
    assert not door.lockout.locked
    door.reject()
    assert door.lockout.left_s == 120.0, "none of them has come back yet"
    door.now += 120.0
    door.reject()
    assert door.lockout.round == 2


def test_a_household_s_slips_do_not_use_it_up() -> None:
    """Five people who come home six times a day, and have to say it three times every other time.

    Somebody else tries Ada's phrase once a day: that stays on the account.
    """
    door = Door(LockOutConfig())
    voices = np.eye(6, dtype=np.float32)
    for day in range(30):
        for number in range(30):
            voice = voices[number % 5]
            door.reject(2 * (number % 2), voice=voice)
            door.now += 10.0
            door.lockout.granted(voice)
            door.now += 86400.0 / 30 - 10.0
        door.reject(voice=voices[5])
        assert not door.kinds, day


def test_somebody_hoarse_costs_a_minute_now_and_then() -> None:
    """Twenty slips in two days without being let in once: others get in all the while."""
    door = Door(LockOutConfig())
    for _ in range(20):
        door.reject()
        door.now += 3600.0
        door.lockout.granted(BOB)
    assert not door.kinds


def test_of_a_grant_only_the_same_voice_profits(door: Door) -> None:
    door.reject(1, voice=ADA)
    door.reject(1, voice=BOB)
    door.lockout.granted(BOB)
    door.reject(1, voice=BOB)
    assert not door.lockout.locked
    door.reject(1, voice=BOB)
    assert door.lockout.locked


def test_slips_older_than_minutes_stay_on_the_account() -> None:
    door = Door(LockOutConfig(budget=3, within_s=100.0))
    door.reject(3)
    door.now += 99.0
    door.reject()
    assert door.lockout.locked
    door.lockout.lift("Ada")
    door.reject(3)
    door.now += 100.0
    door.lockout.granted(ADA)
    door.reject()
    assert door.lockout.locked


@pytest.mark.parametrize("reason", [ReasonCode.REPLAY_SUSPECTED, ReasonCode.CHALLENGE_FAILED])
def test_a_recording_of_a_resident_is_not_a_slip_of_theirs(door: Door, reason: ReasonCode) -> None:
    door.reject(2, reason)
    door.lockout.granted(ADA)
    door.reject(1, reason)
    assert door.lockout.locked


def test_conversation_does_not_use_up_the_budget() -> None:
    door = Door(LockOutConfig(budget=1, count_wrong_phrase=True, count_no_match=True))
    for reason in (ReasonCode.WRONG_PHRASE, ReasonCode.NO_MATCH) * 10:
        door.reject(reason=reason)
        door.now += 301.0
    assert not door.kinds


@pytest.mark.parametrize("power_cut", [False, True])
def test_the_budget_survives(power_cut: bool) -> None:
    door = Door(LockOutConfig(budget=3, budget_s=3000.0, rejections=100))
    door.reject(3)
    door.wait(400.0)
    door.restart(power_cut=power_cut)
    assert not door.lockout.locked
    door.reject()
    assert door.lockout.locked
    door.config = replace(door.config, budget_s=300.0)
    door.restart(power_cut=True)
    door.wait(60.0)
    door.wait(40.0)
    door.reject()
    assert door.lockout.round == 1, "a shorter time holds at once"


# --- as checks ---


def test_the_gate_shuts_everything_out_and_tells_nothing(door: Door) -> None:
    gate, count = LockOutGate(door.lockout), LockOutCount(door.lockout)
    wrong, right = judgment_of(WRONG), judgment_of(ReasonCode.RECOGNIZED)
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
        # Nor how long it was, how it sounded, and how long it took.
        assert (decision.utterance_s, decision.quality, decision.timings_ms) == (0.0, None, {})
        assert shut.candidate is judgment.candidate  # the check for replays has to see it
        assert count.review(shut) is shut
    door.wait(61.0)
    assert gate.review(right) is right
    late = replace(right, locked_out=True, published=False)
    assert gate.review(late).decision.reason is ReasonCode.LOCKED_OUT, "said while it lasted"


def at(start_s: float, end_s: float, *, published: bool, reason: ReasonCode = WRONG) -> Judgment:
    made = judgment_of(reason)
    place = replace(made.utterance, start_s=start_s, end_s=end_s)
    return replace(made, utterance=place, published=published)


def test_the_same_part_of_the_stream_counts_once(door: Door) -> None:
    """As a phrase inside running speech, again after a change of the profiles, and as the whole."""
    count = LockOutCount(door.lockout)
    count.review(at(2.0, 3.0, published=False))
    count.review(at(2.4, 3.3, published=False))
    count.review(at(1.5, 3.2, published=True))
    count.review(at(2.9, 3.9, published=False))
    assert not door.lockout.locked
    count.review(at(5.0, 6.0, published=True))
    assert door.lockout.locked


def test_a_person_who_is_let_in_is_counted_as_such(door: Door) -> None:
    count = LockOutCount(door.lockout)
    for reason in (WRONG, WRONG, ReasonCode.RECOGNIZED, WRONG, WRONG, ReasonCode.NOT_NOW):
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
    assert door.lockout.left_s == 60.0


def test_lifting_ends_it_and_begins_anew(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    door.reject(2)
    assert not door.lockout.lift("nobody")
    assert not door.events
    assert not door.published
    door.reject(2)
    assert not door.lockout.locked
    door.reject()
    assert door.lockout.lift("Ada")
    assert not door.lockout.locked
    door.lockout.tick()
    assert (door.kinds, door.events[-1].detail["by"]) == (["lock_out", "lock_out_over"], "Ada")
    assert [each["locked_out"] for each in door.published] == [True, False]
    assert caplog.messages[-1] == "lock-out lifted by Ada"
    door.restart(power_cut=True)
    door.reject(3)
    assert (door.lockout.round, door.lockout.left_s) == (1, 60.0)


def test_another_process_lifts_it(door: Door) -> None:
    door.reject(3)
    door.state.put(LIFT_KEY, "x" * 500)
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
    door.wait(40.0)
    assert door.kinds == ["lock_out", "lock_out_over"]
    door.restart()
    assert not door.lockout.locked
    assert door.lockout.round == 1


@pytest.mark.parametrize(
    ("before_s", "left_s"), [(30.0, 60.0), (59.0, 60.0), (60.0, 140.0), (119.0, 140.0)]
)
def test_a_power_cut_does_not_shorten_it(before_s: float, left_s: float) -> None:
    """It goes on with what was left when that was last written down, every minute."""
    door = Door(replace(CONFIG, first_s=200 if left_s > 60.0 else 60))
    door.reject(3)
    door.wait(before_s)
    door.restart(power_cut=True)
    assert door.lockout.left_s == left_s
    door.wait(left_s)
    assert not door.lockout.locked


def test_cutting_the_power_over_and_over_does_not_prolong_it_for_ever(door: Door) -> None:
    door.reject(3)
    for _ in range(3):
        door.wait(61.0)
        door.restart(power_cut=True)
    assert not door.lockout.locked


def test_stopping_the_service_stores_what_is_left(door: Door) -> None:
    door.reject(3)
    door.wait(30.0)
    door.lockout.close()
    door.restart(power_cut=True)
    assert door.lockout.left_s == 30.0


def test_rejections_survive_a_power_cut_as_recent_as_they_were(door: Door) -> None:
    door.reject(2)
    door.wait(50.0)
    door.restart(power_cut=True)
    door.reject()
    assert door.lockout.locked


def test_being_let_in_survives_a_power_cut_after_the_next_tick(door: Door) -> None:
    door.reject(2)
    writes = door.state.writes
    door.lockout.granted(ADA)
    assert door.state.writes == writes, "the door is waiting"
    door.wait(1.0)
    door.restart(power_cut=True)
    door.reject(2)
    assert not door.lockout.locked


def test_it_is_written_no_more_often_than_needed(door: Door) -> None:
    """Each write wears the memory card."""

    def writes(seconds: float) -> int:
        before = door.state.writes
        door.wait(seconds, 0.5)
        return door.state.writes - before

    door.lockout.granted(ADA)
    assert writes(8000.0) == 0
    door.reject(2)
    assert writes(3599.5) == 0
    assert writes(0.5) == 1
    door.reject(3)
    assert (writes(59.5), writes(0.5)) == (0, 1)  # over, and told
    door.lockout.granted(BOB)
    assert (writes(3599.5), writes(0.5), writes(3599.5), writes(0.5)) == (0, 1, 0, 1)
    door.restart()
    assert writes(3599.5) == 0


@pytest.mark.parametrize(("age_s", "kept"), [(99.9, True), (100.0, False)])
def test_rejections_that_no_longer_count_are_not_kept(age_s: float, kept: bool) -> None:
    door = Door(replace(CONFIG, budget_s=60.0))
    door.reject()
    door.now += age_s
    door.lockout.close()
    assert (door.state.get(STATE_KEY) is not None) is kept


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
def test_damage_begins_with_a_lock_out(
    door: Door, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    door.state.put(STATE_KEY, text)
    door.restart()
    assert (door.lockout.left_s, door.lockout.round) == (60.0, 1)
    assert "locked out, since the stored lock-out cannot be read" in caplog.text


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.1, 3.0]), min_size=1, max_size=40))
def test_a_busy_machine_makes_no_lock_out_longer(steps: list[float]) -> None:
    """However much time passes between two looks at the clock, it ends when it should."""
    state = Memory()
    passing = itertools.accumulate(itertools.cycle(steps))
    config = LockOutConfig(rejections=1, first_s=1000, longest_s=1000)

    def started() -> LockOut:
        return LockOut(
            config,
            state,
            record=lambda _: None,
            changed=lambda _: None,
            clock=lambda: next(passing),
            boot="one",
        )

    lockout = started()
    earliest = next(passing) + 1000.0
    lockout.rejected(WRONG)
    latest = next(passing) + 1000.0
    for _ in range(5):
        lockout.granted(ADA)
        lockout.tick()
        lockout.close()
        lockout = started()
        before, left_s, after = next(passing), lockout.left_s, next(passing)
        if left_s > 0.0:
            assert before + left_s <= latest + 1e-6
            assert after + left_s >= earliest - 1e-6


def test_the_machine_s_own_clock_and_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    config = LockOutConfig(rejections=1, first_s=1000, longest_s=1000)
    left: list[float] = []
    for _ in range(2):
        state = DeviceState(tmp_path)
        lockout = LockOut(config, state, record=lambda _: None, changed=lambda _: None)
        if not left:
            lockout.rejected(WRONG)
        left.append(lockout.left_s)
        state.close()
    assert 1000.0 >= left[0] > left[1] > 900.0
    monkeypatch.setattr("edge.uptime.Path", lambda _: tmp_path / "absent")
    assert boot_id() == ""


# --- the record ---


def test_a_record_later() -> None:
    record = LockOutRecord(2, 100.0, (5.0, 0.0), 3.0, 50.0)
    assert record.later(40.0) == LockOutRecord(2, 60.0, (45.0, 40.0), 3.0, 10.0)
    assert record.later(130.0) == LockOutRecord(2, 0.0, (135.0, 130.0), 33.0, 0.0)


def test_a_record_is_one_line_and_comes_back() -> None:
    record = LockOutRecord(3, 100.0, (50.0, 0.0), 7.0, 9.0)
    text = write_record(record, 1000.0, "a boot")
    assert text == (
        '{"boot":"a boot","clock_s":1000.0,"round":3,"left_s":100.0,'
        '"ages_s":[50.0,0.0],"quiet_s":7.0,"debt_s":9.0}'
    )
    for clock_s, boot in ((1000.0, "a boot"), (999.0, "a boot"), (1040.0, "another"), (1040.0, "")):
        assert read_record(text, clock_s, boot) == record
    assert read_record(text, 1040.0, "a boot") == record.later(40.0)
    older = text.replace(',"debt_s":9.0', "")
    assert read_record(older, 1000.0, "") == replace(record, debt_s=0.0)
    assert read_record(None, 1000.0, "a boot") == LockOutRecord(0, 0.0, (), 0.0)


GOOD = {"boot": "b", "clock_s": 1.0, "round": 1, "left_s": 2.0, "ages_s": [3.0], "quiet_s": 4.0}
GOOD["debt_s"] = 5.0


@pytest.mark.parametrize("name", ["round", "left_s", "quiet_s", "ages_s", "debt_s"])
@pytest.mark.parametrize(
    ("value", "good"),
    [(0, True), (1e8, True), (1.01e8, False), (-0.01, False), (float("nan"), False),
     (float("inf"), False), (True, False), ("5", False), (None, False), ([], False)],
)  # fmt: skip
def test_what_a_record_may_hold(name: str, value: Any, good: bool) -> None:
    text = json.dumps({**GOOD, name: [1.0, value] if name == "ages_s" else value})
    if good:
        record = read_record(text, 0.0, "")
        assert getattr(record, name) == ((1.0, value) if name == "ages_s" else value)
    else:
        with pytest.raises(ValueError, match=r"^damaged record \("):
            read_record(text, 0.0, "")


@given(st.text(max_size=80) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda each: st.lists(each) | st.dictionaries(st.sampled_from([*GOOD][:-2]), each),
).map(json.dumps))  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_any_other_text_is_damage(text: str) -> None:
    with pytest.raises(ValueError, match=r"^damaged record \("):
        read_record(text, 0.0, "")


# --- what goes wrong ---


def test_on_a_full_disk_it_holds_for_as_long_as_it_runs(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> int:
        return sum("the lock-out cannot be stored" in text for text in caplog.messages)

    door.state.broken = True
    door.reject(3)
    door.wait(2.0)
    assert (door.lockout.locked, warnings()) == (True, 1)
    door.state.broken = False
    door.wait(1.0)  # tried again at once
    assert door.state.writes == 1
    door.state.broken = True
    door.lockout.close()
    door.lockout.close()
    assert warnings() == 2
    door.state.broken = False
    door.restart(power_cut=True)
    assert door.lockout.left_s == 57.0


def test_a_state_that_cannot_be_read_begins_with_a_lock_out(door: Door) -> None:
    door.state.broken = True
    door.restart()
    assert door.lockout.left_s == 60.0


# --- two threads ---


ACTIONS: dict[str, Callable[[Door], object]] = {
    "rejected": lambda door: door.reject(),
    "granted": lambda door: door.lockout.granted(ADA),
    "begin": lambda door: door.lockout.begin("Ada"),
    "lift": lambda door: door.lockout.lift("Ada"),
    "tick": lambda door: door.lockout.tick(),
    "close": lambda door: door.lockout.close(),
}


@pytest.mark.parametrize("second", ACTIONS)
@pytest.mark.parametrize("first", ACTIONS)
@pytest.mark.parametrize("past_s", [0.0, 60.0], ids=["locked", "over"])
def test_two_threads_leave_one_state(first: str, second: str, past_s: float) -> None:
    """Whoever comes first: what is kept, told and published is the state that counts."""

    def prepare() -> tuple[Action, Action, Action]:
        door = Door()
        door.reject(3 if past_s else 2)
        door.now += past_s

        def check() -> None:
            door.lockout.tick()
            left_s, number = door.lockout.left_s, door.lockout.round
            assert number == door.kinds.count("lock_out") or "lift" in (first, second)
            assert number <= 1 or "begin" in (first, second)
            if door.published:
                assert door.published[-1]["locked_out"] is (left_s > 0.0)
            door.restart()
            assert (door.lockout.left_s, door.lockout.round) == (left_s, number)
            door.restart(power_cut=True)
            door.wait(200.0, 50.0)
            assert not door.lockout.locked
            assert door.kinds[-1:] != ["lock_out"], "its end was not told"

        return lambda: ACTIONS[first](door), lambda: ACTIONS[second](door), check

    interleaved(lockout_module, prepare)

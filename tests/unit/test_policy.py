"""Rules at the door, and a clock that may be wrong."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date, datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge.access import clock as clock_module
from edge.access.checks import PolicyCheck
from edge.access.clock import (
    BELIEVED_KEY,
    LATEST_KEY,
    DoorClock,
    Voucher,
    accept_clock,
    latest_of,
    voucher_of,
)
from edge.types import EVERYTHING, AccessRule, Outcome, ReasonCode
from edge.types.access import parse_window
from tests.unit.interleaving import Action, interleaved
from tests.unit.judgments import judgment_of
from tests.unit.stores import Memory

DAY_S = 86400.0
OFFICE = AccessRule(windows=(parse_window("mon-fri 07:00-18:00"),))


def unix(*when: int) -> float:
    return datetime(*when, tzinfo=timezone.utc).timestamp()  # type: ignore[misc,arg-type]


def clock_at(hour: int, zone: str = "UTC") -> DoorClock:
    """A clock that stands still on Wednesday, 3 March 2027."""
    return DoorClock(Memory(), zone, now=lambda: unix(2027, 3, 3, hour), voucher=nobody_knows)


def nobody_knows(_: float) -> Voucher:
    return Voucher.UNKNOWN


@pytest.fixture
def state() -> Memory:
    return Memory()


# --- the check ---


@pytest.mark.parametrize(
    ("rule", "hour", "zone", "reason"),
    [
        (EVERYTHING, 3, "UTC", ReasonCode.RECOGNIZED),
        (OFFICE, 12, "UTC", ReasonCode.RECOGNIZED),
        (OFFICE, 17, "UTC", ReasonCode.RECOGNIZED),
        (OFFICE, 17, "Europe/Berlin", ReasonCode.NOT_NOW),
        (OFFICE, 6, "Europe/Berlin", ReasonCode.RECOGNIZED),
        (replace(OFFICE, doors=("front-door",)), 12, "UTC", ReasonCode.RECOGNIZED),
        (replace(OFFICE, doors=("garage",)), 12, "UTC", ReasonCode.NOT_HERE),
        (replace(OFFICE, enabled=False), 12, "UTC", ReasonCode.DISABLED),
        (replace(OFFICE, last_day=date(2027, 3, 2)), 12, "UTC", ReasonCode.NOT_NOW),
    ],
)
def test_what_the_rule_does_not_allow_is_denied_by_name(
    rule: AccessRule, hour: int, zone: str, reason: ReasonCode
) -> None:
    check = PolicyCheck("front-door", clock_at(hour, zone))
    judgment = judgment_of(ReasonCode.RECOGNIZED, rule=rule)
    found = check.review(judgment)
    assert found.decision.reason is reason
    assert found.decision.granted is (reason is ReasonCode.RECOGNIZED)
    # Otherwise as it was.
    back = replace(found.decision, outcome=Outcome.GRANTED, reason=ReasonCode.RECOGNIZED)
    assert back == judgment.decision
    assert found.decision.name == "Ada"


def test_who_was_not_recognized_is_not_looked_up() -> None:
    check = PolicyCheck("front-door", clock_at(3))
    judgment = judgment_of(ReasonCode.WRONG_PHRASE, rule=AccessRule(enabled=False))
    assert check.review(judgment) is judgment
    nobody = replace(judgment_of(ReasonCode.RECOGNIZED), candidate=None)
    decision = check.review(nobody).decision
    assert (decision.granted, decision.reason) == (False, ReasonCode.DISABLED)


# --- the clock ---


class Wall:
    """A clock that can be set, beside the machine's running time, and who vouches for it."""

    def __init__(self, *when: int) -> None:
        self.now_s = unix(*when)
        self.up_s = 50.0
        self.boot = "one"
        self.voucher = Voucher.UNKNOWN

    def __call__(self) -> float:
        return self.now_s

    def run(self, seconds: float) -> None:
        self.now_s += seconds
        self.up_s += seconds

    def restart(self) -> None:
        self.up_s = 50.0
        self.boot += "+"

    def door(self, state: Memory, *, trust: bool = False) -> DoorClock:
        return DoorClock(
            state,
            "UTC",
            trust=trust,
            now=self,
            clock=lambda: self.up_s,
            boot=self.boot,
            voucher=lambda _: self.voucher,
        )

    def accept(self, state: Memory) -> None:
        accept_clock(state, self.now_s, lambda: self.up_s, self.boot)


def verdicts(clock: DoorClock) -> list[ReasonCode]:
    check = PolicyCheck("front-door", clock)
    judgments = [judgment_of(ReasonCode.RECOGNIZED, rule=rule) for rule in (OFFICE, EVERYTHING)]
    return [check.review(judgment).decision.reason for judgment in judgments]


OPEN, SHUT = (
    [ReasonCode.RECOGNIZED, ReasonCode.RECOGNIZED],
    [ReasonCode.NOT_NOW, ReasonCode.RECOGNIZED],
)


@pytest.mark.parametrize(
    ("now_s", "believed"),
    [
        (0.0, False),
        (unix(2025, 12, 31, 23, 54, 59), False),
        (unix(2025, 12, 31, 23, 55), True),  # five minutes slow
        (unix(2026, 1, 1), True),
    ],
)
def test_no_right_clock_is_earlier_than_the_software(
    state: Memory, now_s: float, believed: bool
) -> None:
    clock = DoorClock(state, "UTC", now=lambda: now_s, voucher=nobody_knows)
    assert (clock.now() is not None) is believed


@pytest.mark.parametrize("year", [1970, 2025])
def test_a_clock_from_before_the_software_is_not_believed(
    state: Memory, year: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A Wednesday at noon, by a clock without power: only whoever has hours is kept out."""
    wall = Wall(year, 1, 1, 12)
    rule = AccessRule(windows=(parse_window("12:00-12:01"),))
    clock = wall.door(state)
    check = PolicyCheck("front-door", clock)
    found = check.review(judgment_of(ReasonCode.RECOGNIZED, rule=rule))
    assert found.decision.reason is ReasonCode.NOT_NOW
    assert verdicts(clock)[1] is ReasonCode.RECOGNIZED
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert (
        f"the time is unknown: the clock shows {year}-01-01 12:00+00:00, but it was 2026-01-01"
        " 00:00+00:00; access.unknown_time says what people with hours or dates can do"
    ) in caplog.text


def test_after_a_power_cut_an_old_clock_is_not_believed_until_it_is_right(
    state: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wall = Wall(2027, 3, 3, 12)
    wall.door(state).tick()
    wall.now_s -= 7 * DAY_S
    clock = wall.door(state)
    assert verdicts(clock) == SHUT
    clock.tick()
    assert latest_of(state) == unix(2027, 3, 3, 12)
    wall.now_s += 7 * DAY_S + 60.0
    assert verdicts(clock) == OPEN
    assert caplog.messages[-1] == "the time is known again"


def test_it_is_written_once_an_hour(state: Memory) -> None:
    wall = Wall(2027, 3, 3, 8)
    clock = wall.door(state)
    # At first together with what is believed.
    for wait_s, writes in ((0, 2), (3599, 2), (1, 3), (3599.5, 3), (0.5, 4), (9999.1234, 5)):
        wall.run(wait_s)
        clock.tick()
        assert state.writes == writes
    assert state.get(LATEST_KEY) == f"{unix(2027, 3, 3, 8) + 17199.123}"


@pytest.mark.parametrize(("back_s", "expected"), [(300.0, OPEN), (300.5, SHUT)])
def test_set_back_while_running(state: Memory, back_s: float, expected: list[ReasonCode]) -> None:
    wall = Wall(2027, 3, 3, 12)
    clock = wall.door(state)
    assert verdicts(clock) == OPEN
    wall.now_s -= 100.0
    assert verdicts(clock) == OPEN
    wall.now_s -= back_s - 100.0
    assert verdicts(clock) == expected
    clock.tick()
    assert verdicts(clock) == expected


def test_a_time_that_is_doubted_is_not_stored(state: Memory) -> None:
    """A clock that was ahead for a moment does no harm after a restart."""
    wall = Wall(2027, 3, 3, 12)
    clock = wall.door(state)
    clock.tick()
    wall.now_s += DAY_S
    clock.now()
    wall.now_s -= DAY_S - 30.0
    clock.tick()
    assert verdicts(clock) == SHUT
    assert verdicts(wall.door(state)) == OPEN


def test_after_a_night_in_suspend_the_hours_are_those_of_the_day(state: Memory) -> None:
    wall = Wall(2027, 3, 3, 17, 59)
    clock = wall.door(state)
    assert verdicts(clock) == OPEN
    wall.run(60.0)
    assert verdicts(clock) == SHUT
    wall.run(13 * 3600.0 - 1.0)
    assert verdicts(clock) == SHUT
    wall.run(1.0)
    assert verdicts(clock) == OPEN


def test_a_clock_that_was_ahead_can_be_accepted(state: Memory) -> None:
    wall = Wall(2037, 3, 4, 12)
    clock = wall.door(state)
    clock.tick()
    wall.now_s = unix(2027, 3, 3, 12)
    clock.tick()
    assert verdicts(clock) == SHUT
    wall.now_s += 0.12345
    wall.accept(state)  # by another process
    assert state.get(LATEST_KEY) == f"{unix(2027, 3, 3, 12) + 0.123}"
    clock.tick()
    assert verdicts(clock) == OPEN
    assert verdicts(wall.door(state)) == OPEN


NOBODY, UNKNOWN, CHIP, SERVER, OWNER = Voucher


@pytest.mark.parametrize(
    ("voucher", "expected"), [(NOBODY, SHUT), (UNKNOWN, OPEN), (CHIP, OPEN), (SERVER, OPEN)]
)
def test_after_a_start_somebody_must_vouch_for_the_clock(
    state: Memory, voucher: Voucher, expected: list[ReasonCode]
) -> None:
    """A Raspberry Pi that saved the time before a power cut goes on from there."""
    wall = Wall(2027, 3, 3, 12)
    wall.door(state).tick()
    wall.restart()
    wall.voucher = voucher
    clock = wall.door(state)
    assert verdicts(clock) == expected
    wall.voucher = SERVER
    clock.tick()
    assert verdicts(clock) == OPEN
    wall.voucher = NOBODY  # the network is gone again
    wall.run(3 * 3600.0)
    assert verdicts(clock) == verdicts(wall.door(state)) == OPEN


def test_the_status_says_that_the_time_is_unknown(state: Memory) -> None:
    wall = Wall(2027, 3, 3, 12)
    wall.voucher = NOBODY
    clock = wall.door(state)
    assert clock.problem is None
    clock.tick()
    assert clock.problem == (
        "the time is unknown: the clock shows 2027-03-03 12:00+00:00, and no time server or clock"
        " chip has confirmed it since the machine started"
    )
    assert state.writes == 0
    wall.accept(state)
    clock.tick()
    assert clock.problem is None
    wall.restart()
    clock = wall.door(state)
    clock.tick()
    assert clock.problem is not None, "the owner looked at another start's clock"


@pytest.mark.parametrize(
    ("before", "by_s", "now", "expected"),
    [
        (SERVER, 301.0, UNKNOWN, SHUT),
        (SERVER, 300.0, UNKNOWN, OPEN),
        (CHIP, 301.0, UNKNOWN, SHUT),
        (CHIP, 301.0, CHIP, OPEN),  # both were set
        (CHIP, 301.0, SERVER, OPEN),
        (OWNER, 301.0, CHIP, SHUT),
        (OWNER, 301.0, SERVER, OPEN),
        (UNKNOWN, 301.0, UNKNOWN, OPEN),  # so the network sets it where no chip does
        (UNKNOWN, 366 * DAY_S, UNKNOWN, OPEN),
        (UNKNOWN, 366 * DAY_S + 1, UNKNOWN, SHUT),
        (UNKNOWN, 366 * DAY_S + 1, CHIP, SHUT),
        (UNKNOWN, 366 * DAY_S + 1, SERVER, OPEN),
        (SERVER, -301.0, SERVER, SHUT),
    ],
)
@pytest.mark.parametrize("restart", [False, True])
def test_a_clock_that_jumps_is_believed_only_on_better_authority(
    state: Memory,
    before: Voucher,
    by_s: float,
    now: Voucher,
    expected: list[ReasonCode],
    restart: bool,
) -> None:
    always = AccessRule(windows=(parse_window("daily 00:00-24:00"),))
    wall = Wall(2027, 3, 3, 12)
    wall.voucher = before
    clock = wall.door(state)
    clock.tick()
    wall.now_s += by_s
    wall.voucher = now
    clock = wall.door(state) if restart else clock
    found = PolicyCheck("front-door", clock).review(judgment_of(ReasonCode.RECOGNIZED, rule=always))
    assert [found.decision.reason, ReasonCode.RECOGNIZED] == expected
    clock.tick()
    # What is not believed leaves no trace.
    wall.now_s -= by_s
    assert (wall.door(state).now() is None) == (by_s > 300.0 and expected == OPEN)


def test_small_corrections_are_followed_and_noted(state: Memory) -> None:
    wall = Wall(2027, 3, 3, 12)
    clock = wall.door(state)
    clock.tick()
    wall.voucher = NOBODY
    for _ in range(4):
        wall.now_s += 200.0
        clock.tick()
    assert clock.problem is None
    assert wall.door(state).now() is not None
    writes = state.writes
    wall.now_s += 1.0
    clock.tick()
    assert state.writes == writes


@pytest.mark.parametrize(("without_time", "expected"), [(False, SHUT), (True, OPEN)])
def test_the_rule_for_an_unknown_time_is_a_setting(
    state: Memory, without_time: bool, expected: list[ReasonCode]
) -> None:
    clock = Wall(1970, 1, 1, 3).door(state)
    check = PolicyCheck("front-door", clock, without_time=without_time)
    found = [
        check.review(judgment_of(ReasonCode.RECOGNIZED, rule=rule)).decision.reason
        for rule in (replace(OFFICE, last_day=date(1969, 1, 1)), EVERYTHING)
    ]
    assert found == expected


def test_a_clock_may_be_trusted_whatever_it_shows(state: Memory) -> None:
    wall = Wall(2037, 3, 4, 12)
    wall.voucher = NOBODY
    clock = wall.door(state, trust=True)
    clock.tick()
    assert (clock.problem, clock.at_least()) == (None, wall.now_s)
    assert verdicts(clock) == OPEN
    wall.now_s = unix(1970, 1, 1, 12)
    assert verdicts(clock) == OPEN
    assert clock.at_least() == wall.now_s
    assert wall.door(state).problem is None
    clock.write()
    assert state.get(BELIEVED_KEY) is None


def test_what_is_fresh_is_judged_by_the_latest_known_time(state: Memory) -> None:
    """A command that was withheld must not be fresh again because the clock was set back."""
    wall = Wall(2027, 3, 3, 12)
    clock = wall.door(state)
    clock.tick()
    for back_s, expected in ((0.0, 0.0), (300.0, -300.0), (300.5, 0.0), (DAY_S, 0.0), (-9.0, 9.0)):
        wall.now_s = unix(2027, 3, 3, 12) - back_s
        assert clock.at_least() == unix(2027, 3, 3, 12) + expected


@pytest.mark.parametrize(
    ("synchronized", "chip", "voucher"),
    [
        (None, None, UNKNOWN),
        (False, None, NOBODY),
        (True, None, SERVER),
        (False, "1000300", CHIP),
        (None, "999700", CHIP),
        (False, "1000301", NOBODY),  # a chip without a battery
        (None, "999699", UNKNOWN),
        (None, "", UNKNOWN),
        (False, "no number", NOBODY),
        (True, "1", SERVER),
    ],
)
def test_who_vouches_for_the_clock(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    synchronized: bool | None,
    chip: str | None,
    voucher: Voucher,
) -> None:
    servers, chips = tmp_path / "timesync", tmp_path / "rtc"
    monkeypatch.setattr(clock_module, "_TIME_SERVERS", servers)
    monkeypatch.setattr(clock_module, "_CHIPS", chips)
    if synchronized is not None:
        servers.mkdir()
    if synchronized:
        (servers / "synchronized").touch()
    if chip is not None:
        (chips / "rtc0").mkdir(parents=True)
        (chips / "rtc0" / "since_epoch").write_text(f"{chip}\n")
    assert voucher_of(1_000_000.0) is voucher


@pytest.mark.parametrize(
    "text",
    ["", "null", "7", "{}", '{"boot":1,"started_s":"x","voucher":3}',
     '{"boot":"one","started_s":0,"voucher":9}', "[" * 5000],
)  # fmt: skip
def test_a_damaged_note_of_the_clock_counts_for_nothing(state: Memory, text: str) -> None:
    state.put(BELIEVED_KEY, text)
    wall = Wall(2027, 3, 3, 12)
    wall.voucher = NOBODY
    assert verdicts(wall.door(state)) == SHUT


@pytest.mark.parametrize("first", ["now", "tick"])
@pytest.mark.parametrize("second", ["now", "tick"])
def test_two_threads_lose_no_acceptance_and_warn_once(
    caplog: pytest.LogCaptureFixture, first: str, second: str
) -> None:
    def prepare() -> tuple[Action, Action, Action]:
        caplog.clear()
        state, wall = Memory(), Wall(2037, 3, 4, 12)
        clock = wall.door(state)
        clock.tick()
        wall.now_s = unix(2027, 3, 3, 12)
        if first != second:
            clock.now()
            wall.accept(state)

        def check() -> None:
            assert len(caplog.messages) == 1
            clock.tick()
            assert (clock.now() is None) is (first == second)

        return getattr(clock, first), getattr(clock, second), check

    interleaved(clock_module, prepare, step="opcode")


@pytest.mark.parametrize(
    ("text", "latest_s"),
    [(None, None), ("0", None), ("0.1", 0.1), ("99999999999", 99999999999.0), ("1e11", None)],
)
def test_the_latest_time_stored(state: Memory, text: str | None, latest_s: float | None) -> None:
    state.put(LATEST_KEY, text)
    assert latest_of(state) == latest_s


def test_a_state_that_cannot_be_read_is_said(
    state: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    state.broken = True
    assert latest_of(state) is None
    assert caplog.messages == ["the latest time stored cannot be read: no space is left"]


@pytest.mark.parametrize("text", ["nan", "inf", "-5", "x", "", "1e300"])
def test_what_was_written_and_is_damaged_is_passed_over(state: Memory, text: str) -> None:
    state.put(LATEST_KEY, text)
    assert verdicts(Wall(2027, 3, 3, 12).door(state)) == OPEN


def test_a_full_disk_is_said_once(state: Memory, caplog: pytest.LogCaptureFixture) -> None:
    wall = Wall(2027, 3, 3, 12)
    clock = wall.door(state)
    for broken, warnings in ((True, 1), (True, 1), (False, 1), (True, 2)):
        state.broken = broken
        clock.tick()
        assert len(caplog.records) == warnings
        assert clock.now() is not None
        wall.run(1.0 if broken else 3600.0)  # what failed is tried again at once
    assert state.writes == 2


def test_the_system_s_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    noon = unix(2027, 7, 1, 12)
    monkeypatch.setenv("TZ", "America/New_York")
    local = DoorClock(Memory(), None, now=lambda: noon, voucher=nobody_knows).now()
    assert local is not None
    assert (local.hour, local.weekday()) == (8, 3)
    monkeypatch.setenv("TZ", "Asia/Tokyo")  # followed without a restart
    local = DoorClock(Memory(), None, now=lambda: noon, voucher=nobody_knows).now()
    assert local is not None
    assert local.hour == 21
    zoned = DoorClock(Memory(), "Europe/Berlin", now=lambda: noon, voucher=nobody_knows).now()
    assert zoned == datetime(2027, 7, 1, 14, tzinfo=ZoneInfo("Europe/Berlin"))

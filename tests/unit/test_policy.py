"""Rules at the door, and a clock that may be wrong."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date, datetime, timezone
from zoneinfo import ZoneInfo

import pytest

from edge.access import clock as clock_module
from edge.access.checks import PolicyCheck
from edge.access.clock import LATEST_KEY, DoorClock, accept_clock, latest_of
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
    return DoorClock(Memory(), zone, lambda: unix(2027, 3, 3, hour))


@pytest.fixture
def state() -> Memory:
    return Memory()


# --- the check ---


@pytest.mark.parametrize(
    ("rule", "hour", "zone", "reason"),
    [
        (EVERYTHING, 3, "UTC", ReasonCode.ACCEPTED),
        (OFFICE, 12, "UTC", ReasonCode.ACCEPTED),
        (OFFICE, 17, "UTC", ReasonCode.ACCEPTED),
        (OFFICE, 17, "Europe/Berlin", ReasonCode.NOT_NOW),
        (OFFICE, 6, "Europe/Berlin", ReasonCode.ACCEPTED),
        (replace(OFFICE, doors=("front-door",)), 12, "UTC", ReasonCode.ACCEPTED),
        (replace(OFFICE, doors=("garage",)), 12, "UTC", ReasonCode.NOT_HERE),
        (replace(OFFICE, enabled=False), 12, "UTC", ReasonCode.DISABLED),
        (replace(OFFICE, last_day=date(2027, 3, 2)), 12, "UTC", ReasonCode.NOT_NOW),
    ],
)
def test_what_the_rule_does_not_allow_is_denied_by_name(
    rule: AccessRule, hour: int, zone: str, reason: ReasonCode
) -> None:
    check = PolicyCheck("front-door", clock_at(hour, zone))
    judgment = judgment_of(ReasonCode.ACCEPTED, rule=rule)
    found = check.review(judgment)
    assert found.decision.reason is reason
    assert found.decision.granted is (reason is ReasonCode.ACCEPTED)
    # Otherwise as it was.
    back = replace(found.decision, outcome=Outcome.GRANTED, reason=ReasonCode.ACCEPTED)
    assert back == judgment.decision
    assert found.decision.name == "Ada"


def test_who_was_not_recognized_is_not_looked_up() -> None:
    check = PolicyCheck("front-door", clock_at(3))
    judgment = judgment_of(ReasonCode.WRONG_PHRASE, rule=AccessRule(enabled=False))
    assert check.review(judgment) is judgment
    nobody = replace(judgment_of(ReasonCode.ACCEPTED), candidate=None)
    decision = check.review(nobody).decision
    assert (decision.granted, decision.reason) == (False, ReasonCode.DISABLED)


# --- the clock ---


class Wall:
    def __init__(self, *when: int) -> None:
        self.now_s = unix(*when)

    def __call__(self) -> float:
        return self.now_s


def verdicts(clock: DoorClock) -> list[ReasonCode]:
    check = PolicyCheck("front-door", clock)
    judgments = [judgment_of(ReasonCode.ACCEPTED, rule=rule) for rule in (OFFICE, EVERYTHING)]
    return [check.review(judgment).decision.reason for judgment in judgments]


OPEN, SHUT = (
    [ReasonCode.ACCEPTED, ReasonCode.ACCEPTED],
    [ReasonCode.NOT_NOW, ReasonCode.ACCEPTED],
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
    assert (DoorClock(state, "UTC", lambda: now_s).now() is not None) is believed


@pytest.mark.parametrize("year", [1970, 2025])
def test_a_clock_from_before_the_software_is_not_believed(
    state: Memory, year: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A Wednesday at noon, by a clock without power: only whoever has hours is kept out."""
    wall = Wall(year, 1, 1, 12)
    rule = AccessRule(windows=(parse_window("12:00-12:01"),))
    clock = DoorClock(state, "UTC", wall)
    check = PolicyCheck("front-door", clock)
    found = check.review(judgment_of(ReasonCode.ACCEPTED, rule=rule))
    assert found.decision.reason is ReasonCode.NOT_NOW
    assert verdicts(clock)[1] is ReasonCode.ACCEPTED
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert (
        f"the clock shows {year}-01-01 12:00+00:00, but it was 2026-01-01 00:00+00:00 before:"
        " people with hours or dates cannot open until it is right"
    ) in caplog.text


def test_after_a_power_cut_an_old_clock_is_not_believed_until_it_is_right(
    state: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wall = Wall(2027, 3, 3, 12)
    DoorClock(state, "UTC", wall).tick()
    wall.now_s -= 7 * DAY_S
    clock = DoorClock(state, "UTC", wall)
    assert verdicts(clock) == SHUT
    clock.tick()
    assert latest_of(state) == unix(2027, 3, 3, 12)
    wall.now_s += 7 * DAY_S + 60.0
    assert verdicts(clock) == OPEN
    assert caplog.messages[-1] == "the clock is right again"


def test_it_is_written_once_an_hour(state: Memory) -> None:
    wall = Wall(2027, 3, 3, 8)
    clock = DoorClock(state, "UTC", wall)
    for wait_s, writes in ((0, 1), (3599, 1), (1, 2), (3599.5, 2), (0.5, 3), (9999.1234, 4)):
        wall.now_s += wait_s
        clock.tick()
        assert state.writes == writes
    assert state.get(LATEST_KEY) == f"{unix(2027, 3, 3, 8) + 17199.123}"


@pytest.mark.parametrize(("back_s", "expected"), [(300.0, OPEN), (300.5, SHUT)])
def test_set_back_while_running(state: Memory, back_s: float, expected: list[ReasonCode]) -> None:
    wall = Wall(2027, 3, 3, 12)
    clock = DoorClock(state, "UTC", wall)
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
    clock = DoorClock(state, "UTC", wall)
    clock.tick()
    wall.now_s += DAY_S
    clock.now()
    wall.now_s -= DAY_S - 30.0
    clock.tick()
    assert verdicts(clock) == SHUT
    assert verdicts(DoorClock(state, "UTC", wall)) == OPEN


def test_after_a_night_in_suspend_the_hours_are_those_of_the_day(state: Memory) -> None:
    wall = Wall(2027, 3, 3, 17, 59)
    clock = DoorClock(state, "UTC", wall)
    assert verdicts(clock) == OPEN
    wall.now_s += 60.0
    assert verdicts(clock) == SHUT
    wall.now_s += 13 * 3600.0 - 1.0
    assert verdicts(clock) == SHUT
    wall.now_s += 1.0
    assert verdicts(clock) == OPEN


def test_a_clock_that_was_ahead_can_be_accepted(state: Memory) -> None:
    wall = Wall(2037, 3, 4, 12)
    clock = DoorClock(state, "UTC", wall)
    clock.tick()
    wall.now_s = unix(2027, 3, 3, 12)
    clock.tick()
    assert verdicts(clock) == SHUT
    accept_clock(state, wall.now_s + 0.12345)  # by another process
    assert state.get(LATEST_KEY) == f"{wall.now_s + 0.123}"
    clock.tick()
    assert verdicts(clock) == OPEN
    assert verdicts(DoorClock(state, "UTC", wall)) == OPEN


@pytest.mark.parametrize("first", ["now", "tick"])
@pytest.mark.parametrize("second", ["now", "tick"])
def test_two_threads_lose_no_acceptance_and_warn_once(
    caplog: pytest.LogCaptureFixture, first: str, second: str
) -> None:
    def prepare() -> tuple[Action, Action, Action]:
        caplog.clear()
        state, wall = Memory(), Wall(2037, 3, 4, 12)
        clock = DoorClock(state, "UTC", wall)
        clock.tick()
        wall.now_s = unix(2027, 3, 3, 12)
        if first != second:
            clock.now()
            accept_clock(state, wall.now_s)

        def check() -> None:
            assert len(caplog.messages) == 1
            clock.tick()
            assert (clock.now() is None) is (first == second)

        return getattr(clock, first), getattr(clock, second), check

    interleaved(clock_module, prepare, step="opcode")


@pytest.mark.parametrize(
    ("text", "latest_s"),
    [(None, None), ("0", None), ("0.5", 0.5), ("99999999999", 99999999999.0), ("1e11", None)],
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
    assert verdicts(DoorClock(state, "UTC", Wall(2027, 3, 3, 12))) == OPEN


def test_a_full_disk_is_said_once(state: Memory, caplog: pytest.LogCaptureFixture) -> None:
    wall = Wall(2027, 3, 3, 12)
    clock = DoorClock(state, "UTC", wall)
    for broken, warnings in ((True, 1), (True, 1), (False, 1), (True, 2)):
        state.broken = broken
        clock.tick()
        assert len(caplog.records) == warnings
        assert clock.now() is not None
        wall.now_s += 1.0 if broken else 3600.0  # what failed is tried again at once
    assert state.writes == 1


def test_the_system_s_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    noon = unix(2027, 7, 1, 12)
    monkeypatch.setenv("TZ", "America/New_York")
    local = DoorClock(Memory(), None, lambda: noon).now()
    assert local is not None
    assert (local.hour, local.weekday()) == (8, 3)
    monkeypatch.setenv("TZ", "Asia/Tokyo")  # followed without a restart
    local = DoorClock(Memory(), None, lambda: noon).now()
    assert local is not None
    assert local.hour == 21
    zoned = DoorClock(Memory(), "Europe/Berlin", lambda: noon).now()
    assert zoned == datetime(2027, 7, 1, 14, tzinfo=ZoneInfo("Europe/Berlin"))

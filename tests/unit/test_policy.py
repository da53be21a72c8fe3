"""Rules at the door, and a clock that may be wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge.access.checks import PolicyCheck
from edge.access.clock import LATEST_KEY, SLACK_S, DoorClock, accept_clock, latest_of
from edge.errors import StoreError
from edge.store.device_state import DeviceState
from edge.types import EVERYTHING, AccessRule, Outcome, ReasonCode
from edge.types.access import parse_window
from tests.unit.judgments import judgment_of

DAY_S = 86400.0
OFFICE = AccessRule(windows=(parse_window("mon-fri 07:00-18:00"),))


class Memory(DeviceState):
    """A state that is kept nowhere."""

    def __init__(self) -> None:
        self.texts: dict[str, str | None] = {}

    def get(self, name: str) -> str | None:
        return self.texts.get(name)

    def put(self, name: str, text: str | None) -> None:
        self.texts[name] = text


def unix(*when: int) -> float:
    return datetime(*when, tzinfo=timezone.utc).timestamp()  # type: ignore[misc,arg-type]


def clock_at(hour: int, zone: str = "UTC") -> DoorClock:
    """A clock that stands still on Wednesday, 3 March 2027."""
    return DoorClock(Memory(), zone, lambda: unix(2027, 3, 3, hour))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[DeviceState]:
    state = DeviceState(tmp_path)
    yield state
    state.close()


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
    assert not check.review(nobody).decision.granted


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


@pytest.mark.parametrize("year", [1970, 2000, 2025])
def test_a_clock_from_before_the_software_is_not_believed(
    state: DeviceState, year: int, caplog: pytest.LogCaptureFixture
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
    assert "cannot open until it is right" in caplog.text


def test_after_a_power_cut_an_old_clock_is_not_believed_until_it_is_right(
    state: DeviceState, caplog: pytest.LogCaptureFixture
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


def test_it_is_written_once_an_hour(state: DeviceState) -> None:
    wall = Wall(2027, 3, 3, 8)
    clock, written = DoorClock(state, "UTC", wall), set()
    for _ in range(240):
        clock.tick()
        written.add(state.get(LATEST_KEY))
        wall.now_s += 60.0
    assert len(written) == 4


def test_set_back_while_running(state: DeviceState) -> None:
    wall = Wall(2027, 3, 3, 12)
    clock = DoorClock(state, "UTC", wall)
    assert verdicts(clock) == OPEN
    wall.now_s -= SLACK_S - 1
    assert verdicts(clock) == OPEN
    wall.now_s -= 2.0
    assert verdicts(clock) == SHUT
    clock.tick()
    assert verdicts(clock) == SHUT


def test_a_clock_that_was_ahead_can_be_accepted(tmp_path: Path, state: DeviceState) -> None:
    wall = Wall(2037, 3, 4, 12)
    clock = DoorClock(state, "UTC", wall)
    clock.tick()
    wall.now_s = unix(2027, 3, 3, 12)
    clock.tick()
    assert verdicts(clock) == SHUT
    other = DeviceState(tmp_path)
    accept_clock(other, wall.now_s)
    other.close()
    clock.tick()
    assert verdicts(clock) == OPEN
    assert verdicts(DoorClock(state, "UTC", wall)) == OPEN


@pytest.mark.parametrize("text", ["nan", "inf", "-5", "x", "", "1e300"])
def test_what_was_written_and_is_damaged_is_passed_over(state: DeviceState, text: str) -> None:
    state.put(LATEST_KEY, text)
    assert verdicts(DoorClock(state, "UTC", Wall(2027, 3, 3, 12))) == OPEN


def test_a_full_disk_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    class Full(Memory):
        def put(self, name: str, text: str | None) -> None:
            raise StoreError("no space is left")

    wall = Wall(2027, 3, 3, 12)
    clock = DoorClock(Full(), "UTC", wall)
    for _ in range(3):
        clock.tick()
        wall.now_s += 7200.0
    assert len(caplog.records) == 1
    assert clock.now() is not None


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

"""Access rules: as people write them, as they are kept, and what they allow, minute by minute."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.access.checks import allows
from edge.store import ProfileStore, open_store
from edge.types import EVERYTHING, AccessRule, ReasonCode, Window
from edge.types.access import EVERY_DAY, format_window, parse_day, parse_window
from tests.unit.stores import enroll


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProfileStore]:
    with open_store(tmp_path_factory.mktemp("state")) as store:
        enroll(store, "Ada", 1)
        yield store


BERLIN = ZoneInfo("Europe/Berlin")

windows = st.builds(
    Window,
    st.sets(st.sampled_from(EVERY_DAY), min_size=1).map(lambda days: tuple(sorted(days))),
    st.integers(0, 1439),
    st.integers(1, 1440),
)
days = st.dates(date(2020, 1, 1), date(2035, 12, 31))


@st.composite
def rules(draw: st.DrawFn) -> AccessRule:
    first, last = draw(st.none() | days), draw(st.none() | days)
    if first and last and last < first:
        first, last = last, first
    return AccessRule(
        enabled=draw(st.booleans()),
        doors=tuple(draw(st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)))[:32]),
        windows=tuple(draw(st.lists(windows, max_size=16))),
        first_day=first,
        last_day=last,
        challenge=draw(st.booleans()),
    )


# --- in writing ---


@pytest.mark.parametrize(
    ("text", "days", "start", "end"),
    [
        ("mon-fri 07:00-18:00", (0, 1, 2, 3, 4), 420, 1080),
        ("sat,sun 10:00-14:30", (5, 6), 600, 870),
        ("  Sun   7:05-24:00 ", (6,), 425, 1440),
        ("fri-mon 22:00-6:00", (0, 4, 5, 6), 1320, 360),
        ("mon-fri,sun", (0, 1, 2, 3, 4, 6), 0, 1440),
        ("tue-mon 00:00-00:00", EVERY_DAY, 0, 1440),
        ("08:00-20:00", EVERY_DAY, 480, 1200),
        ("daily", EVERY_DAY, 0, 1440),
        ("wed 09:00-09:00", (2,), 540, 540),
        ("wed,mon,wed 23:59-00:00", (0, 2), 1439, 1440),
    ],
)
def test_hours_in_writing(text: str, days: tuple[int, ...], start: int, end: int) -> None:
    assert parse_window(text) == Window(days, start, end)


@pytest.mark.parametrize(
    ("window", "text"),
    [
        (Window((0, 1, 2, 3, 4), 420, 1080), "mon-fri 07:00-18:00"),
        (Window((5, 6), 0, 1440), "sat,sun"),
        (Window(EVERY_DAY, 0, 1440), "daily"),
        (Window((0, 2, 3, 4, 6), 1320, 360), "mon,wed-fri,sun 22:00-06:00"),
    ],
)
def test_hours_are_shown_short(window: Window, text: str) -> None:
    assert format_window(window) == text


@given(windows)
def test_hours_come_back_from_their_text(window: Window) -> None:
    assert parse_window(format_window(window)) == window


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "monday 07:00-18:00",
        "mon-fri 7-18",
        "07:00-18:00 mon-fri",
        "mon 07:00-18:00 tue 08:00-09:00",
        "mon 25:00-26:00",
        "mon 24:00-25:00",
        "mon 24:00-06:00",
        "mon 10:00-24:30",
        "mon 07:60-08:00",
        "mon- 07:00-08:00",
        "-mon",
        "mon,,tue",
        "mon\n07:00-08:00",
        "mon \u0660\u0667:\u0660\u0660-\u0660\u0668:\u0660\u0660",
        "mon 07:00-08:00" + " " * 200,
    ],
)
def test_what_are_no_hours_is_said_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|past the end") as caught:
        parse_window(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 160


@pytest.mark.parametrize("text", ["20270131", "2027-02-30", "2027-W01-1", "1.1.2027", "", "x" * 99])
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(ValueError, match="2027-01-31"):
        parse_day(text)


def test_a_leap_day_is_a_date() -> None:
    assert parse_day("2028-02-29") == date(2028, 2, 29)


# --- as it is kept ---


@settings(max_examples=15, deadline=None)
@given(rule=rules())
def test_rules_come_back_from_the_store(kept: ProfileStore, rule: AccessRule) -> None:
    kept.set_rule("Ada", rule)
    assert kept.get("Ada").rule == rule
    assert json.dumps(rule.as_dict())


@pytest.mark.parametrize(
    "parts",
    [
        {"doors": ("a/b",)},
        {"doors": ("",)},
        {"doors": ("a",) * 33},
        {"windows": (parse_window("daily"),) * 17},
        {"first_day": date(2027, 1, 2), "last_day": date(2027, 1, 1)},
    ],
)
def test_an_impossible_rule_cannot_be_made(parts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        AccessRule(**parts)


@pytest.mark.parametrize(
    ("days", "start", "end"),
    [((), 0, 1), ((7,), 0, 1), ((1, 0), 0, 1), ((0, 0), 0, 1), ((0,), -1, 5), ((0,), 1440, 5),
     ((0,), 0, 0), ((0,), 0, 1441)],
)  # fmt: skip
def test_an_impossible_window_cannot_be_made(days: tuple[int, ...], start: int, end: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Window(days, start, end)


# --- what it allows ---

HERE = "front-door"
NOON = datetime(2027, 3, 3, 12, 0)  # noqa: DTZ001 (a Wednesday, by the clock on the wall)


@pytest.mark.parametrize(
    ("rule", "now", "expected"),
    [
        (EVERYTHING, NOON, None),
        (EVERYTHING, None, None),
        (AccessRule(enabled=False, doors=("x",)), NOON, ReasonCode.DISABLED),
        (AccessRule(doors=("back-door", HERE)), None, None),
        (AccessRule(doors=("front-doo", "Front-door")), NOON, ReasonCode.NOT_HERE),
        (AccessRule(windows=(parse_window("wed 11:00-12:00"),)), NOON, ReasonCode.NOT_NOW),
        (AccessRule(windows=(parse_window("wed 12:00-12:01"),)), NOON, None),
        (AccessRule(windows=(parse_window("wed 18:00-18:00"),)), NOON, ReasonCode.NOT_NOW),
        (AccessRule(windows=(parse_window("tue 18:00-18:00"),)), NOON, None),
        (AccessRule(windows=(parse_window("tue 18:00-12:00"),)), NOON, ReasonCode.NOT_NOW),
        (AccessRule(windows=(parse_window("tue 18:00-12:01"),)), NOON, None),
        (AccessRule(windows=(parse_window("mon"), parse_window("wed"))), NOON, None),
        (AccessRule(windows=(parse_window("daily"),)), None, ReasonCode.NOT_NOW),
        (AccessRule(first_day=date(2027, 3, 3), last_day=date(2027, 3, 3)), NOON, None),
        (AccessRule(last_day=date(2027, 3, 2)), NOON, ReasonCode.NOT_NOW),
        (AccessRule(first_day=date(2027, 3, 4)), NOON, ReasonCode.NOT_NOW),
        (AccessRule(last_day=date(2027, 3, 4)), None, ReasonCode.NOT_NOW),
    ],
)
def test_what_a_rule_allows(
    rule: AccessRule, now: datetime | None, expected: ReasonCode | None
) -> None:
    assert allows(rule, HERE, now) is expected


def open_minutes(rule: AccessRule, from_day: date, count: int) -> set[tuple[date, int]]:
    """The reference: every (day, minute on the wall) that is allowed, written down one by one."""
    found = set()
    for step in range(-1, count):
        day = from_day + timedelta(days=step)
        for window in rule.windows or (Window(EVERY_DAY, 0, 1440),):
            if day.weekday() not in window.days or (rule.first_day and day < rule.first_day):
                continue
            minute = window.start_minute
            length = (window.end_minute - window.start_minute - 1) % 1440 + 1
            for _ in range(length):
                found.add((day + timedelta(days=minute // 1440), minute % 1440))
                minute += 1
    return {(day, minute) for day, minute in found if rule.last_day is None or day <= rule.last_day}


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("Europe/Berlin", date(2027, 3, 27)),  # forward on the 28th at 2:00
        ("Europe/Berlin", date(2027, 10, 30)),  # back on the 31st at 3:00
        ("Australia/Lord_Howe", date(2027, 4, 3)),  # back by half an hour
        ("America/Santiago", date(2027, 9, 4)),  # forward at midnight
        ("Pacific/Apia", date(2011, 12, 29)),  # a day that never was
        ("Asia/Kathmandu", date(2028, 2, 28)),  # a leap day
        ("UTC", date(2027, 12, 31)),  # the end of a year
    ],
)
@settings(max_examples=3)
@given(rule=rules(), cut=st.booleans())
def test_windows_minute_by_minute(zone: str, first: date, rule: AccessRule, cut: bool) -> None:
    """Three days, every minute that passes, against the list of what the wall clock may show."""
    rule = AccessRule(
        windows=rule.windows,
        last_day=first + timedelta(days=1) if cut else None,
        first_day=first if cut else None,
    )
    expected = open_minutes(rule, first - timedelta(days=1), 6)
    start = datetime(first.year, first.month, first.day, tzinfo=ZoneInfo(zone))
    now = start.astimezone(timezone.utc) + timedelta(seconds=30)
    for _ in range(3 * 1440):
        local = now.astimezone(ZoneInfo(zone))
        inside = (local.date(), local.hour * 60 + local.minute) in expected
        assert (allows(rule, HERE, local) is None) is inside, local
        now += timedelta(minutes=1)


def minutes_open(text: str, start: datetime, hours: int) -> int:
    rule = AccessRule(windows=(parse_window(text),))
    now = start.astimezone(timezone.utc)
    return sum(
        allows(rule, HERE, (now + timedelta(minutes=minute)).astimezone(start.tzinfo)) is None
        for minute in range(hours * 60)
    )


def test_the_hour_that_is_left_out_and_the_one_that_comes_twice() -> None:
    spring, autumn = (datetime(2027, 3, 28, tzinfo=BERLIN), datetime(2027, 10, 31, tzinfo=BERLIN))
    assert minutes_open("sun 02:00-03:00", spring, 23) == 0
    assert minutes_open("sun 01:30-03:30", spring, 23) == 60
    assert minutes_open("sun 02:00-03:00", autumn, 25) == 120
    assert minutes_open("sun", spring, 47) == 23 * 60
    assert minutes_open("sun", autumn, 49) == 25 * 60
    # The night shift that goes over the change, and the day after a leap day's midnight.
    assert minutes_open("sat 22:00-06:00", spring - timedelta(days=1), 48) == 7 * 60
    leap = datetime(2028, 2, 29, tzinfo=BERLIN)
    assert minutes_open("tue 23:00-01:00", leap, 48) == 120


def test_a_guest_does_not_come_in_through_the_window_of_the_day_before() -> None:
    rule = AccessRule(windows=(parse_window("fri,sat 20:00-02:00"),), first_day=date(2027, 3, 6))
    saturday = datetime(2027, 3, 6, 1, 0, tzinfo=BERLIN)
    assert allows(rule, HERE, saturday) is ReasonCode.NOT_NOW
    assert allows(rule, HERE, saturday + timedelta(hours=19)) is None
    assert allows(rule, HERE, saturday + timedelta(days=1)) is None


def test_a_guest_s_last_day_ends_at_midnight_also_within_a_window() -> None:
    rule = AccessRule(windows=(parse_window("sun 22:00-06:00"),), last_day=date(2027, 3, 7))
    before = datetime(2027, 3, 7, 23, 59, 59, tzinfo=BERLIN)
    assert allows(rule, HERE, before) is None
    assert allows(rule, HERE, before + timedelta(seconds=1)) is ReasonCode.NOT_NOW

"""The audit trail at its limits, beside other threads and processes, and while it writes."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.config import AuditConfig
from edge.errors import StoreError
from edge.store.audit import AuditTrail
from edge.store.audit_chain import Entry, Head
from edge.store.audit_file import TrailFile, reading
from edge.store.device_state import DeviceState
from edge.types import Event, EventKind
from edge.types.decision import utc
from tests.unit.stores import is_open
from tests.unit.trails import (
    KEY,
    NOON,
    Clock,
    Interrupted,
    alter,
    event,
    findings,
    numbers,
    open_trail,
    record,
    write,
)
from tests.unit.waiting import ContendedLock

DAY = 86400.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[TrailFile]:
    with closing(TrailFile(tmp_path / "audit.sqlite", KEY, DeviceState(tmp_path), 0.0)) as file:
        yield file


def entries(file: TrailFile) -> list[Entry]:
    with reading(file.path) as found:
        return list(found)


def prune(
    file: TrailFile, *, expired: int = 0, most: int = 10**6, size: int = 10**9
) -> tuple[int, list[int]]:
    """Remove what is too old or too much; how many, and the numbers of those that stay."""
    removed = file.prune(expired=expired, most_entries=most, most_bytes=size)
    return removed, [entry.seq for entry in entries(file)]


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match=f"a key of {size} bytes"):
        open_trail(tmp_path, bytes(size))


@pytest.mark.parametrize(("age_s", "stays"), [(30 * DAY - 0.01, True), (30 * DAY, False)])
@pytest.mark.parametrize("wall_s", [0.0, NOON, NOON + 2000 * DAY], ids=["1970", "now", "later"])
def test_an_entry_stays_for_its_days_whatever_the_clock_shows(
    tmp_path: Path, clock: Clock, age_s: float, stays: bool, wall_s: float
) -> None:
    with open_trail(tmp_path, days=30) as trail:
        record(trail, event(1), event(2, when=0.0))
        assert trail.prune() == 0
        clock.up += age_s
        clock.now = wall_s
        record(trail, event(3))
        assert trail.prune() == (0 if stays else 2)
        assert numbers(trail) == ([1, 2, 3] if stays else [3, "retention"])


def test_what_goes_is_the_beginning_and_the_newest_entry_always_stays(file: TrailFile) -> None:
    assert prune(file, expired=9) == (0, [])
    file.append([event(1)])
    assert prune(file, expired=9) == (0, [1])
    file.append([event(n) for n in (2, 3, 4)])
    assert prune(file, expired=1) == (1, [2, 3, 4, 5])
    *_, newest, retention = entries(file)
    assert (retention.kind, retention.profile_id) == ("retention", None)
    assert prune(file, expired=9) == (3, [5, 6])
    assert entries(file)[-1].details() == {
        "first": 2, "last": 4, "count": 3, "hash": newest.mac.hex()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("most", "removed"),
    [(101, 0), (100, 0), (99, 6), (50, 53), (1, 99), (0, 99)],  # a twentieth more than it must be
)
def test_above_the_limit_of_entries_a_twentieth_more_goes(
    file: TrailFile, most: int, removed: int
) -> None:
    file.append([event(n) for n in range(100)])
    stay = list(range(removed + 1, 101 + (removed > 0)))
    assert prune(file, most=most) == (removed, stay)


def test_above_the_limit_of_space_a_twentieth_more_goes(file: TrailFile) -> None:
    page, removed = 4096, 0
    for number in range(60):
        file.append([Event(EventKind.CHANGE, {"text": "x" * 200, "more": "y" * 200})] * 9)
        size = file.path.stat().st_size
        removed, stay = prune(file, size=50 * page)
        assert bool(removed) == (size > 50 * page)
        if removed:
            assert size == 51 * page
            count = 9 * (number + 1)
            assert removed == count - int(count * 50 / 51 * 0.95)
            assert stay == list(range(removed + 1, count + 2))
            break
    assert removed
    assert file.path.stat().st_size > 50 * page  # what was freed counts as room
    assert prune(file, size=50 * page)[0] == 0


def test_both_limits_count(file: TrailFile) -> None:
    file.append([event(n) for n in range(100)])
    assert prune(file, expired=30, most=80)[0] == 30
    assert prune(file, expired=31, most=30)[0] == 71 - 28


def test_a_trail_without_entries_is_not_made_for_the_sake_of_retention(
    tmp_path: Path, clock: Clock
) -> None:
    with open_trail(tmp_path) as trail:
        trail.work()
        assert trail.prune() == 0
        assert not trail.path.exists()
        record(trail, event(1))
        assert trail.prune() == 0
        record(trail, event(2))
    clock.up += 366 * DAY
    with open_trail(tmp_path) as trail:  # one that is there is opened for it
        assert trail.prune() == 1
        assert trail.verify().intact
    alter(tmp_path, "DELETE FROM entry WHERE seq = 3")
    assert "entry 3 is missing at the end" in findings(tmp_path)[-1]


def test_retention_comes_at_once_and_then_every_hour(tmp_path: Path, clock: Clock) -> None:
    with open_trail(tmp_path, most_entries=2) as trail:
        for up, left in ((0.0, 2), (3599.9, 5), (3600.0, 2), (3601.0, 5)):
            clock.up = 100.0 + up
            for number in range(3):
                trail.record(event(number))
            trail.work()
            assert len(trail.entries()) == left


def test_what_cannot_be_written_is_said_once_and_tried_again_every_five_seconds(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    trail = open_trail(tmp_path)
    record(trail, event(0))
    trail.record(event(1))

    def said() -> list[str]:
        lines = [each.getMessage().replace(str(tmp_path), "") for each in caplog.records]
        caplog.clear()
        return lines

    busy = "/audit.sqlite has been in use by another process for too long: try again"
    with closing(sqlite3.connect(trail.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for up, lines in (
            (0.0, [f"cannot write the audit trail; access goes on without it: {busy}"]),
            (5.0, []),
        ):
            clock.up = 100.0 + up
            trail.work()
            assert said() == lines
            assert trail.problem == str(tmp_path) + busy
        trail.close()
        assert said() == [f"not in the audit trail: 1 events: {busy}"]
    for up, left in ((9.9, [0]), (10.0, [0, 1])):
        clock.up = 100.0 + up
        trail.work()
        assert numbers(trail) == left
    assert trail.problem is None
    assert said() == ["the audit trail can be written again"]
    trail.work()
    trail.close()
    trail.close()
    assert said() == []


def test_no_head_is_made_up_of_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with open_trail(tmp_path) as trail:
        record(trail, event(1))
        assert trail.head() == Head(1, trail.entries()[0].mac)
        trail.path.write_bytes(b"nothing of the kind" * 99)
    with open_trail(tmp_path) as trail:
        assert trail.head() is None


def test_what_is_missing_is_not_made_good_by_looking_or_waiting(tmp_path: Path) -> None:
    trail = open_trail(tmp_path)
    record(trail, event(1))
    alter(tmp_path, "DELETE FROM entry", file="device.sqlite")
    for _ in range(2):
        trail.work()
        assert trail.verify().findings == (
            "the head that is kept apart from the trail is missing or altered",
        )
    trail.close()
    with open_trail(tmp_path) as again:
        assert again.head() == Head(1, again.entries()[0].mac)
        again.flush()
        assert not again.verify().intact


def test_a_slower_process_does_not_put_an_older_head_over_a_newer_one(tmp_path: Path) -> None:
    state = Interrupted(tmp_path)
    slow, quick = open_trail(tmp_path, state=state), open_trail(tmp_path)
    record(slow, event(1))

    def meanwhile() -> None:
        with pytest.raises(StoreError, match="in use by another process"):
            record(quick, event(3))

    slow.record(event(2))
    state.before_put = meanwhile
    slow.flush()
    assert state.before_put is None
    quick.flush()
    assert numbers(slow) == [1, 2, 3]
    alter(tmp_path, "DELETE FROM entry WHERE seq = 3")
    assert findings(tmp_path) == (
        "entry 3 is missing at the end: the head kept apart from the trail is entry 3",
    )


def test_a_trail_that_grows_while_it_is_verified_is_intact(tmp_path: Path) -> None:
    state = Interrupted(tmp_path)
    write(tmp_path, 1)
    with open_trail(tmp_path, state=state) as trail:
        state.before_get = lambda: write(tmp_path, 2)
        assert trail.verify().findings == ()
    assert state.before_get is None


def test_what_is_lost_while_others_are_written_is_counted_next_time(
    tmp_path: Path, clock: Clock
) -> None:
    state = Interrupted(tmp_path)
    trail = open_trail(tmp_path, state=state)
    for number in range(4097):
        trail.record(event(number, "denied"))
    state.before_get = lambda: trail.record(event(5000, "denied"))
    clock.now = NOON + 5001
    trail.flush()
    trail.flush()
    *_, first, second = trail.entries()
    assert first.details() == {"count": 1, "since": utc(NOON + 4096)}
    assert second.details() == {"count": 1, "since": utc(NOON + 5001)}
    trail.flush()
    assert len(trail.entries()) == 4098
    trail.close()


def test_what_makes_room_while_it_is_written_is_not_lost(tmp_path: Path) -> None:
    state = Interrupted(tmp_path)
    trail = open_trail(tmp_path, state=state)
    for number in range(4096):
        trail.record(event(number, "denied"))
    state.before_get = lambda: trail.record(event(5000))
    trail.flush()
    assert numbers(trail) == [*range(4096)]
    trail.flush()
    assert numbers(trail) == [*range(4096), 5000]
    trail.close()


@pytest.mark.parametrize(
    ("kind", "detail", "urgent"),
    [
        (EventKind.DECISION, {"outcome": "granted"}, True),
        (EventKind.DECISION, {"outcome": "denied"}, False),
        (EventKind.DECISION, {}, False),
        (EventKind.COMMAND_REFUSED, {"outcome": "granted"}, False),
        (EventKind.COMMAND, {}, True),
        (EventKind.DURESS, {}, True),
    ],
)
def test_what_a_stranger_cannot_cause_is_written_soon(
    tmp_path: Path, kind: EventKind, detail: dict[str, str], urgent: bool
) -> None:
    woken: list[int] = []
    trail = AuditTrail(tmp_path, KEY, DeviceState(tmp_path), AuditConfig(),
                       on_urgent=lambda: woken.append(1))  # fmt: skip
    trail.record(Event(kind, detail))
    assert len(woken) == urgent
    trail.close()


@pytest.fixture
def locks(monkeypatch: pytest.MonkeyPatch) -> tuple[ContendedLock, ContendedLock]:
    """The locks of the queue and of the file, of a trail that is opened after this."""
    queue, file = ContendedLock(), ContendedLock()
    made = SimpleNamespace(Lock=lambda: queue, RLock=lambda: file)
    monkeypatch.setattr("edge.store.audit.threading", made)
    return queue, file


def test_threads_take_turns_with_the_queue(
    tmp_path: Path, locks: tuple[ContendedLock, ContendedLock]
) -> None:
    queue, _ = locks
    state = Interrupted(tmp_path)
    trail = open_trail(tmp_path, state=state)
    written: list[list[object]] = []
    assert queue.holds_up(lambda: trail.record(event(1)))

    def note() -> None:
        with reading(trail.path) as found:
            written.append([entry.details()["number"] for entry in found])

    # Before it looks at what waits, and before it takes away what it has written.
    assert queue.holds_up(trail.flush, note)
    state.before_get = lambda: queue.hold(until=note)
    trail.record(event(2))
    trail.flush()
    assert written == [[], [1, 2]]
    trail.close()


@pytest.mark.parametrize(
    "action",
    [
        AuditTrail.flush,
        AuditTrail.prune,
        AuditTrail.head,
        AuditTrail.entries,
        AuditTrail.verify,
        AuditTrail.close,
    ],
)
def test_threads_take_turns_with_the_file(
    tmp_path: Path,
    locks: tuple[ContendedLock, ContendedLock],
    action: Callable[[AuditTrail], object],
) -> None:
    _, file = locks
    trail = open_trail(tmp_path)
    assert file.holds_up(lambda: action(trail))
    assert not file.holds_up(lambda: trail.record(event(1)))
    trail.close()


def test_a_file_is_closed_once_and_in_its_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: tuple[ContendedLock, ContendedLock]
) -> None:
    closed: list[bool] = []
    close = TrailFile.close

    def noted(trail: TrailFile) -> None:
        closed.append(locks[1].mine)
        close(trail)

    monkeypatch.setattr(TrailFile, "close", noted)
    trail = open_trail(tmp_path)
    record(trail, event(1))
    trail.path.rename(tmp_path / "away")
    record(trail, event(2))
    assert closed == [True]
    trail.close()
    trail.close()
    assert closed == [True, True]
    assert not is_open(trail.path)


def test_what_waits_is_written_at_the_end(tmp_path: Path) -> None:
    with open_trail(tmp_path) as trail:
        trail.record(event(1))
        assert not trail.path.exists()
    assert numbers(trail) == [1]
    assert trail.path.read_bytes()[68:72] == b"EdVA"
    assert findings(tmp_path) == ()


def test_of_the_last_number_there_is_no_next(tmp_path: Path) -> None:
    write(tmp_path, 1)
    alter(tmp_path, "UPDATE entry SET seq = 999999999999998")
    write(tmp_path, 2)
    with open_trail(tmp_path) as trail:
        assert str(trail.head()).startswith("999999999999999:")
        with pytest.raises(StoreError, match="damaged: move it away to begin a new audit trail"):
            record(trail, event(3))
        assert [entry.seq for entry in trail.entries()] == [999999999999998, 999999999999999]


def test_an_entry_without_a_mac_stops_nobody(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    alter(tmp_path, "UPDATE entry SET mac = 'text' WHERE seq = 2")
    write(tmp_path, 3)
    assert findings(tmp_path) == ("entry 2 is not as it was written",)


def test_another_process_is_waited_for_five_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[object] = []
    connect = sqlite3.connect

    def noted(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        if str(tmp_path) in str(args):
            waits.append(kwargs["timeout"])
        opened: sqlite3.Connection = connect(*args, **kwargs)
        return opened

    monkeypatch.setattr(sqlite3, "connect", noted)
    state = DeviceState(tmp_path)
    with AuditTrail(tmp_path, KEY, state, AuditConfig()) as trail:
        record(trail, event(1))
        trail.entries()
    assert waits == [5.0, 5.0, 5.0]

"""The audit trail: what it keeps, what it says about tampering, and when nothing can be written."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.config import AuditConfig
from edge.errors import StoreError
from edge.service.decisions import audit_event_of
from edge.store.audit import AuditTrail
from edge.store.audit_chain import Head
from edge.store.audit_file import TrailFile
from edge.store.device_state import DeviceState
from edge.types import (
    AccessDecision,
    Confidence,
    Event,
    EventKind,
    Outcome,
    Quality,
    ReasonCode,
)
from edge.types.decision import utc
from tests.unit.trails import (
    KEY,
    NOON,
    Clock,
    alter,
    event,
    findings,
    open_trail,
    record,
    write,
)

DAY = 86400.0


def prune_to(folder: Path, expired: int) -> int:
    with closing(TrailFile(folder / "audit.sqlite", KEY, DeviceState(folder), 0.0)) as file:
        removed = file.prune(expired=expired, most_entries=10**6, most_bytes=10**9)
        file.anchor()
    return removed


def test_what_is_recorded_is_kept_in_order_and_verifies(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    head = write(tmp_path, 3)
    with open_trail(tmp_path) as trail:
        entries = trail.entries()
        assert [entry.details()["number"] for entry in entries] == [1, 2, 3]
        assert [entry.seq for entry in entries] == [1, 2, 3]
        assert entries[0].time_us == round((NOON + 1) * 1e6)
        assert entries[0].profile_id == "profile-1"
        verdict = trail.verify(Head.parse(str(head)))
    assert verdict.intact
    assert (verdict.entries, verdict.first, verdict.head) == (3, 1, head)
    assert stat.S_IMODE((tmp_path / "audit.sqlite").stat().st_mode) == 0o600


def test_nothing_is_written_before_it_is_time(tmp_path: Path) -> None:
    woken = threading.Event()
    state = DeviceState(tmp_path)
    trail = AuditTrail(tmp_path, KEY, state, AuditConfig(), on_urgent=woken.set)
    trail.record(event(1, "denied"))
    trail.record(Event(EventKind.COMMAND_REFUSED))
    assert not woken.is_set()
    assert trail.entries() == []
    trail.record(event(2, "granted"))
    assert woken.is_set()
    trail.work()
    assert [entry.kind for entry in trail.entries()] == ["decision", "command_refused", "decision"]
    trail.close()
    assert findings(tmp_path) == ()


def test_odd_events_are_kept_too(tmp_path: Path) -> None:
    with open_trail(tmp_path) as trail:
        trail.record(Event(EventKind.CHANGE, {"\ud800": "\0"}, "\ud800\0é" * 99, float("nan")))
        trail.flush()
        assert trail.verify().intact


# Each of these alters a trail of the entries 1 to 9, and is found at the place that it names.
EDITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "detail": (lambda f: alter(f, "UPDATE entry SET detail = '' WHERE seq = 4"), "entry 4 is not"),
    "time": (lambda f: alter(f, "UPDATE entry SET time_us = 1 WHERE seq = 4"), "entry 4 is not"),
    "person": (lambda f: alter(f, "UPDATE entry SET profile = NULL WHERE seq = 4"), "entry 4 is"),
    "mac": (lambda f: alter(f, "UPDATE entry SET mac = zeroblob(32) WHERE seq = 4"), "entry 4 is"),
    "type": (lambda f: alter(f, "UPDATE entry SET mac = 1, kind = 1 WHERE seq = 4"), "entry 4 is"),
    "middle": (lambda f: alter(f, "DELETE FROM entry WHERE seq IN (4, 5)"), "entries 4 to 5 are"),
    "one": (lambda f: alter(f, "DELETE FROM entry WHERE seq = 4"), "entry 4 is missing"),
    "beginning": (lambda f: alter(f, "DELETE FROM entry WHERE seq < 4"), "before 4 are missing"),
    "end": (lambda f: alter(f, "DELETE FROM entry WHERE seq > 4"), "entries 5 to 9 are missing at"),
    "everything": (lambda f: alter(f, "DELETE FROM entry"), "entries 1 to 9 are missing at"),
    "table": (lambda f: alter(f, "DROP TABLE entry"), "entries 1 to 9 are missing at the end"),
    "file": (lambda f: (f / "audit.sqlite").unlink(), "entries 1 to 9 are missing at the end"),
    "anchor": (lambda f: alter(f, "DELETE FROM entry", file="device.sqlite"), "missing or altered"),
    "forged anchor": (
        lambda f: alter(f, "UPDATE entry SET value = replace(value, '9:', '3:')",
                        file="device.sqlite"),
        "missing or altered",
    ),
    "renumbered": (
        lambda f: [
            alter(f, statement)
            for statement in (
                "DELETE FROM entry WHERE seq = 4",
                "UPDATE entry SET seq = seq - 1 WHERE seq > 4",
            )
        ],
        "entry 4 is not as it was written",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_is_found_where_it_is(tmp_path: Path, what: str) -> None:
    write(tmp_path, *range(1, 10))
    assert findings(tmp_path) == ()
    edit, finding = EDITS[what]
    edit(tmp_path)
    found = findings(tmp_path)
    assert finding in found[0]


def test_an_older_copy_is_found(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    for name in ("audit.sqlite", "device.sqlite"):
        shutil.copy(tmp_path / name, tmp_path / f"{name}.old")
    head = write(tmp_path, 3)
    shutil.copy(tmp_path / "audit.sqlite.old", tmp_path / "audit.sqlite")
    assert findings(tmp_path) == (
        "entry 3 is missing at the end: the head kept apart from the trail is entry 3",
    )
    # Both of the same moment: only a head that was noted elsewhere tells.
    shutil.copy(tmp_path / "device.sqlite.old", tmp_path / "device.sqlite")
    assert findings(tmp_path) == ()
    assert findings(tmp_path, head) == ("entry 3 is missing at the end: the head given is entry 3",)
    write(tmp_path, 33)  # another third entry
    assert "the trail was exchanged" in findings(tmp_path, head)[0]


def test_what_was_cut_stays_known_and_no_number_is_given_twice(tmp_path: Path) -> None:
    write(tmp_path, 1, 2, 3)
    alter(tmp_path, "DELETE FROM entry WHERE seq > 1")
    write(tmp_path, 4)
    found = "entries 2 to 3 are missing, as was noticed when entry 4 was written"
    assert findings(tmp_path) == (found,)
    with open_trail(tmp_path) as trail:
        assert [entry.seq for entry in trail.entries()] == [1, 4, 5]
    (tmp_path / "audit.sqlite").unlink()
    write(tmp_path, 6)
    found = "entries 1 to 5 are missing, as was noticed when entry 6 was written"
    assert findings(tmp_path) == (found,)
    alter(tmp_path, "DELETE FROM entry", file="device.sqlite")
    write(tmp_path, 7)
    assert findings(tmp_path)[1] == "the head kept apart was missing when entry 8 was written"


def test_another_key(tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    assert findings(tmp_path, key=bytes(32))[0] == (
        "entries 1 to 2 do not verify: another key is in use"
    )


def test_old_entries_go_and_that_is_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with open_trail(tmp_path, days=30) as trail:
        for number in range(10):
            clock.up = number * 2 * DAY
            record(trail, event(number))
            assert trail.prune() == 0
        clock.up = 40 * DAY
        assert trail.prune() == 6
        assert trail.prune() == 0
        verdict = trail.verify()
        assert verdict.intact
        assert (verdict.first, verdict.head.seq, verdict.removed) == (7, 11, 6)
        # The beginning beyond that is missed.
        alter(tmp_path, "DELETE FROM entry WHERE seq = 7")
        assert trail.verify().findings == (
            "entries before 8 are missing, and retention did not remove them",
        )


def test_too_much_goes(tmp_path: Path) -> None:
    with open_trail(tmp_path, most_entries=1000) as trail:
        record(trail, *map(event, range(1500)))
        trail.work()
        assert len(trail.entries()) == 951
        assert trail.verify().intact
        assert trail.verify().removed == 550
    with open_trail(tmp_path, most_mb=1) as trail:
        change = Event(EventKind.CHANGE, {"text": "x" * 250, "more": "y" * 250})
        while trail.path.stat().st_size <= 1_000_000:
            assert trail.prune() == 0
            record(trail, *[change] * 50)
        assert trail.prune() > 0


def test_retention_across_a_gap(tmp_path: Path) -> None:
    """The entry that tells of a cut may become the oldest one."""
    write(tmp_path, 1, 2, 3)
    alter(tmp_path, "DELETE FROM entry WHERE seq = 3")
    write(tmp_path, 4)
    assert prune_to(tmp_path, 2) == 2
    assert findings(tmp_path) == ("entry 3 is missing, as was noticed when entry 4 was written",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"nothing of the kind" * 99, "damaged"), (b"SQLite format 3\0" + b"x" * 999, "damaged")],
)
def test_a_damaged_file_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, problem: str
) -> None:
    clock = Clock(monkeypatch)
    path = tmp_path / "audit.sqlite"
    path.write_bytes(content)
    trail = open_trail(tmp_path)
    trail.record(event(1))
    trail.work()
    assert trail.problem is not None
    assert problem in trail.problem
    assert path.read_bytes() == content
    with pytest.raises(StoreError, match=problem):
        trail.verify()
    path.unlink()
    clock.up += 5
    trail.work()
    assert trail.problem is None
    assert findings(tmp_path) == ()


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    alter(tmp_path, "CREATE TABLE other (x)")
    before = (tmp_path / "audit.sqlite").read_bytes()
    trail = open_trail(tmp_path)
    trail.record(event(1))
    trail.work()
    assert "another program" in str(trail.problem)
    assert (tmp_path / "audit.sqlite").read_bytes() == before


def test_what_does_not_fit_is_counted_and_the_least_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    write(tmp_path, 0)
    trail = open_trail(tmp_path)
    with closing(sqlite3.connect(tmp_path / "audit.sqlite")) as other:
        other.execute("BEGIN EXCLUSIVE")
        for number in range(5000):
            trail.record(event(number, "denied"))
        trail.record(event(5000, "granted"))
        trail.work()
        assert "in use by another process" in str(trail.problem)
        other.execute("ROLLBACK")
    clock.up += 5
    trail.work()
    assert trail.problem is None
    entries = trail.entries()
    assert len(entries) == 1 + 4096 + 1
    assert entries[-2].details()["number"] == 5000
    assert entries[-1].kind == "unwritten"
    assert entries[-1].details() == {"count": 905, "since": utc(NOON + 4096)}
    trail.close()
    assert findings(tmp_path) == ()


def test_a_file_moved_away_is_not_written_to(tmp_path: Path) -> None:
    trail = open_trail(tmp_path)
    trail.record(event(1))
    trail.flush()
    (tmp_path / "audit.sqlite").rename(tmp_path / "away")
    trail.record(event(2))
    trail.flush()
    assert [entry.kind for entry in trail.entries()] == ["tampering", "decision"]


def test_threads_record_while_it_is_written(tmp_path: Path) -> None:
    trail = open_trail(tmp_path)

    def work(base: int) -> None:
        for number in range(300):
            trail.record(event(base + number, "denied"))

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        trail.work()
    trail.close()
    with open_trail(tmp_path) as again:
        assert again.verify().intact
        numbers = [entry.details()["number"] for entry in again.entries()]
    assert len(numbers) == len(set(numbers)) == 1200
    assert [n for n in numbers if n < 1000] == sorted(n for n in numbers if n < 1000)


COLUMNS = st.sampled_from(["time_us", "kind", "profile", "detail", "mac"])
SEQ = st.integers(min_value=1, max_value=12)
TAMPERING = st.one_of(
    st.tuples(st.just("edit"), SEQ, COLUMNS,
              st.one_of(st.none(), st.integers(0, 99), st.text("ab{}"), st.binary(max_size=33))),
    st.tuples(st.just("copy"), SEQ, SEQ, COLUMNS),
    st.tuples(st.just("delete"), SEQ, SEQ, st.none()),
    st.tuples(st.just("swap"), SEQ, SEQ, st.none()),
    st.tuples(st.just("move"), SEQ, st.integers(-2, 20), st.none()),
)  # fmt: skip


def _tamper(database: sqlite3.Connection, change: tuple[Any, ...]) -> None:
    what, seq, other, value = change
    try:
        if what == "edit":
            statement = f"UPDATE entry SET {other} = ? WHERE seq = ?"  # noqa: S608
            database.execute(statement, (value, seq))
        elif what == "copy":
            theirs = f"(SELECT {value} FROM entry WHERE seq = ?)"  # noqa: S608
            statement = f"UPDATE entry SET {value} = {theirs} WHERE seq = ?"  # noqa: S608
            database.execute(statement, (other, seq))
        elif what == "delete":
            database.execute("DELETE FROM entry WHERE seq BETWEEN ? AND ?", (seq, other))
        elif what == "swap":
            database.execute("UPDATE entry SET seq = 1000 WHERE seq = ?", (seq,))
            database.execute("UPDATE entry SET seq = ? WHERE seq = ?", (seq, other))
            database.execute("UPDATE entry SET seq = ? WHERE seq = 1000", (other,))
        else:
            database.execute("UPDATE entry SET seq = ? WHERE seq = ?", (other, seq))
    except sqlite3.IntegrityError:
        pass  # the table itself does not allow it


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trail of which retention has removed the oldest entries: 4 to 12."""
    folder = tmp_path_factory.mktemp("original")
    write(folder, *range(1, 9))
    prune_to(folder, 3)
    write(folder, 10, 11, 12)
    return folder


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.lists(TAMPERING, min_size=1, max_size=4))
def test_no_tampering_goes_unnoticed(original: Path, changes: list[tuple[Any, ...]]) -> None:
    work = original / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for name in ("audit.sqlite", "device.sqlite"):
        shutil.copy(original / name, work / name)
    with closing(sqlite3.connect(work / "audit.sqlite")) as database, database:
        before = database.execute("SELECT * FROM entry ORDER BY seq").fetchall()
        for change in changes:
            _tamper(database, change)
        after = database.execute("SELECT * FROM entry ORDER BY seq").fetchall()
    same = [tuple(map(repr, row)) for row in before] == [tuple(map(repr, row)) for row in after]
    assert (findings(work) == ()) == same


def test_of_a_decision_no_name_and_no_phrase_is_kept(tmp_path: Path) -> None:
    decision = AccessDecision(
        id="8f14e45f",
        time=NOON,
        device="front-door",
        outcome=Outcome.GRANTED,
        reason=ReasonCode.RECOGNIZED,
        confidence=Confidence.HIGH,
        profile_id="profile-1",
        name="Augusta",
        phrase="open sesame",
        scores={"voice": 5.25, "voice_threshold": 3.0, "phrase": 1.0, "voice_similarity": 0.9},
        quality=Quality(-23.456, -61.0, 38.0, 0.0, 1.0),
    )
    with open_trail(tmp_path) as trail:
        trail.record(audit_event_of(decision))
        trail.flush()
        (entry,) = trail.entries()
    detail = entry.details()
    assert detail["outcome"] == "granted"
    # How near it was, for the owner: who reads the broker does not get that.
    assert (detail["voice_margin"], detail["level_dbfs"], detail["snr_db"]) == (2.25, -23.46, 38.0)
    assert "phrase_margin" not in detail
    assert (entry.profile_id, entry.time_us) == ("profile-1", round(NOON * 1e6))
    for file in tmp_path.iterdir():
        assert b"Augusta" not in file.read_bytes()
        assert b"sesame" not in file.read_bytes()

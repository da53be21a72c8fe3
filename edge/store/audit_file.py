"""The audit trail's SQLite file: appending to the chain, and removing what is old.

The chain has one order though several processes write to it: each takes the write lock, reads the
head inside, and appends. After the commit the head is anchored in `DeviceState`, a file of its
own, so that a trail whose end was cut off, or that an older copy has replaced, is behind its
anchor. A power cut between the two leaves the anchor one transaction behind, which is allowed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from edge.crypto.private_files import close_to_others, make_file
from edge.errors import StoreError
from edge.store.audit_entry import START, Entry, Head, anchor_text, read_anchor, sealed_entry
from edge.store.device_state import DeviceState
from edge.types import Detail, Event, EventKind

FILE_NAME = "audit.sqlite"
"""The file inside the state directory."""

APPLICATION_ID = 0x45645641
"""In the header of every trail ("EdVA")."""

EVERY_ENTRY = "SELECT seq, time_us, kind, profile, detail, mac FROM entry"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Iterator[Entry]]:
    """All entries in their order, one consistent view; nothing where there is no trail.

    Raises:
        StoreError: it cannot be read, or is no audit trail.
    """
    with explained(path):
        if not path.exists():
            yield iter(())
            return
        with contextlib.closing(connected(path, 5.0)) as database:
            database.execute("BEGIN")
            found = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'entry'")
            if found.fetchone()[0] == 0:
                yield iter(())
                return
            rows = database.execute(f"{EVERY_ENTRY} ORDER BY seq")
            yield (Entry(*row) for row in rows)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn whatever SQLite or the system raises into a `StoreError` that says what to do."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StoreError(f"cannot use the audit trail {path}: {reason}") from None
    except sqlite3.Error as error:
        text = str(error)
        if "locked" in text:
            advice = f"{path} has been in use by another process for too long: try again"
        elif "readonly" in text or "unable to open" in text:
            advice = f"cannot write to {path}: the file or its folder is read-only for this user"
        elif "full" in text:
            advice = f"cannot write to {path}: the disk is full"
        elif "disk I/O" in text:  # nothing is known to be damaged: a new trail would help nobody
            advice = f"cannot use the audit trail {path}: the disk failed, or may not grow the file"
        else:
            advice = (
                f"the audit trail {path} is damaged ({text}): move it away, and a new one begins,"
                " which says so"
            )
        raise StoreError(advice) from error


def connected(path: Path, busy_s: float) -> sqlite3.Connection:
    """Open an existing file; `busy_s` is how long to wait for another process, seconds."""
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw&psow=0",
        uri=True,
        timeout=busy_s,
        isolation_level=None,
        check_same_thread=False,
    )
    # See schema.open_database: a rollback journal, synced down to its removal.
    for pragma in ("synchronous = EXTRA", "secure_delete = ON", "trusted_schema = OFF"):
        database.execute(f"PRAGMA {pragma}")
    found = database.execute("PRAGMA application_id").fetchone()[0]
    if found == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        with contextlib.suppress(sqlite3.OperationalError):  # read-only, or another was quicker
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    elif found != APPLICATION_ID:
        database.close()
        raise StoreError(f"{path} is a database of another program: move it away")
    return database


def make_private(path: Path) -> None:
    """Make the file where there is none, and see that only its owner can read it."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    make_file(path)
    with contextlib.suppress(PermissionError):
        close_to_others(path)


def identity(path: Path) -> tuple[int, int]:
    """Which file a path leads to."""
    status = path.stat()
    return (status.st_dev, status.st_ino)


ANCHOR = "audit.head"
"""The name under which `DeviceState` keeps the head."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    seq     INTEGER PRIMARY KEY NOT NULL,
    time_us INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    profile TEXT,
    detail  TEXT NOT NULL,
    mac     BLOB NOT NULL
)
"""
_MAX_SEQ = 10**15


class TrailFile:
    """The file in use. One thread at a time; several processes.

    Args:
        path: the file; made if missing, private to the user.
        key: what authenticates entries, 32 bytes.
        state: where the head is anchored.
        busy_s: how long to wait for another process that writes, seconds.

    Raises:
        StoreError: it cannot be opened or made, or is no audit trail; it is then left as it is.
    """

    def __init__(self, path: Path, key: bytes, state: DeviceState, busy_s: float) -> None:
        self.path = path
        self._key = key
        self._state = state
        self._anchor_due = False
        with explained(path):
            if not path.exists() and (state.get(ANCHOR) or "0:").startswith("0:"):
                # Before there is anything to cut off: from now on a missing anchor is a finding.
                state.put(ANCHOR, anchor_text(key, Head(0, START)))
            make_private(path)
            self._database = connected(path, busy_s)
            self._known = identity(path)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @property
    def replaced(self) -> bool:
        """Whether the path leads to another file by now, or to none."""
        try:
            return identity(self.path) != self._known
        except OSError:
            return True

    def append(self, events: Sequence[Event]) -> None:
        """Write events in one transaction, durable when it returns.

        Raises:
            StoreError: they could not be written; none of them was.
        """
        with self._writing():
            head = self._continue_from(self._state.get(ANCHOR))
            for event in events:
                head = self._insert(head, event)
            self._anchor_due = True

    def prune(self, *, before_us: int, most_entries: int, most_bytes: int) -> int:
        """Remove the oldest entries, and say so in the trail.

        Args:
            before_us: entries older than this may go, Unix time in microseconds.
            most_entries: so many may stay; if there are more, a twentieth beyond them goes too,
                so that it is not for every entry again.
            most_bytes: as `most_entries`, by what the file has in use.

        Returns:
            How many went.

        Raises:
            StoreError: none was removed.
        """
        with self._writing():
            first, last, count = self._database.execute(
                "SELECT min(seq), max(seq), count(*) FROM entry"
            ).fetchone()
            if count < 2:
                return 0
            share = max(most_entries / count, 0.0)
            used = self._used_bytes()
            share = min(share, most_bytes / used if used else 1.0)
            young = self._database.execute(
                "SELECT min(seq) FROM entry WHERE time_us >= ?", (before_us,)
            ).fetchone()[0]
            until = (young if isinstance(young, int) else last) - 1
            if share < 1.0:
                keep = max(1, int(count * share * 0.95))
                until = max(until, int(last) - keep)
            until = min(until, int(last) - 1)
            if until < first:
                return 0
            gone = self._one("WHERE seq <= ? ORDER BY seq DESC LIMIT 1", until)
            head = self._continue_from(self._state.get(ANCHOR))
            removed = self._database.execute("DELETE FROM entry WHERE seq <= ?", (until,)).rowcount
            if gone is None:
                return 0
            detail: dict[str, Detail] = {
                "first": int(first),
                "last": gone.seq,
                "count": removed,
                "hash": gone.mac.hex(),
            }
            self._insert(head, Event(EventKind.RETENTION, detail))
            self._anchor_due = True
        return removed

    def head(self) -> Head:
        """The newest entry. Raises `StoreError`."""
        with explained(self.path):
            return self._head()

    def anchor(self) -> None:
        """Keep the head in the device's state, if it has moved on. Raises `StoreError`."""
        if not self._anchor_due:
            return
        # The lock keeps a slower process from putting an older head over a newer one.
        with explained(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._state.put(ANCHOR, anchor_text(self._key, self._head()))
            finally:
                self._database.execute("ROLLBACK")
        self._anchor_due = False

    def _continue_from(self, anchored: str | None) -> Head:
        """The entry to go on from; first, what is wrong with it is put on record.

        Numbers go on after the anchor, so that none is ever given to two entries.
        """
        head = self._head()
        anchor = read_anchor(self._key, anchored)
        if anchor is None:
            return self._insert(
                head, Event(EventKind.TAMPERING, {"found": head.seq, "lost": "head"})
            )
        if anchor.seq > head.seq:
            return self._insert(
                Head(anchor.seq, head.mac),
                Event(
                    EventKind.TAMPERING,
                    {"found": head.seq, "expected": anchor.seq, "lost": "entries"},
                ),
            )
        return head

    def _insert(self, head: Head, event: Event) -> Head:
        if head.seq >= _MAX_SEQ:
            raise StoreError(f"{self.path} is damaged: move it away to begin a new audit trail")
        entry = sealed_entry(self._key, head.mac, head.seq + 1, event)
        values = (entry.seq, entry.time_us, entry.kind, entry.profile_id, entry.detail, entry.mac)
        self._database.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", values)
        return Head(entry.seq, entry.mac)

    def _head(self) -> Head:
        last = self._one("ORDER BY seq DESC LIMIT 1")
        if last is None:
            return Head(0, START)
        return Head(last.seq, last.mac if isinstance(last.mac, bytes) else START)

    def _one(self, clause: str, *values: Any) -> Entry | None:
        return next(self._entries(clause, *values), None)

    def _entries(self, clause: str, *values: Any) -> Iterator[Entry]:
        for row in self._database.execute(f"{EVERY_ENTRY} {clause}", values):
            yield Entry(*row)

    def _used_bytes(self) -> int:
        pages, free, size = (
            int(self._database.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with explained(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.execute(_SCHEMA)
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


def removed_before(entries: Iterable[Entry], first: Entry) -> bytes | None:
    """The MAC of the entry before the first one, as retention put it on record when it removed it.

    None where retention has removed nothing there.
    """
    last = first.seq - 1
    if first.kind == EventKind.TAMPERING.value:
        last = first.details().get("found", last)
    found = None
    for entry in entries:
        if entry.kind == EventKind.RETENTION.value:
            detail = entry.details()
            if detail.get("last") == last:
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    found = bytes.fromhex(detail["hash"])
    return found

"""The audit trail's SQLite file: appending to the chain, and removing what is old.

Several processes write: each takes the write lock, reads the head inside, and appends. After the
commit the head is anchored in `DeviceState`, a file of its own, so that a trail whose end was cut
off, or that an older copy has replaced, is behind its anchor. A power cut between the two leaves
the anchor one transaction behind, which is allowed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge.errors import StoreError
from edge.store.audit_chain import START, Entry, Head, anchor_text, read_anchor, sealed_entry
from edge.store.device_state import FILE_NAME as STATE_FILE
from edge.store.device_state import DeviceState
from edge.store.sqlite import Database, FileKind, make_private
from edge.types import Detail, Event, EventKind

FILE_NAME = "audit.sqlite"

ANCHOR = "audit.head"

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
_MAX_SEQ = 10**15 - 1
"""Of 15 digits, as `Head.parse` reads them."""
_EVERY_ENTRY = "SELECT seq, time_us, kind, profile, detail, mac FROM entry"
_KIND = FileKind(
    "audit trail",
    remedy="move it away, and a new one begins, which says so",
    application_id=0x45645641,  # "EdVA"
)


@contextlib.contextmanager
def reading(path: Path, *, newest_first: bool = False) -> Iterator[Iterator[Entry]]:
    """All entries in order, one consistent view; none without a trail. Raises `StoreError`."""
    with _KIND.errors(path):
        if not path.exists():
            yield iter(())
            return
        with contextlib.closing(Database(path, _KIND)) as database, database.reading():
            if "entry" not in database.tables:
                yield iter(())
                return
            order = "DESC" if newest_first else "ASC"
            rows = database.execute(f"{_EVERY_ENTRY} ORDER BY seq {order}")
            yield (Entry(*row) for row in rows)


class TrailFile:
    """The file in use, made if missing, for one thread, several processes. Raises `StoreError`.

    Attributes:
        older: the file that was found to be removed or older than another, if any.
    """

    def __init__(self, path: Path, key: bytes, state: DeviceState, busy_s: float) -> None:
        self.path = path
        self._key = key
        self._state = state
        self._anchor_due = False
        self.older: str | None = None
        with _KIND.errors(path):
            if not path.exists() and (state.get(ANCHOR) or "0:").startswith("0:"):
                # Before there is anything to cut off: from now on a missing anchor is a finding.
                state.put(ANCHOR, anchor_text(key, Head(0, START)))
            make_private(path)
            self._database = Database(path, _KIND, busy_s)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def replaced(self) -> bool:
        """Whether the path leads to another file by now, or to none."""
        return self._database.replaced

    def append(self, events: Sequence[Event]) -> None:
        """Write events in one transaction, all or none, durable when it returns."""
        with self._writing():
            head = self._continue()
            for event in events:
                head = self._insert(head, event)
            self._anchor_due = True

    def prune(self, *, expired: int, most_entries: int, most_bytes: int) -> int:
        """Remove the oldest entries, and record that in the trail; how many. Raises `StoreError`.

        Entries up to number `expired` go. Above `most_entries` or `most_bytes`, a twentieth more
        goes, so that it is not for every entry again.
        """
        with self._writing():
            first, last, count = self._database.execute(
                "SELECT min(seq), max(seq), count(*) FROM entry"
            ).fetchone()
            if not count:
                return 0
            page_size, pages, free = map(
                self._database.pragma, ("page_size", "page_count", "freelist_count")
            )
            share = min(most_entries / count, most_bytes / ((pages - free) * page_size))
            until = expired
            if share < 1.0:
                until = max(until, last - int(count * share * 0.95))
            until = min(until, last - 1)  # the newest one stays
            gone = self._one("WHERE seq <= ? ORDER BY seq DESC LIMIT 1", until)
            if gone is None:
                return 0
            head = self._continue()
            removed = self._database.execute("DELETE FROM entry WHERE seq <= ?", (until,)).rowcount
            detail: dict[str, Detail] = {
                "first": first,
                "last": gone.seq,
                "count": removed,
                "hash": gone.mac.hex(),
            }
            self._insert(head, Event(EventKind.RETENTION, detail))
            self._anchor_due = True
        return removed

    def head(self) -> Head:
        """The newest entry. Raises `StoreError`."""
        with _KIND.errors(self.path):
            return self._head()

    def anchor(self) -> None:
        """Keep the head in the device's state, if it has moved on. Raises `StoreError`."""
        if not self._anchor_due:
            return
        # The lock keeps a slower process from putting an older head over a newer one.
        with self._database.locked():
            self._state.put(ANCHOR, anchor_text(self._key, self._head()))
        self._anchor_due = False

    def _continue(self) -> Head:
        """The entry to continue from, after recording its faults; no number is given twice."""
        head = self._head()
        anchor = read_anchor(self._key, self._state.get(ANCHOR))
        detail: dict[str, Detail]
        if anchor is None:
            self.older = STATE_FILE
            detail = {"found": head.seq, "lost": "head"}
            return self._insert(head, Event(EventKind.TAMPERING, detail))
        if anchor.seq > head.seq:
            self.older = FILE_NAME
            detail = {"found": head.seq, "expected": anchor.seq, "lost": "entries"}
            return self._insert(Head(anchor.seq, head.mac), Event(EventKind.TAMPERING, detail))
        return head

    def _insert(self, head: Head, event: Event) -> Head:
        if head.seq >= _MAX_SEQ:
            raise StoreError(f"{self.path} is damaged: move it away to begin a new audit trail")
        entry = sealed_entry(self._key, head.mac, head.seq + 1, event)
        values = (*entry.content(), entry.mac)
        self._database.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", values)
        return Head(entry.seq, entry.mac)

    def _head(self) -> Head:
        last = self._one("ORDER BY seq DESC LIMIT 1")
        if last is None:
            return Head(0, START)
        return Head(last.seq, last.mac if isinstance(last.mac, bytes) else START)

    def _one(self, clause: str, *values: Any) -> Entry | None:
        row = self._database.execute(f"{_EVERY_ENTRY} {clause}", values).fetchone()
        return None if row is None else Entry(*row)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._database.writing():
            self._database.execute(_SCHEMA)
            yield

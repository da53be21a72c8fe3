"""Opening the audit trail's file: made private, recognised, its faults explained."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge.errors import StoreError
from edge.store.audit_entry import Entry
from edge.store.private import close_to_others, make_file

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

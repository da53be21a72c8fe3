"""The first bytes of a database file, looked at before SQLite is let near it."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from edge.errors import StoreError

APPLICATION_ID = 0x45645643
"""In the header of every store ("EdVC"), which tells it from any other SQLite database."""

SCHEMA_VERSION = 3
"""The format; 2 added `sample.adapted`, 3 sealed everything."""

SIGNATURES = "the signature store"
"""What the file is, for people."""
_MAGIC = b"SQLite format 3\x00"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_MOST_RECORDS = 65536


def inspect_header(path: Path) -> None:
    """Look at the first 100 bytes of the file (https://sqlite.org/fileformat.html) without SQLite.

    SQLite itself may write when it opens a database, for one to roll back a journal, and a
    database that is not ours must stay as it is. Closing the file here drops any POSIX lock that
    this process holds on it, so no transaction of this process may be open meanwhile.

    Raises:
        OSError: it cannot be read.
        StoreError: it is not a store, or one that a newer version wrote.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise StoreError(f"{path} is not a file: move it away, signatures are kept under that name")
    with path.open("rb") as file:
        header = file.read(100)
    try:
        _check_header(path, header)
    except StoreError:
        # A power cut may have torn the very page; then the journal has it as it was.
        original = _journalled_header(path)
        if original is None:
            raise
        _check_header(path, original)


def _check_header(path: Path, header: bytes) -> None:
    if not header:
        raise StoreError(
            f"the signature store {path} is empty: put a backup in its place,"
            " or remove the file to start anew"
        )
    if not header.startswith(_MAGIC[: len(header)]):
        raise StoreError(
            f"{path} is not a signature store and was left as it is: name another file,"
            " or move this one away"
        )
    if len(header) < 100:
        raise StoreError(damaged(path, f"it ends after {len(header)} bytes"))
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreError(
            f"{path} is an SQLite database of another program and was left as it is:"
            " name another file, or move this one away"
        )
    version = int.from_bytes(header[60:64], "big")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"the signature store {path} was written by a newer version of Edge Voice"
            f" (format {version}, this one knows {SCHEMA_VERSION}): upgrade Edge Voice"
        )
    if version < 1:
        raise StoreError(damaged(path, f"its format is {version}"))


def _journalled_header(path: Path) -> bytes | None:
    """The header that rolling back an interrupted write will restore; None when there is none.

    Only the journal's first segment is searched, which is all of it for writes as small as ours
    (https://sqlite.org/fileformat.html#the_rollback_journal).
    """
    try:
        with path.with_name(path.name + "-journal").open("rb") as file:
            start = file.read(28)
            if len(start) < 28 or not start.startswith(_JOURNAL_MAGIC):
                return None
            records, _, _, sector, page = struct.unpack(">5I", start[8:])
            if not (32 <= sector <= 65536 and 512 <= page <= 65536):
                return None
            for record in range(min(records, _MOST_RECORDS)):
                file.seek(sector + record * (page + 8))
                content = file.read(104)
                if len(content) < 104:
                    return None
                if content[:4] == b"\x00\x00\x00\x01":
                    return content[4:]
    except OSError:
        pass
    return None


def damaged(path: Path, finding: str, what: str = SIGNATURES) -> str:
    """What to say of a file that is damaged; `what` it is, for people."""
    return (
        f"{what} {path} is damaged ({finding}): put a backup in its place,"
        " or move it away to start anew"
    )


_log = logging.getLogger(__name__)


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All of it is there afterwards, or nothing."""
    # Taking the write lock at once, not at the first write, cannot deadlock two writers.
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def erase(database: sqlite3.Connection, path: Path) -> Iterator[None]:
    """A transaction after which the file is rebuilt, and its journal overwritten.

    A rollback journal holds the pages as they were before, and is normally just unlinked. Here it
    stays until it is overwritten: should power fail meanwhile, it is found by `finish_erasing`.
    """
    database.execute("PRAGMA journal_mode = PERSIST")
    try:
        with transaction(database):
            yield
        _scrub(database, path)
    finally:
        database.execute("PRAGMA journal_mode = DELETE")


def finish_erasing(database: sqlite3.Connection, path: Path) -> None:
    """Do what a power cut left undone of an earlier `erasing`; normally there is nothing."""
    if not _journal(path).exists():
        return
    try:
        database.execute("PRAGMA journal_mode = PERSIST")
        try:
            # It may be the journal of another process in its work: that goes with the lock.
            database.execute("BEGIN IMMEDIATE")
            left = _journal(path).exists()
            database.execute("ROLLBACK")
            if left:
                _scrub(database, path)
        finally:
            database.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        _log.warning("%s: remains of what was deleted may be left: %s", path, error)


def _scrub(database: sqlite3.Connection, path: Path) -> None:
    """Best effort: the rows are deleted already, and a full disk must not deny that."""
    failures: list[Exception] = []
    try:
        database.execute("VACUUM")
    except sqlite3.Error as error:
        # SQLite has overwritten the deleted rows already (secure_delete): the rest is tidying.
        failures.append(error)
    try:
        # The write lock keeps other processes from beginning a journal of theirs meanwhile.
        database.execute("BEGIN IMMEDIATE")
        try:
            with _journal(path).open("r+b") as file:
                file.write(bytes(os.fstat(file.fileno()).st_size))
                file.flush()
                os.fsync(file.fileno())
        finally:
            database.execute("ROLLBACK")
    except FileNotFoundError:  # another process has been here
        pass
    except (sqlite3.Error, OSError) as error:
        failures.append(error)
    if failures:
        _log.warning("%s: remains of what was deleted may be left: %s", path, failures[0])


def _journal(path: Path) -> Path:
    return path.with_name(path.name + "-journal")

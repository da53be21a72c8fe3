"""Erasing for good: what was removed or replaced is in no file afterwards.

What a flash chip keeps of overwritten sectors is out of reach from here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

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
def erasing(database: sqlite3.Connection, path: Path) -> Iterator[None]:
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

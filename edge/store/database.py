"""The store's file in use: one connection, its transactions, and erasing for good."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge.errors import StoreError
from edge.store import schema

_ONE_AT_A_TIME = threading.RLock()
"""Held by every access of this process to any store; why: `schema.inspect_header`."""

_log = logging.getLogger(__name__)


class StoreFile:
    """A store's SQLite file.

    Every access of this process takes its turn, from whichever thread. A file that is put in the
    store's place is noticed by `version` and read from then on.

    Args:
        path: the file; made if missing.
        busy_s: how long to wait for a writer in another process, seconds.

    Raises:
        StoreError: it cannot be opened, is damaged, or is not a store; it is then left as it is.
    """

    def __init__(self, path: Path, busy_s: float = 5.0) -> None:
        self.path = path
        self._busy_s = busy_s
        with _ONE_AT_A_TIME:
            self._database = self._open()
            self._known = self._identity()
        self._closed = False
        self._reopened = 0

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        with _ONE_AT_A_TIME:
            if not self._closed:
                self._closed = True
                self._database.close()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement; to be used within `reading`, `writing` or `erasing`."""
        return self._database.execute(statement, values)

    def version(self) -> tuple[int, int, int]:
        """A cheap mark of what the file holds, to be compared with an earlier one for equality.

        Raises:
            StoreError: the file is gone, or another one in its place is no store.
        """
        with _ONE_AT_A_TIME, schema.translated(self.path):
            self._follow_file()
            version = self._database.execute("PRAGMA data_version").fetchone()[0]
            return (self._reopened, int(version), self._database.total_changes)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of all tables; inside a write, a part of it."""
        with _ONE_AT_A_TIME, schema.translated(self.path):
            if self._database.in_transaction:
                yield self._database
                return
            self._database.execute("BEGIN")
            try:
                yield self._database
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is there afterwards, or nothing."""
        with _ONE_AT_A_TIME, schema.translated(self.path):
            # Taking the write lock at once, not at the first write, cannot deadlock two writers.
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def erasing(self) -> Iterator[sqlite3.Connection]:
        """A write that removes signatures: rebuilds the file, and overwrites its journal after.

        A rollback journal holds the pages as they were before; it is normally just unlinked.
        """
        with _ONE_AT_A_TIME:
            with schema.translated(self.path):
                self._database.execute("PRAGMA journal_mode = PERSIST")
            try:
                with self.writing() as database:
                    yield database
                self._scrub()
            finally:
                with schema.translated(self.path):
                    self._database.execute("PRAGMA journal_mode = DELETE")

    def _scrub(self) -> None:
        """Best effort: the signature is deleted already, and a full disk must not deny that."""
        journal = self.path.with_name(self.path.name + "-journal")
        try:
            self._database.execute("VACUUM")
            # The write lock keeps other processes from beginning a journal of theirs meanwhile.
            self._database.execute("BEGIN IMMEDIATE")
            try:
                with journal.open("r+b") as file:
                    file.write(bytes(os.fstat(file.fileno()).st_size))
                    file.flush()
                    os.fsync(file.fileno())
            finally:
                self._database.execute("ROLLBACK")
        except (sqlite3.Error, OSError) as error:
            _log.warning("%s: remains of what was deleted may be left: %s", self.path, error)

    def _open(self) -> sqlite3.Connection:
        database = schema.open_database(self.path)
        database.execute(f"PRAGMA busy_timeout = {round(self._busy_s * 1000)}")
        return database

    def _identity(self) -> tuple[int, int]:
        status = self.path.stat()
        return (status.st_dev, status.st_ino)

    def _follow_file(self) -> None:
        try:
            if self._identity() == self._known:
                return
        except OSError:
            raise StoreError(
                f"the signature store {self.path} has been removed: put it back,"
                " or restart to begin with an empty one"
            ) from None
        database = self._open()
        self._database.close()
        self._database = database
        self._known = self._identity()
        self._reopened += 1
        _log.warning("%s was replaced by another file: reading that one now", self.path)

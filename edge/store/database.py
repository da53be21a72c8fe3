"""The store's file in use: one connection, its transactions, and its keys as they change."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge.crypto.keys import KeySources
from edge.errors import StoreError
from edge.store import erasing, schema
from edge.store.header import damaged
from edge.store.vault import Vault

_ONE_AT_A_TIME = threading.RLock()
"""Held by every access of this process to any store; why: `header.inspect_header`."""

_log = logging.getLogger(__name__)


class StoreFile:
    """A store's SQLite file.

    Every access of this process takes its turn, from whichever thread. A file that is put in the
    store's place is noticed by `version` and read from then on, and so is a change of its keys.

    Args:
        path: the file; made if missing.
        busy_s: how long to wait for a writer in another process, seconds.
        sources: where its key may be.

    Attributes:
        vault: its secrets, to be used within `reading`, `writing` or `erasing`.

    Raises:
        KeyFault: its key is not there; nothing was changed.
        StoreError: it cannot be opened, is damaged, or is not a store; it is then left as it is.
    """

    def __init__(self, path: Path, busy_s: float, sources: KeySources) -> None:
        self.path = path
        self.sources = sources
        self._busy_s = busy_s
        with _ONE_AT_A_TIME:
            self._database, self.vault = self._open()
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

    def version(self) -> tuple[int, int]:
        """A cheap mark of the profiles in the file, to be compared with an earlier one.

        Raises:
            StoreError: the file is gone, or another one in its place is no store.
        """
        with _ONE_AT_A_TIME, schema.translated(self.path):
            self._follow_file()
            row = self._database.execute("SELECT number FROM revision").fetchone()
            if row is None:
                raise StoreError(damaged(self.path, "its revision is missing"))
            return (self._reopened, int(row[0]))

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of all tables; inside a write, a part of it."""
        with _ONE_AT_A_TIME, schema.translated(self.path):
            if self._database.in_transaction:
                yield self._database
                return
            self._database.execute("BEGIN")
            try:
                self._follow_keys()
                yield self._database
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is there afterwards, or nothing."""
        with _ONE_AT_A_TIME, schema.translated(self.path), erasing.transaction(self._database):
            self._follow_keys()
            yield self._database

    @contextlib.contextmanager
    def erasing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that removes or replaces what must not be found in any file afterwards."""
        with _ONE_AT_A_TIME, schema.translated(self.path), self._erasing():
            self._follow_keys()
            yield self._database

    def _erasing(self) -> contextlib.AbstractContextManager[None]:
        return erasing.erasing(self._database, self.path)

    def _open(self) -> tuple[sqlite3.Connection, Vault]:
        database, vault = schema.open_database(self.path, self.sources)
        database.execute(f"PRAGMA busy_timeout = {round(self._busy_s * 1000)}")
        return database, vault

    def _identity(self) -> tuple[int, int]:
        status = self.path.stat()
        return (status.st_dev, status.st_ino)

    def _follow_keys(self) -> None:
        """Another process may have rotated the data key, or locked the store with another key."""
        row = self._database.execute("SELECT wrapped FROM keyring").fetchone()
        if row is None or row[0] != self.vault.lock.wrapped:
            self.vault = Vault.of(self._database, self.path, self.sources)
            _log.info("%s: its keys were changed by another process", self.path)

    def _follow_file(self) -> None:
        try:
            if self._identity() == self._known:
                return
        except OSError:
            raise StoreError(
                f"the signature store {self.path} has been removed: put it back,"
                " or restart to begin with an empty one"
            ) from None
        database, vault = self._open()
        self._database.close()
        self._database, self.vault = database, vault
        self._known = self._identity()
        self._reopened += 1
        _log.warning("%s was replaced by another file: reading that one now", self.path)

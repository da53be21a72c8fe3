"""What the device itself must not forget over a restart: counters and small texts, not people."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from edge.crypto.private_files import make_file
from edge.errors import StoreError
from edge.store.sealed_file import translated
from edge.store.sqlite import damaged

FILE_NAME = "device.sqlite"
"""The file inside the state directory."""

_MAX_TEXT = 65536
_WHAT = "the device's memory of counters and lock-outs"
_SCHEMA = "CREATE TABLE IF NOT EXISTS entry (name TEXT PRIMARY KEY NOT NULL, value NOT NULL)"


class DeviceState:
    """Named counters and texts in one small SQLite file, each write durable when it returns.

    Any thread may use it. All methods raise `StoreError` when the file cannot be used.

    Args:
        state_directory: the folder; made if missing, private to the user.
        busy_s: how long to wait for another process that writes, seconds.

    Raises:
        StoreError: the file cannot be opened or made, or is damaged.
    """

    def __init__(self, state_directory: Path, busy_s: float = 5.0) -> None:
        self.path = state_directory / FILE_NAME
        self._lock = threading.Lock()
        with translated(self.path, _WHAT):
            try:
                state_directory.mkdir(parents=True, mode=0o700, exist_ok=True)
                make_file(self.path)  # private before anything is in it
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise StoreError(f"cannot open {self.path}: {reason}") from None
            self._database = sqlite3.connect(
                self.path, timeout=busy_s, isolation_level=None, check_same_thread=False
            )
            # See store/schema.py: a rollback journal, synced down to its removal.
            self._database.execute("PRAGMA synchronous = EXTRA")
            self._database.execute("PRAGMA secure_delete = ON")
            self._database.execute(_SCHEMA)

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        with self._lock:
            self._database.close()

    def reserve(self, name: str, count: int = 1) -> int:
        """Take the next `count` numbers of a counter, which begins with 1.

        Returns:
            The first number that was taken; none of them is ever given out again, whatever
            happens.
        """
        if count < 1:
            raise ValueError(f"cannot take {count} numbers")
        with self._writing():
            first = self._number(name) + 1
            self._set(name, first + count - 1)
            return first

    def get(self, name: str) -> str | None:
        """The text kept under a name, None where there is none."""
        with self._lock, translated(self.path, _WHAT):
            row = self._database.execute(
                "SELECT value FROM entry WHERE name = ?", (name,)
            ).fetchone()
        if row is not None and not isinstance(row[0], str):
            raise StoreError(self._damaged(name))
        return None if row is None else row[0]

    def put(self, name: str, text: str | None) -> None:
        """Keep a text of 64 KiB at most in place of an earlier one; None removes it."""
        if text is not None and len(text) > _MAX_TEXT:
            raise ValueError(f"{name}: longer than {_MAX_TEXT} characters")
        with self._writing():
            if text is None:
                self._database.execute("DELETE FROM entry WHERE name = ?", (name,))
            else:
                self._set(name, text)

    def _number(self, name: str) -> int:
        row = self._database.execute("SELECT value FROM entry WHERE name = ?", (name,)).fetchone()
        if row is not None and not (isinstance(row[0], int) and row[0] >= 0):
            raise StoreError(self._damaged(name))
        return 0 if row is None else row[0]

    def _set(self, name: str, value: object) -> None:
        self._database.execute(
            "INSERT INTO entry VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock, translated(self.path, _WHAT):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _damaged(self, name: str) -> str:
        return damaged(self.path, name, _WHAT)

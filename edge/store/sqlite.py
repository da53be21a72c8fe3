"""The device's SQLite files: opened, checked, written and erased so that a power cut does no harm.

The journal is SQLite's rollback journal, not its write-ahead log: at rest a database is one file,
which a plain copy backs up whole. `synchronous=EXTRA` makes a commit durable by syncing the folder
after the journal is removed. `psow=0` makes SQLite assume that a write cut short may spoil the
whole sector around it, as flash does.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import StoreError
from edge.private_files import close_to_others, make_file, make_folder, overwrite, reason

_MAGIC = b"SQLite format 3\x00"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_MOST_RECORDS = 65536
_SIGNS_OF_DAMAGE = ("malformed", "not a database", "no such", "columns")
_PRAGMAS = (
    "synchronous = EXTRA",
    "foreign_keys = ON",
    "secure_delete = ON",
    "temp_store = MEMORY",  # VACUUM would otherwise leave rows in a temporary file
    "cell_size_check = ON",
    "trusted_schema = OFF",
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileKind:
    """What a database file is for: its name in messages, and its header's numbers, 0 for none."""

    what: str
    remedy: str = "put a backup in its place, or move it away to start anew"
    application_id: int = 0
    format: int = 0

    def damaged(self, path: Path, finding: str) -> StoreError:
        """The error for a damaged file."""
        return StoreError(f"the {self.what} {path} is damaged ({finding}): {self.remedy}")

    @contextlib.contextmanager
    def errors(self, path: Path) -> Iterator[None]:
        """Turn whatever SQLite or the system raises into a `StoreError` that says what to do."""
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot open the {self.what} {path}: {reason(error)}") from None
        except sqlite3.Error as error:
            # Extended result codes are only there from Python 3.11 on; the texts are stable.
            text = str(error)
            if "locked" in text:
                advice = f"{path} has been in use by another process for too long: try again"
            elif "readonly" in text or "unable to open" in text:
                advice = (
                    f"cannot write to {path}: the file or its folder is read-only for this user"
                )
            elif "full" in text:
                advice = f"cannot write to {path}: the disk is full"
            elif "disk I/O" in text:  # nothing is known to be damaged
                advice = f"cannot use the {self.what} {path}: the disk failed, or is full"
            elif any(sign in text for sign in _SIGNS_OF_DAMAGE):
                raise self.damaged(path, text) from error
            else:
                advice = f"cannot use the {self.what} {path}: {text}"
            raise StoreError(advice) from error


class Database:
    """A connection to one of the device's files, which must exist.

    Every method may raise `sqlite3.Error`: to be used within `FileKind.errors`, or the contexts
    below, which are.

    Args:
        busy_s: how long to wait for a writer in another process, seconds.
        read_only: whether not even an interrupted write may be rolled back.
    """

    def __init__(
        self, path: Path, kind: FileKind, busy_s: float = 5.0, *, read_only: bool = False
    ) -> None:
        self.path = path
        self.kind = kind
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}&psow=0",
            uri=True,
            timeout=busy_s,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            for pragma in _PRAGMAS:
                self.execute(f"PRAGMA {pragma}")
            self._claim()
            self._identity = _identity(path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        self._connection.close()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement."""
        return self._connection.execute(statement, values)

    def create(self, schema: str) -> None:
        """Write the tables of a new file."""
        self._connection.executescript(
            f"BEGIN; PRAGMA user_version = {self.kind.format}; {schema} COMMIT;"
        )

    def pragma(self, name: str) -> int:
        """A figure about the file, such as `page_count`."""
        (figure,) = self.execute(f"PRAGMA {name}").fetchone()
        return int(figure)

    @property
    def tables(self) -> set[str]:
        """The names of its tables, indexes and triggers."""
        return {name for (name,) in self.execute("SELECT name FROM sqlite_master")}

    @property
    def replaced(self) -> bool:
        """Whether the path leads to another file by now, or to none."""
        try:
            return _identity(self.path) != self._identity
        except OSError:
            return True

    @contextlib.contextmanager
    def reading(self) -> Iterator[Database]:
        """One consistent view of all tables; inside a write, a part of it."""
        with self.kind.errors(self.path):
            if self._connection.in_transaction:
                yield self
                return
            self.execute("BEGIN")
            try:
                yield self
            finally:
                self._roll_back()

    @contextlib.contextmanager
    def writing(self) -> Iterator[Database]:
        """A transaction: all of it is there afterwards, or nothing."""
        with self.kind.errors(self.path), self._transaction():
            yield self

    @contextlib.contextmanager
    def locked(self) -> Iterator[Database]:
        """Keep other processes from writing for a while; whatever is written is undone."""
        with self.kind.errors(self.path), self._write_lock():
            yield self

    @contextlib.contextmanager
    def erasing(self) -> Iterator[Database]:
        """A transaction after which the file is rebuilt, and its journal overwritten.

        The journal holds the pages as they were before; it stays until it is overwritten, so that
        `finish_erasing` finds it after a power cut.
        """
        with self.kind.errors(self.path):
            self.execute("PRAGMA journal_mode = PERSIST")
            try:
                with self._transaction():
                    yield self
                self._scrub()
            finally:
                self.execute("PRAGMA journal_mode = DELETE")

    def finish_erasing(self) -> None:
        """Do what a power cut left undone of an earlier `erasing`; normally there is nothing."""
        journal = _journal(self.path)
        if not journal.exists():
            return
        try:
            self.execute("PRAGMA journal_mode = PERSIST")
            try:
                # It may be the journal of another process in its work: that goes with the lock.
                with self._write_lock():
                    left = journal.exists()
                if left:
                    self._scrub()
            finally:
                self.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            _log.warning("%s: remains of deleted data may be left: %s", self.path, error)

    def check(self, tables: set[str]) -> None:
        """Raise `StoreError` for a file that is damaged, or lacks a table."""
        # On a file of this size (a few megabytes at most) it takes milliseconds.
        (found,) = self.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise self.kind.damaged(self.path, " ".join(str(found).split()))
        if not tables <= self.tables:
            raise self.kind.damaged(self.path, "tables are missing")

    def _claim(self) -> None:
        """Mark an empty file as one of this kind; raise `StoreError` for another program's."""
        found = self.pragma("application_id")
        if found == self.kind.application_id:
            return
        if found != 0 or self.tables:
            raise StoreError(f"{self.path} is a database of another program: move it away")
        with contextlib.suppress(sqlite3.OperationalError):  # read-only, or another was quicker
            self.execute(f"PRAGMA application_id = {self.kind.application_id}")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        # Taking the write lock at once, not at the first write, cannot deadlock two writers.
        with self._write_lock():
            yield
            self.execute("COMMIT")

    @contextlib.contextmanager
    def _write_lock(self) -> Iterator[None]:
        """Keep other writers out; what was not committed is undone."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self._roll_back()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self.execute("ROLLBACK")

    def _scrub(self) -> None:
        """Best effort: the rows are deleted already, and a full disk must not deny that."""
        failures: list[Exception] = []
        try:
            self.execute("VACUUM")
        except sqlite3.Error as error:
            # SQLite has overwritten the deleted rows already (secure_delete): the rest is tidying.
            failures.append(error)
        try:
            # The write lock keeps other processes from beginning a journal of theirs meanwhile.
            with self._write_lock():
                overwrite(_journal(self.path))
        except FileNotFoundError:  # another process has been here
            pass
        except (sqlite3.Error, OSError) as error:
            failures.append(error)
        if failures:
            _log.warning("%s: remains of deleted data may be left: %s", self.path, failures[0])


def make_private(path: Path) -> None:
    """Make a missing file, private to its owner. Raises `OSError`, `StoreError` for a link."""
    make_folder(path.parent)
    make_file(path)
    keep_private(path)


def keep_private(path: Path) -> None:
    """See that only the owner of a file can read it. Raises as `close_to_others`."""
    try:
        mode = close_to_others(path)
    except PermissionError:
        _log.warning("%s belongs to another user and stays open to others", path)
        return
    if mode:
        _log.warning("%s was open to other users (mode %03o): made private", path, mode)


def inspect_header(path: Path, kind: FileKind) -> None:
    """Check the file's first 100 bytes (https://sqlite.org/fileformat.html) without SQLite.

    SQLite may write when it opens a database, and one that is not ours must stay as it is. Closing
    the file here drops any POSIX lock of this process on it: no transaction may be open meanwhile.

    Raises:
        OSError: it cannot be read.
        StoreError: it is not of this kind, or another version wrote it.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise StoreError(f"{path} is not a file: move it away, the {kind.what} has that name")
    with path.open("rb") as file:
        header = file.read(100)
    try:
        _check_header(path, kind, header)
    except StoreError:
        # A power cut may have torn the very page; then the journal has it as it was.
        original = _journaled_header(path)
        if original is None:
            raise
        _check_header(path, kind, original)


def _check_header(path: Path, kind: FileKind, header: bytes) -> None:
    if not header:
        raise StoreError(
            f"the {kind.what} {path} is empty: put a backup in its place,"
            " or remove the file to start anew"
        )
    if not header.startswith(_MAGIC[: len(header)]):
        raise StoreError(
            f"{path} is not a {kind.what} and was left as it is: name another file,"
            " or move this one away"
        )
    if len(header) < 100:
        raise kind.damaged(path, f"it ends after {len(header)} bytes")
    if int.from_bytes(header[68:72], "big") != kind.application_id:
        raise StoreError(
            f"{path} is an SQLite database of another program and was left as it is:"
            " name another file, or move this one away"
        )
    version = int.from_bytes(header[60:64], "big")
    if version > kind.format:
        raise StoreError(
            f"the {kind.what} {path} was written by a newer version of Edge Voice"
            f" (format {version}, this one knows {kind.format}): upgrade Edge Voice"
        )
    if version < 1:
        raise kind.damaged(path, f"its format is {version}")
    if version < kind.format:
        raise StoreError(
            f"the {kind.what} {path} was made by a pre-release version (format {version}): move it"
            " away to start a new one"
        )


def _journaled_header(path: Path) -> bytes | None:
    """The header that rolling back an interrupted write will restore, if any.

    Only the journal's first segment is searched, enough for writes as small as ours
    (https://sqlite.org/fileformat.html#the_rollback_journal).
    """
    with contextlib.suppress(OSError), _journal(path).open("rb") as file:
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
    return None


def _journal(path: Path) -> Path:
    return path.with_name(path.name + "-journal")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return (status.st_dev, status.st_ino)

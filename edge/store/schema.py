"""The database file: recognised before it is touched, created whole or not at all."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from edge.errors import StoreError

APPLICATION_ID = 0x45645643
"""In the header of every store ("EdVC"), which tells it from any other SQLite database."""

SCHEMA_VERSION = 2
"""The format; 2 added `sample.adapted`."""

_BUSY_TIMEOUT_S = 5.0
_MAGIC = b"SQLite format 3\x00"
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_MOST_RECORDS = 65536

_FIRST_SCHEMA = """
CREATE TABLE profile (
    id            TEXT PRIMARY KEY NOT NULL,
    name          TEXT NOT NULL,
    name_key      TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL CHECK (kind IN ('phrase', 'voice')),
    phrase        TEXT NOT NULL,
    speaker_model TEXT NOT NULL DEFAULT '',
    phrase_model  TEXT NOT NULL DEFAULT '',
    required      REAL NOT NULL CHECK (required > 0),
    created_at    REAL NOT NULL,
    updated_at    REAL NOT NULL
);
CREATE TABLE sample (
    profile_id    TEXT NOT NULL REFERENCES profile (id) ON DELETE CASCADE,
    position      INTEGER NOT NULL CHECK (position >= 0),
    speaker       BLOB NOT NULL,
    speaker_size  INTEGER NOT NULL,
    phrase        BLOB,
    phrase_rows   INTEGER NOT NULL,
    phrase_size   INTEGER NOT NULL,
    net_speech_s  REAL NOT NULL,
    snr_db        REAL NOT NULL,
    created_at    REAL NOT NULL,
    digest        BLOB NOT NULL,
    PRIMARY KEY (profile_id, position)
);
"""

_STEPS = {
    1: "ALTER TABLE sample ADD COLUMN"
    " adapted INTEGER NOT NULL DEFAULT 0 CHECK (adapted IN (0, 1));",
}
"""What leads from each format to the next one."""

_log = logging.getLogger(__name__)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the store at `path`, creating it where there is none.

    Power may fail at any moment, on an SD card. The journal is SQLite's rollback journal, not its
    write-ahead log: at rest the store is one file, which a plain copy backs up whole, and a new
    signature is never left behind in a log. `synchronous=EXTRA` is what makes a commit of that
    journal durable, since it also syncs the directory after the journal is removed. `psow=0` makes
    SQLite assume that a write cut short may spoil the whole sector around it, as flash does.

    A store of an earlier format is brought up to date.

    Raises:
        StoreError: it cannot be opened or created, is damaged, or is not a store; the file is
            then as it was.
    """
    try:
        if not path.exists():
            _create(path)
        inspect_header(path)
        _keep_private(path)
    except OSError as error:
        raise StoreError(f"cannot open the signature store {path}: {_reason(error)}") from None
    with translated(path):
        database = _connect(path)
        try:
            _check(database, path)
            _bring_up_to_date(database)
        except BaseException:
            database.close()
            raise
        return database


def _check(database: sqlite3.Connection, path: Path) -> None:
    # On a store of this size (a few megabytes at most) it takes milliseconds: always worth it.
    findings = [str(row[0]) for row in database.execute("PRAGMA quick_check(1)")]
    if findings != ["ok"]:
        raise StoreError(_damaged(path, findings[0].splitlines()[0]))
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    if not tables >= {"profile", "sample"}:
        raise StoreError(_damaged(path, "tables are missing"))


def _bring_up_to_date(database: sqlite3.Connection) -> None:
    """One transaction: power may fail at any moment, and the store is of one format or the other.

    No row is rewritten, so what is enrolled cannot suffer: a new column's default is in the schema.
    """
    if _version(database) == SCHEMA_VERSION:
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been quicker.
        found = _version(database)
        for version in range(found, SCHEMA_VERSION):
            database.execute(_STEPS[version])
            database.execute(f"PRAGMA user_version = {version + 1}")
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    _log.info("the signature store is now of format %d, it was %d", SCHEMA_VERSION, found)


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


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
        raise StoreError(_damaged(path, f"it ends after {len(header)} bytes"))
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
        raise StoreError(_damaged(path, f"its format is {version}"))


def _journalled_header(path: Path) -> Optional[bytes]:
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


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn whatever SQLite raises into a `StoreError` that says what to do."""
    try:
        yield
    except sqlite3.Error as error:
        # Extended result codes are only there from Python 3.11 on; the texts are stable.
        text = str(error)
        if "locked" in text:
            advice = f"{path} has been in use by another process for too long: try again"
        elif "readonly" in text or "unable to open" in text:
            advice = f"cannot write to {path}: the file or its folder is read-only for this user"
        elif "full" in text:
            advice = f"cannot write to {path}: the disk is full"
        elif "malformed" in text or "not a database" in text:
            advice = _damaged(path, text)
        else:
            advice = f"the signature store {path} cannot be used: {text}"
        raise StoreError(advice) from error


def _connect(path: Path, mode: str = "rw") -> sqlite3.Connection:
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}&psow=0",
        uri=True,
        timeout=_BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    for pragma in (
        "synchronous = EXTRA",
        "foreign_keys = ON",
        "secure_delete = ON",
        "temp_store = MEMORY",  # VACUUM would otherwise leave signatures in a temporary file
        "cell_size_check = ON",
        "trusted_schema = OFF",
    ):
        database.execute(f"PRAGMA {pragma}")
    return database


def _create(path: Path) -> None:
    """Write an empty store under another name and link it into place when it is on the disk."""
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        path.parent.chmod(0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    try:
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            if os.geteuid() == 0:
                # Enrolling with sudo before the service first ran must not lock the service out.
                owner = path.parent.stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        finally:
            os.close(descriptor)
        with translated(path), contextlib.closing(_connect(fresh)) as database:
            database.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {SCHEMA_VERSION}; {_FIRST_SCHEMA}"
                f" {' '.join(_STEPS.values())} COMMIT;"
            )
        with contextlib.suppress(FileExistsError):  # another process was quicker
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make new and removed names in a folder survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep_private(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        _log.warning("%s was open to other users (mode %03o): made private", path, mode)
        try:
            path.chmod(mode & 0o700)
        except PermissionError:
            _log.warning("%s belongs to another user and stays open to others", path)


def _damaged(path: Path, finding: str) -> str:
    return (
        f"the signature store {path} is damaged ({finding}): put a backup in its place,"
        " or move it away to start anew"
    )


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

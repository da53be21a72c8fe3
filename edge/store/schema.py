"""The database file: recognised before it is touched, created whole or not at all."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge.crypto.keyfile import sync_folder
from edge.crypto.keys import KeySources, Secrets
from edge.errors import StoreError
from edge.store.erasing import erasing, finish_erasing
from edge.store.header import APPLICATION_ID, SCHEMA_VERSION, SIGNATURES, damaged, inspect_header
from edge.store.private import close_to_others, refuse_link
from edge.store.vault import Vault, write_lock

_BUSY_TIMEOUT_S = 5.0

_TABLES = """
CREATE TABLE keyring (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    key_id     TEXT NOT NULL,
    stretching TEXT,
    salt       BLOB,
    wrapped    BLOB NOT NULL
);
CREATE TABLE profile (
    id         TEXT PRIMARY KEY NOT NULL,
    name_mark  BLOB NOT NULL UNIQUE,
    owner_mark BLOB NOT NULL,
    sealed     BLOB NOT NULL
);
CREATE TABLE sample (
    profile_id TEXT NOT NULL REFERENCES profile (id) ON DELETE CASCADE,
    position   INTEGER NOT NULL CHECK (position >= 0),
    adapted    INTEGER NOT NULL CHECK (adapted IN (0, 1)),
    sealed     BLOB NOT NULL,
    PRIMARY KEY (profile_id, position)
);
CREATE TABLE item (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    kind       TEXT NOT NULL,
    profile_id TEXT REFERENCES profile (id) ON DELETE CASCADE,
    sealed     BLOB NOT NULL
);
CREATE INDEX item_kind ON item (kind, profile_id);
CREATE INDEX item_profile ON item (profile_id);
CREATE TABLE revision (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    number     INTEGER NOT NULL
);
INSERT INTO revision VALUES (1, 0);
"""

# Whatever changes a profile is counted, in whichever process; items are not.
_TRIGGERS = "".join(
    f"CREATE TRIGGER {table}_{event} AFTER {event} ON {table}"  # noqa: S608 (constants)
    " BEGIN UPDATE revision SET number = number + 1; END;\n"
    for table in ("keyring", "profile", "sample")
    for event in ("insert", "update", "delete")
)

SCHEMA = _TABLES + _TRIGGERS
"""What the columns hold that are not sealed: the id of a profile is random, `name_mark` is a keyed
hash of its name, and `owner_mark` one of the profile that it is the duress phrase of, or random."""

_log = logging.getLogger(__name__)


def open_database(path: Path, sources: KeySources) -> tuple[sqlite3.Connection, Vault]:
    """Open the store at `path`, creating it where there is none.

    Power may fail at any moment, on an SD card. The journal is SQLite's rollback journal, not its
    write-ahead log: at rest the store is one file, which a plain copy backs up whole, and a new
    signature is never left behind in a log. `synchronous=EXTRA` is what makes a commit of that
    journal durable, since it also syncs the directory after the journal is removed. `psow=0` makes
    SQLite assume that a write cut short may spoil the whole sector around it, as flash does.

    A store of an earlier format is sealed.

    Raises:
        KeyFault: its key is not there; nothing was changed.
        StoreError: it cannot be opened or created, is damaged, or is not a store; the file is
            then as it was.
    """
    try:
        refuse_link(path)
        if not path.exists():
            _create(path, sources)
        inspect_header(path)
        _keep_private(path)
    except OSError as error:
        raise StoreError(f"cannot open the signature store {path}: {_reason(error)}") from None
    with translated(path):
        database = _connect(path)
        try:
            _check(database, path)
            if _version(database) < SCHEMA_VERSION:
                _seal_what_is_plain(database, path, sources)
            vault = Vault.of(database, path, sources)
            finish_erasing(database, path)
        except BaseException:
            database.close()
            raise
        return database, vault


def _check(database: sqlite3.Connection, path: Path) -> None:
    # On a store of this size (a few megabytes at most) it takes milliseconds: always worth it.
    findings = [str(row[0]) for row in database.execute("PRAGMA quick_check(1)")]
    if findings != ["ok"]:
        raise StoreError(damaged(path, findings[0].splitlines()[0]))
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    wanted = {"profile", "sample"}
    if _version(database) >= SCHEMA_VERSION:
        wanted |= {"item", "keyring", "revision"}
    if not tables >= wanted:
        raise StoreError(damaged(path, "tables are missing"))


def _seal_what_is_plain(database: sqlite3.Connection, path: Path, sources: KeySources) -> None:
    """One transaction: power may fail at any moment, and the store is of one format or the other.

    What is damaged stays damaged: a sample that cannot be read becomes one that cannot be opened.
    """
    from edge.store import migration  # noqa: PLC0415 (once in the life of a store)

    secrets = Secrets.fresh()
    lock = sources.choose().wrap(secrets)
    with erasing(database, path):
        found = _version(database)
        if found >= SCHEMA_VERSION:  # another process was quicker
            return
        try:
            migration.seal(database, found, Vault(lock, secrets), SCHEMA)
        except ValueError as error:
            raise StoreError(damaged(path, str(error))) from None
        write_lock(database, lock)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    _log.info("the signature store is sealed: it is of format %d, was %d", SCHEMA_VERSION, found)


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


@contextlib.contextmanager
def translated(path: Path, what: str = SIGNATURES) -> Iterator[None]:
    """Turn whatever SQLite raises into a `StoreError` that says what to do.

    Args:
        path: the file.
        what: what the file is, for people.
    """
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
            advice = damaged(path, text, what)
        else:
            advice = f"{what} {path} cannot be used: {text}"
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
        "temp_store = MEMORY",  # VACUUM would otherwise leave rows in a temporary file
        "cell_size_check = ON",
        "trusted_schema = OFF",
    ):
        database.execute(f"PRAGMA {pragma}")
    return database


def _create(path: Path, sources: KeySources) -> None:
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
        lock = sources.choose().wrap(Secrets.fresh())
        with translated(path), contextlib.closing(_connect(fresh)) as database:
            database.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION_ID};"
                f" PRAGMA user_version = {SCHEMA_VERSION}; {SCHEMA}"
            )
            write_lock(database, lock)
            database.execute("COMMIT")
        with contextlib.suppress(FileExistsError):  # another process was quicker
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    sync_folder(path.parent)


def _keep_private(path: Path) -> None:
    try:
        mode = close_to_others(path)
    except PermissionError:
        _log.warning("%s belongs to another user and stays open to others", path)
        return
    if mode:
        _log.warning("%s was open to other users (mode %03o): made private", path, mode)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

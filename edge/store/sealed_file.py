"""The database file: recognized before it is touched, created whole or not at all."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.crypto.keys import KeySources, Secrets, WrappingKey
from edge.crypto.private_files import close_to_others, refuse_link, sync_folder
from edge.crypto.sealing import SealBroken
from edge.errors import StoreError
from edge.store.sqlite import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    SIGNATURES,
    damaged,
    erase,
    finish_erasing,
    inspect_header,
    transaction,
)
from edge.store.vault import Vault, item_place, sample_place, write_lock

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
                raise StoreError(damaged(path, "its format was never released"))
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


_ONE_AT_A_TIME = threading.RLock()
"""Held by every access of this process to any store; why: `header.inspect_header`."""


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
        with _ONE_AT_A_TIME, translated(self.path):
            self._follow_file()
            row = self._database.execute("SELECT number FROM revision").fetchone()
            if row is None:
                raise StoreError(damaged(self.path, "its revision is missing"))
            return (self._reopened, int(row[0]))

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of all tables; inside a write, a part of it."""
        with _ONE_AT_A_TIME, translated(self.path):
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
        with _ONE_AT_A_TIME, translated(self.path), transaction(self._database):
            self._follow_keys()
            yield self._database

    @contextlib.contextmanager
    def erasing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that removes or replaces what must not be found in any file afterwards."""
        with _ONE_AT_A_TIME, translated(self.path), self._scrubbing():
            self._follow_keys()
            yield self._database

    def _scrubbing(self) -> contextlib.AbstractContextManager[None]:
        return erase(self._database, self.path)

    def _open(self) -> tuple[sqlite3.Connection, Vault]:
        database, vault = open_database(self.path, self.sources)
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


@dataclass(frozen=True)
class KeyState:
    """Which keys a store is locked with; nothing in it is secret.

    Attributes:
        source: where the wrapping key was found.
        key_id: the wrapping key's id, 16 hexadecimal digits.
        data_id: the data key's, likewise; rotation changes it.
    """

    source: str
    key_id: str
    data_id: str


def state_of(file: StoreFile) -> KeyState:
    """Which keys are in use, within a transaction."""
    vault = file.vault
    return KeyState(file.sources.find(vault.lock).source, vault.lock.key_id, vault.secrets.data_id)


def lock_with(file: StoreFile, key: WrappingKey, *, rotate: bool) -> None:
    """Lock a store with a key, which may be the one that it is locked with.

    Args:
        file: the store.
        key: the wrapping key from now on.
        rotate: whether to make a new data key too, and seal every row with it.

    Raises:
        StoreError: a row is damaged, or the file cannot be written; nothing was changed.
    """
    with file.erasing() as database:
        old = file.vault
        secrets = old.secrets.rotated() if rotate else old.secrets
        new = Vault(key.wrap(secrets), secrets)
        if rotate:
            try:
                _reseal(file, old, new)
            except ValueError as error:
                raise StoreError(
                    f"{file.path}: {error}; nothing was changed: 'edge-voice profiles list' says"
                    " what to do about damage"
                ) from None
        write_lock(database, new.lock)
    # Only now: had it failed, the old keys would be those in use.
    file.vault = new
    file.sources.learn(key)


def _reseal(file: StoreFile, old: Vault, new: Vault) -> None:
    rows = file.execute("SELECT id, name_mark, owner_mark, sealed FROM profile").fetchall()
    for row in rows:
        record = _opened(f"the profile {row[0]} is damaged", old.open_profile, *row)
        profile_id, *columns = new.profile_row(row[0], record)
        file.execute(
            "UPDATE profile SET name_mark = ?, owner_mark = ?, sealed = ? WHERE id = ?",
            (*columns, profile_id),
        )
    # One row at a time: all embeddings of all people at once would be many megabytes.
    for row_id, profile_id, position, adapted in _keys(
        file, "SELECT rowid, profile_id, position, adapted FROM sample"
    ):
        place = sample_place(profile_id, position, adapted=adapted == 1)
        _move(file, "sample", "rowid", row_id, place, old, new)
    for item_id, kind, owner in _keys(file, "SELECT id, kind, profile_id FROM item"):
        _move(file, "item", "id", item_id, item_place(item_id, kind, owner), old, new)


def _keys(file: StoreFile, query: str) -> Iterator[Any]:
    return iter(file.execute(query).fetchall())


def _move(
    file: StoreFile, table: str, key: str, row: int, place: tuple[str, ...], old: Vault, new: Vault
) -> None:
    (sealed,) = file.execute(
        f"SELECT sealed FROM {table} WHERE {key} = ?",  # noqa: S608 (constants)
        (row,),
    ).fetchone()
    content = _opened(f"a {table} of {place[1]} is damaged", old.open, sealed, *place)
    file.execute(
        f"UPDATE {table} SET sealed = ? WHERE {key} = ?",  # noqa: S608 (constants)
        (new.seal(content, *place), row),
    )


def _opened(what: str, opener: Any, *values: Any) -> Any:
    try:
        return opener(*values)
    except ValueError as error:
        raise SealBroken(f"{what} ({error})") from None

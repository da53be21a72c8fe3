"""The store's file: sealed rows, the key that opens them, created whole or not at all."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge.crypto.keys import KeySources, KeyStretching, Lock, Secrets
from edge.crypto.sealing import SealBroken, Sealer, derive, mark
from edge.errors import StoreError
from edge.private_files import folder_owner, make_folder, new_file, refuse_link
from edge.store import records
from edge.store.names import name_key
from edge.store.sqlite import Database, FileKind, inspect_header, keep_private
from edge.types import EnrollmentSample, Profile

SIGNATURES = FileKind("signature store", application_id=0x45645643, format=3)
"""Format 3 is the first that was released; the number in the header is "EdVC"."""

# Columns that are not sealed: the id of a profile is random, `name_mark` is a keyed hash of its
# name, and `owner_mark` one of the profile that it is the duress phrase of, or random.
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

# Every change to a profile is counted, from any process; items are not.
_TRIGGERS = "".join(
    f"CREATE TRIGGER {table}_{event} AFTER {event} ON {table}"  # noqa: S608 (constants)
    " BEGIN UPDATE revision SET number = number + 1; END;\n"
    for table in ("keyring", "profile", "sample")
    for event in ("insert", "update", "delete")
)

_log = logging.getLogger(__name__)

_ONE_AT_A_TIME = threading.RLock()
"""Held by every access of this process to any store; why: `sqlite.inspect_header`."""


class StoreFile:
    """A store's SQLite file, for any thread; arguments and errors are those of `ProfileStore`.

    `version` notices a file put in its place, or other keys, and reads that from then on. Its
    `vault` is for use within `reading`, `writing` or `erasing`.
    """

    def __init__(self, path: Path, busy_s: float, sources: KeySources) -> None:
        self.path = path
        self.sources = sources
        self._busy_s = busy_s
        with _ONE_AT_A_TIME:
            self._database, self.vault = self._open()
        self._reopened = 0

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with _ONE_AT_A_TIME:
            self._database.close()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement; to be used within `reading`, `writing` or `erasing`."""
        return self._database.execute(statement, values)

    def version(self) -> tuple[int, int]:
        """As `ProfileStore.data_version`. Raises `StoreError` if the file is gone, or no store."""
        with _ONE_AT_A_TIME, SIGNATURES.errors(self.path):
            self._follow_file()
            row = self.execute("SELECT number FROM revision").fetchone()
            if row is None:
                raise SIGNATURES.damaged(self.path, "its revision is missing")
            (number,) = row
            return (self._reopened, int(number))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """One consistent view of all tables; inside a write, a part of it."""
        with _ONE_AT_A_TIME, self._database.reading():
            self._follow_keys()
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction: all of it is there afterwards, or nothing."""
        with _ONE_AT_A_TIME, self._database.writing():
            self._follow_keys()
            yield

    @contextlib.contextmanager
    def erasing(self) -> Iterator[None]:
        """A transaction that removes or replaces what must not be found in any file afterwards."""
        with _ONE_AT_A_TIME, self._database.erasing():
            self._follow_keys()
            yield

    def lock(self, vault: Vault) -> None:
        """Write another vault's wrapped secrets in place of those that are there, if any."""
        write_lock(self._database, vault.lock)

    def _open(self) -> tuple[Database, Vault]:
        with SIGNATURES.errors(self.path):
            refuse_link(self.path)
            if not self.path.exists():
                _create(self.path, self.sources)
            inspect_header(self.path, SIGNATURES)
            keep_private(self.path)
            # With the usual patience: a start must not fail for the sake of another's commit.
            database = Database(self.path, SIGNATURES)
            try:
                database.check({"profile", "sample", "item", "keyring", "revision"})
                vault = Vault.of(database, self.sources)
                database.finish_erasing()
                database.execute(f"PRAGMA busy_timeout = {round(self._busy_s * 1000)}")
            except BaseException:
                database.close()
                raise
            return database, vault

    def _follow_keys(self) -> None:
        """Another process may have rotated the data key, or locked the store with another key."""
        row = self.execute("SELECT wrapped FROM keyring").fetchone()
        if row != (self.vault.lock.wrapped,):
            self.vault = Vault.of(self._database, self.sources)
            _log.info("%s: its keys were changed by another process", self.path)

    def _follow_file(self) -> None:
        if not self._database.replaced:
            return
        if not self.path.exists():
            raise StoreError(
                f"the signature store {self.path} has been removed: put it back,"
                " or restart to begin with an empty one"
            )
        database, vault = self._open()
        self._database.close()
        self._database, self.vault = database, vault
        self._reopened += 1
        _log.warning("%s was replaced by another file: reading that one now", self.path)


def _create(path: Path, sources: KeySources) -> None:
    make_folder(path.parent)
    with (
        contextlib.suppress(FileExistsError),  # another process was quicker
        new_file(path, owner=folder_owner(path)) as (fresh, _),
    ):
        lock = sources.choose().wrap(Secrets.fresh())
        with contextlib.closing(Database(fresh, SIGNATURES)) as database:
            database.create(_TABLES + _TRIGGERS)
            write_lock(database, lock)


class Vault:
    """Seals and opens the rows of one store."""

    def __init__(self, lock: Lock, secrets: Secrets) -> None:
        self.lock = lock
        self.secrets = secrets
        self.rows = Sealer(derive(secrets.data, "rows"))
        self._marks = derive(secrets.data, "marks")

    @classmethod
    def of(cls, database: Database, sources: KeySources) -> Vault:
        """Open the vault of a store. Raises `KeyFault`, or `StoreError` if it is damaged."""
        lock = _read_lock(database)
        try:
            return cls(lock, sources.find(lock).unwrap(lock))
        except SealBroken as error:
            raise SIGNATURES.damaged(database.path, f"its wrapped keys: {error}") from None

    def name_mark(self, name: str) -> bytes:
        """What a name is found by: equal for names that differ in case alone."""
        return mark(self._marks, "name", name_key(name))

    def owner_mark(self, owner: str | None) -> bytes:
        """What the duress phrases of a profile are found by; random where there is no owner."""
        return os.urandom(32) if owner is None else mark(self._marks, "owner", owner)

    def profile_row(self, profile_id: str, record: Profile) -> tuple[str, bytes, bytes, bytes]:
        """The columns of a profile."""
        return (
            profile_id,
            self.name_mark(record.name),
            self.owner_mark(record.duress_of),
            self.rows.seal(records.encode(record), "profile", profile_id),
        )

    def open_profile(
        self, profile_id: str, name_mark: object, owner_mark: object, sealed: object
    ) -> Profile:
        """The record in a profile's columns. Raises `ValueError` if damaged or another's."""
        record = records.decode(self.rows.open(sealed, "profile", profile_id))
        if name_mark != self.name_mark(record.name):
            raise ValueError("it is filed under another name")
        if record.duress_of is not None and owner_mark != self.owner_mark(record.duress_of):
            raise ValueError("it is filed under another owner")
        return record

    def seal_sample(self, profile_id: str, position: int, sample: EnrollmentSample) -> bytes:
        """A sample, bound to its place. Raises as `records.encode_sample`."""
        place = sample_place(profile_id, position, adapted=sample.adapted)
        return self.rows.seal(records.encode_sample(sample), *place)

    def open_sample(
        self, profile_id: str, position: int, adapted: object, sealed: object
    ) -> EnrollmentSample:
        """The sample that was sealed for this place. Raises `ValueError`."""
        place = sample_place(profile_id, position, adapted=adapted == 1)
        return records.decode_sample(self.rows.open(sealed, *place), adapted=adapted == 1)


def wants_passphrase(path: Path) -> bool:
    """Whether a store is locked with a passphrase; the file is not written to."""
    with (
        SIGNATURES.errors(path),
        contextlib.closing(Database(path, SIGNATURES, read_only=True)) as database,
    ):
        return _read_lock(database).stretching is not None


def _read_lock(database: Database) -> Lock:
    row = database.execute("SELECT key_id, stretching, salt, wrapped FROM keyring").fetchone()
    try:
        if row is None:
            raise ValueError("they are missing")  # noqa: TRY301 (handled in one place)
        key_id, stretching, salt, wrapped = row
        if not isinstance(key_id, str):
            raise ValueError("a column has the wrong type")  # noqa: TRY004, TRY301 (as above)
        return Lock(key_id, _stretching(stretching, salt), wrapped)
    except ValueError as error:
        raise SIGNATURES.damaged(database.path, f"its wrapped keys: {error}") from None


def write_lock(database: Database, lock: Lock) -> None:
    """Put wrapped secrets in the place of those that are there, if any."""
    how = lock.stretching
    database.execute(
        "INSERT INTO keyring VALUES (1, ?, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET"
        " key_id = excluded.key_id, stretching = excluded.stretching, salt = excluded.salt,"
        " wrapped = excluded.wrapped",
        (
            lock.key_id,
            None if how is None else f"scrypt {how.log2_n} {how.r} {how.p}",
            None if how is None else how.salt,
            lock.wrapped,
        ),
    )


def _stretching(text: object, salt: object) -> KeyStretching | None:
    if text is None:
        return None
    if not (isinstance(text, str) and isinstance(salt, bytes)):
        raise ValueError("a column has the wrong type")  # noqa: TRY004 (damage, not a mistake)
    name, *cost = text.split(" ")
    if name != "scrypt" or len(cost) != 3:
        raise ValueError("its passphrase is stretched in an unknown way")
    return KeyStretching(int(cost[0]), int(cost[1]), int(cost[2]), salt)


def sample_place(profile_id: str, position: int, *, adapted: bool) -> tuple[str, ...]:
    """What a sample's seal is bound to."""
    return ("sample", profile_id, str(position), "learned" if adapted else "enrolled")


def item_place(item_id: int, kind: str, profile_id: str | None) -> tuple[str, ...]:
    """What an item's seal is bound to."""
    return ("item", str(item_id), kind, profile_id or "")

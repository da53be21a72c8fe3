"""A store's secrets in use: what seals its rows, and how a row is told from all others."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from edge.crypto.keys import KeySources, Lock, Secrets, Stretching, unlock
from edge.crypto.sealing import Sealer, derive, mark
from edge.errors import StoreError
from edge.store import records
from edge.store.names import name_key
from edge.store.records import Record
from edge.store.sqlite import damaged
from edge.types import EnrollmentSample


class Vault:
    """Seals and opens the rows of one store.

    Args:
        lock: the wrapped secrets, as they lie in the store.
        secrets: what is in it.
    """

    def __init__(self, lock: Lock, secrets: Secrets) -> None:
        self.lock = lock
        self.secrets = secrets
        self._rows = Sealer(derive(secrets.data, "rows"))
        self._marks = derive(secrets.data, "marks")

    @classmethod
    def of(cls, database: sqlite3.Connection, path: Path, sources: KeySources) -> Vault:
        """Open the vault of a store.

        Raises:
            KeyFault: the key is not there.
            StoreError: the wrapped secrets are damaged.
        """
        lock = read_lock(database, path)
        return cls(lock, unlock(lock, sources, path))

    def name_mark(self, name: str) -> bytes:
        """What a name is found by: equal for names that differ in case alone."""
        return mark(self._marks, "name", name_key(name))

    def owner_mark(self, owner: str | None) -> bytes:
        """What the duress phrases of a profile are found by; random where there is no owner."""
        return os.urandom(32) if owner is None else mark(self._marks, "owner", owner)

    def profile_row(self, profile_id: str, record: Record) -> tuple[str, bytes, bytes, bytes]:
        """The columns of a profile."""
        return (
            profile_id,
            self.name_mark(record.name),
            self.owner_mark(record.duress_of),
            self._rows.seal(records.encode(record), "profile", profile_id),
        )

    def open_profile(
        self, profile_id: str, name_mark: object, owner_mark: object, sealed: object
    ) -> Record:
        """The record in a profile's columns.

        Raises:
            ValueError: they are damaged, or another profile's.
        """
        record = records.decode(self._rows.open(sealed, "profile", profile_id))
        if name_mark != self.name_mark(record.name):
            raise ValueError("it is filed under another name")
        if record.duress_of is not None and owner_mark != self.owner_mark(record.duress_of):
            raise ValueError("it is filed under another owner")
        return record

    def seal(self, content: bytes, *place: str) -> bytes:
        """Seal what is sealed already elsewhere, as it is."""
        return self._rows.seal(content, *place)

    def open(self, sealed: object, *place: str) -> bytes:
        """What was sealed for a place, as it is. Raises `SealBroken`."""
        return self._rows.open(sealed, *place)

    def seal_sample(self, profile_id: str, position: int, sample: EnrollmentSample) -> bytes:
        """A sample, bound to its place. Raises as `codec.encode_sample`."""
        place = sample_place(profile_id, position, adapted=sample.adapted)
        return self._rows.seal(records.encode_sample(sample), *place)

    def open_sample(
        self, profile_id: str, position: int, adapted: object, sealed: object
    ) -> EnrollmentSample:
        """The sample that was sealed for this place.

        Raises:
            ValueError: it is damaged, or of another place.
        """
        place = sample_place(profile_id, position, adapted=adapted == 1)
        return records.decode_sample(self._rows.open(sealed, *place), adapted=adapted == 1)

    def seal_item(self, item_id: int, kind: str, profile_id: str | None, content: bytes) -> bytes:
        """An item, bound to its place."""
        return self._rows.seal(content, *item_place(item_id, kind, profile_id))

    def open_item(self, item_id: int, kind: str, profile_id: str | None, sealed: object) -> bytes:
        """The item that was sealed for this place.

        Raises:
            ValueError: it is damaged, or of another place.
        """
        return self._rows.open(sealed, *item_place(item_id, kind, profile_id))


def read_lock(database: sqlite3.Connection, path: Path) -> Lock:
    """The wrapped secrets of a store.

    Raises:
        StoreError: they are damaged or missing.
    """
    row = database.execute("SELECT key_id, stretching, salt, wrapped FROM keyring").fetchone()
    try:
        if row is None:
            raise ValueError("they are missing")  # noqa: TRY301 (handled in one place)
        key_id, stretching, salt, wrapped = row
        if not (isinstance(key_id, str) and isinstance(wrapped, bytes)):
            raise ValueError("a column has the wrong type")  # noqa: TRY004, TRY301 (as above)
        return Lock(key_id, _stretching(stretching, salt), wrapped)
    except ValueError as error:
        raise StoreError(damaged(path, f"its wrapped keys: {error}")) from None


def write_lock(database: sqlite3.Connection, lock: Lock) -> None:
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


def _stretching(text: object, salt: object) -> Stretching | None:
    if text is None:
        return None
    if not (isinstance(text, str) and isinstance(salt, bytes)):
        raise ValueError("a column has the wrong type")  # noqa: TRY004 (damage, not a mistake)
    name, *cost = text.split(" ")
    if name != "scrypt" or len(cost) != 3:
        raise ValueError("its passphrase is stretched in an unknown way")
    return Stretching(int(cost[0]), int(cost[1]), int(cost[2]), salt)


def sample_place(profile_id: str, position: int, *, adapted: bool) -> tuple[str, ...]:
    """What a sample's seal is bound to."""
    return ("sample", profile_id, str(position), "learned" if adapted else "enrolled")


def item_place(item_id: int, kind: str, profile_id: str | None) -> tuple[str, ...]:
    """What an item's seal is bound to."""
    return ("item", str(item_id), kind, profile_id or "")

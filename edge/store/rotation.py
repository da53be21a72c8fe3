"""Changing a store's keys: each change is one transaction, and the old keys open nothing after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge.crypto.keys import WrappingKey
from edge.crypto.sealing import SealBroken
from edge.errors import StoreError
from edge.store.database import StoreFile
from edge.store.vault import Vault, item_place, sample_place, write_lock


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

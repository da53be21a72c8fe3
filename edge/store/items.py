"""Small things that are kept beside profiles: sealed, bounded, gone with the person."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.errors import StoreError
from edge.store.database import StoreFile

MAX_ITEMS = 20_000
"""Items of one store, of all kinds."""
MAX_ITEM_BYTES = 1 << 20
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_HEAD = struct.Struct("<Bd")
_VERSION = 1


@dataclass(frozen=True)
class Kept:
    """An item of the store.

    Attributes:
        id: grows from one item to the next; never reused.
        profile_id: the profile that it belongs to; None for one of the device's own.
        created_at: Unix time, seconds.
        payload: what was given to `keep`.
    """

    id: int
    profile_id: str | None
    created_at: float
    payload: bytes = field(repr=False)


class ItemRows:
    """The items of one store; every method is to be called within a transaction of `file`."""

    def __init__(self, file: StoreFile) -> None:
        self._file = file

    def add(
        self,
        kind: str,
        payload: bytes,
        profile_id: str | None,
        most: int | None,
        created_at: float | None = None,
    ) -> int:
        """Add an item; the oldest of its kind and profile beyond `most` go.

        Raises:
            ValueError: the kind or size is impossible.
            StoreError: there are `MAX_ITEMS` already.
        """
        check_kind(kind)
        if len(payload) > MAX_ITEM_BYTES:
            raise ValueError(f"an item may have {MAX_ITEM_BYTES} bytes at most")
        if most is not None:
            if most < 1:
                raise ValueError("at least one item must be allowed to stay")
            where, values = _where(kind, profile_id, one_profile=True)
            self._file.execute(
                f"DELETE FROM item WHERE {where} AND id NOT IN"  # noqa: S608 (constants)
                f" (SELECT id FROM item WHERE {where} ORDER BY id DESC LIMIT ?)",
                (*values, *values, most - 1),
            )
        (count,) = self._file.execute("SELECT count(*) FROM item").fetchone()
        if count >= MAX_ITEMS:
            raise StoreError(f"{self._file.path} holds {MAX_ITEMS} items, which is the most")
        # The id must be known beforehand: the seal binds the item to it.
        (item_id,) = self._file.execute(
            "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'item'"
        ).fetchone()
        content = _HEAD.pack(_VERSION, time.time() if created_at is None else created_at) + payload
        sealed = self._file.vault.seal_item(item_id, kind, profile_id, content)
        self._file.execute(
            "INSERT INTO item VALUES (?, ?, ?, ?)", (item_id, kind, profile_id, sealed)
        )
        return int(item_id)

    def all(self, kind: str, profile_id: str | None) -> list[Kept]:
        """The items of a kind, oldest first; of one profile, or of all and the device.

        Raises:
            StoreError: one is damaged.
        """
        check_kind(kind)
        where, values = _where(kind, profile_id)
        rows = self._file.execute(
            f"SELECT id, profile_id, sealed FROM item WHERE {where} ORDER BY id",  # noqa: S608
            values,
        )
        return [self._kept(item_id, kind, owner, sealed) for item_id, owner, sealed in rows]

    def discard(self, kind: str, profile_id: str | None, ids: Sequence[int] | None) -> int:
        """Remove items of a kind; how many there were."""
        check_kind(kind)
        where, values = _where(kind, profile_id)
        if ids is None:
            return self._file.execute(
                f"DELETE FROM item WHERE {where}",  # noqa: S608 (constants)
                values,
            ).rowcount
        return sum(
            self._file.execute(
                f"DELETE FROM item WHERE {where} AND id = ?",  # noqa: S608 (constants)
                (*values, item_id),
            ).rowcount
            for item_id in ids
        )

    def _kept(self, item_id: int, kind: str, owner: str | None, sealed: object) -> Kept:
        try:
            content = self._file.vault.open_item(item_id, kind, owner, sealed)
            version, created_at = _HEAD.unpack_from(content)
            if version != _VERSION:
                raise ValueError("it was written by a newer version")  # noqa: TRY301
        except (ValueError, struct.error) as error:
            raise StoreError(
                f"an item ({kind} {item_id}) in {self._file.path} is damaged ({error}):"
                " put a backup in place"
            ) from None
        return Kept(item_id, owner, created_at, content[_HEAD.size :])


def check_kind(kind: str) -> None:
    """Raise `ValueError` for what cannot name a kind of item."""
    if not _KIND.fullmatch(kind):
        raise ValueError(f"a kind of item cannot be called {kind!r}")


def _where(
    kind: str, profile_id: str | None, *, one_profile: bool = False
) -> tuple[str, tuple[Any, ...]]:
    if profile_id is not None:
        return "kind = ? AND profile_id = ?", (kind, profile_id)
    return ("kind = ? AND profile_id IS NULL" if one_profile else "kind = ?"), (kind,)

"""Profiles, samples and items as rows; all functions are to be called within a transaction."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edge.crypto.keys import WrappingKey
from edge.crypto.sealing import SealBroken
from edge.errors import ProfileError, StoreError
from edge.store.names import clean_name, clean_phrase, did_you_mean
from edge.store.records import MAX_PROFILES, MAX_SAMPLES, check_required, check_sample
from edge.store.sealed_file import StoreFile, Vault, item_place, sample_place
from edge.types import EnrollmentSample, Profile, ProfileKind
from edge.types.microphone import with_kind

MAX_ITEMS = 20_000
"""Items of one store, of all kinds."""
MAX_ITEM_BYTES = 1 << 20
_KIND = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_HEAD = struct.Struct("<Bd")
_VERSION = 1
_COLUMNS = "name_mark, owner_mark, sealed"


@dataclass(frozen=True)
class Kept:
    """An item; ids only grow, `created_at` is Unix time, without a profile it is the device's."""

    id: int
    profile_id: str | None
    created_at: float
    payload: bytes = field(repr=False)


class ItemRows:
    """The items of one store."""

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
        """Add an item; the oldest beyond `most` go. Raises `ValueError`, `StoreError` if full."""
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
        sealed = self._file.vault.rows.seal(content, *item_place(item_id, kind, profile_id))
        self._file.execute(
            "INSERT INTO item VALUES (?, ?, ?, ?)", (item_id, kind, profile_id, sealed)
        )
        return int(item_id)

    def all(self, kind: str, profile_id: str | None) -> list[Kept]:
        """The items of a kind, oldest first; of one profile, or of all and the device."""
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
            content = self._file.vault.rows.open(sealed, *item_place(item_id, kind, owner))
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


class ProfileRows:
    """The rows of one store."""

    def __init__(self, file: StoreFile) -> None:
        self._file = file

    def resolve(self, profile: str) -> str:
        """The id of a profile given by id or name. Raises `ProfileError` if there is none."""
        # A command line that is not UTF-8 arrives with surrogates, which cannot be stored.
        profile = profile.strip().encode(errors="replace").decode()
        row = self._file.execute(
            "SELECT id FROM profile WHERE id = ? OR name_mark = ?",
            (profile.lower(), self._file.vault.name_mark(profile)),
        ).fetchone()
        if row is None:
            names = [self.name(profile_id) for profile_id in self.ids()]
            shown = profile if len(profile) <= 80 else profile[:80] + "..."
            raise ProfileError(f"there is no profile {shown!r}: {did_you_mean(profile, names)}")
        (profile_id,) = row
        return str(profile_id)

    def ids(self) -> list[str]:
        """All ids, in the order of the rows."""
        rows = self._file.execute("SELECT id FROM profile ORDER BY rowid")
        return [str(profile_id) for (profile_id,) in rows]

    def name(self, profile_id: str) -> str:
        """A profile's name; its id where the name is what is damaged."""
        try:
            return self.record(profile_id).name
        except StoreError:
            return profile_id

    def record(self, profile_id: str) -> Profile:
        """What a profile is besides its samples."""
        row = self._file.execute(
            f"SELECT {_COLUMNS} FROM profile WHERE id = ?",  # noqa: S608 (a constant)
            (profile_id,),
        ).fetchone()
        try:
            return self._file.vault.open_profile(profile_id, *row)
        except ValueError as error:
            raise StoreError(
                f"the profile {profile_id} in {self._file.path} is damaged ({error}): put a backup"
                f" in place, or 'edge-voice profiles delete {profile_id}' and enroll again"
            ) from None

    def load(self, profile_id: str) -> Profile:
        """A whole profile."""
        record = self.record(profile_id)
        rows = self._file.execute(
            "SELECT position, adapted, sealed FROM sample WHERE profile_id = ? ORDER BY position",
            (profile_id,),
        )
        open_sample = self._file.vault.open_sample
        try:
            samples = tuple(open_sample(profile_id, *row) for row in rows)
        except ValueError as error:
            raise StoreError(
                f"the signature of {record.name} in {self._file.path} is damaged ({error}): put a"
                " backup in place, or 'edge-voice profiles reset' it and enroll again"
            ) from None
        return replace(record, id=profile_id, samples=samples)

    def refuse_taken(self, name: str, except_for: str = "") -> None:
        """Raise `ProfileError` for a name that another profile has."""
        row = self._file.execute(
            "SELECT id FROM profile WHERE name_mark = ? AND id <> ?",
            (self._file.vault.name_mark(name), except_for),
        ).fetchone()
        if row is not None:
            (taken,) = row
            raise ProfileError(
                f"there is a profile {self.name(taken)!r} already: choose another name"
            )

    def begin(
        self, name: str, kind: ProfileKind, phrase: str, required: float, duress_of: str | None
    ) -> str:
        """Add a profile without samples; its id. Raises as `ProfileStore.create`."""
        name, phrase = clean_name(name), clean_phrase(phrase)
        check_required(kind, required)
        self.refuse_taken(name)
        if len(self.ids()) >= MAX_PROFILES:
            raise ProfileError(
                f"the store holds {MAX_PROFILES} profiles, which is the most:"
                " delete one that is no longer needed"
            )
        if duress_of is not None:
            duress_of = self.resolve(duress_of)
            if self.record(duress_of).duress_of is not None:
                raise ProfileError("a duress phrase has no duress phrase of its own")
        profile = Profile.begin(name, kind, required=float(required), phrase=phrase)
        record = replace(profile, duress_of=duress_of)
        row = self._file.vault.profile_row(profile.id, record)
        self._file.execute("INSERT INTO profile VALUES (?, ?, ?, ?)", row)
        return profile.id

    def change(self, profile_id: str, **changes: Any) -> None:
        """Change parts of a profile's record, and note the time."""
        changes.setdefault("updated_at", time.time())
        _, *row = self._file.vault.profile_row(
            profile_id, replace(self.record(profile_id), **changes)
        )
        self._file.execute(
            "UPDATE profile SET name_mark = ?, owner_mark = ?, sealed = ? WHERE id = ?",
            (*row, profile_id),
        )

    def clear(self, profile_id: str) -> None:
        """Remove all samples of a profile."""
        self._file.execute("DELETE FROM sample WHERE profile_id = ?", (profile_id,))
        self.change(profile_id, speaker_model="", phrase_model="", microphones=())

    def append(
        self,
        profile_id: str,
        sample: EnrollmentSample,
        speaker_model: str,
        phrase_model: str,
        *,
        confirmed: bool = True,
        microphone: str = "",
    ) -> None:
        """Add an enrolled sample. Raises as `ProfileStore.add_sample`."""
        record = self.record(profile_id)
        if sample.adapted:
            raise ValueError("a sample that is enrolled cannot be a learned one")
        check_sample(record.kind, sample, speaker_model, phrase_model)
        (used,) = self._file.execute(
            "SELECT count(*) FROM sample WHERE profile_id = ? AND adapted = 0", (profile_id,)
        ).fetchone()
        if used >= MAX_SAMPLES:
            raise ProfileError(
                f"{record.name} has {MAX_SAMPLES} enrollment samples, which is the most:"
                " reset the profile to enroll anew"
            )
        if used and (record.speaker_model, record.phrase_model) != (speaker_model, phrase_model):
            raise ProfileError(
                f"{record.name} was enrolled with another model: reset the profile and enroll"
                " again, or go back to the model it was enrolled with"
            )
        self.insert(profile_id, sample)
        self.change(
            profile_id,
            speaker_model=speaker_model,
            phrase_model=phrase_model,
            confirmed=confirmed,
            microphones=with_kind(record.microphones, microphone),
        )

    def insert(self, profile_id: str, sample: EnrollmentSample) -> None:
        """Add a sample's row after the others. Raises `ValueError` as `records.encode_sample`."""
        # Not the number of samples: one that made room for a newer one has left a gap.
        (position,) = self._file.execute(
            "SELECT coalesce(max(position) + 1, 0) FROM sample WHERE profile_id = ?", (profile_id,)
        ).fetchone()
        self._file.execute(
            "INSERT INTO sample VALUES (?, ?, ?, ?)",
            (
                profile_id,
                position,
                int(sample.adapted),
                self._file.vault.seal_sample(profile_id, position, sample),
            ),
        )


@dataclass(frozen=True)
class KeyState:
    """Where the wrapping key was found, its id, and that of the data key; none of it is secret."""

    source: str
    key_id: str
    data_id: str


def lock_with(file: StoreFile, key: WrappingKey, *, rotate: bool) -> None:
    """Lock a store with a key, which may be the present one. As `ProfileStore.lock_with`."""
    with file.erasing():
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
        file.lock(new)
    # Only now: had it failed, the old keys would be those in use.
    file.vault = new
    file.sources.learn(key)


def _reseal(file: StoreFile, old: Vault, new: Vault) -> None:
    rows = file.execute("SELECT id, name_mark, owner_mark, sealed FROM profile").fetchall()
    for profile_id, *columns in rows:
        what = f"the profile {profile_id} is damaged"
        record = _opened(what, old.open_profile, profile_id, *columns)
        _, *resealed = new.profile_row(profile_id, record)
        file.execute(
            "UPDATE profile SET name_mark = ?, owner_mark = ?, sealed = ? WHERE id = ?",
            (*resealed, profile_id),
        )
    # One row at a time: all embeddings of all people at once would be many megabytes.
    keys = file.execute("SELECT rowid, profile_id, position, adapted FROM sample").fetchall()
    for row_id, profile_id, position, adapted in keys:
        place = sample_place(profile_id, position, adapted=adapted == 1)
        _move(file, "sample", "rowid", row_id, place, old, new)
    keys = file.execute("SELECT id, kind, profile_id FROM item").fetchall()
    for item_id, kind, owner in keys:
        _move(file, "item", "id", item_id, item_place(item_id, kind, owner), old, new)


def _move(
    file: StoreFile, table: str, key: str, row: int, place: tuple[str, ...], old: Vault, new: Vault
) -> None:
    (sealed,) = file.execute(
        f"SELECT sealed FROM {table} WHERE {key} = ?",  # noqa: S608 (constants)
        (row,),
    ).fetchone()
    content = _opened(f"a {table} of {place[1]} is damaged", old.rows.open, sealed, *place)
    file.execute(
        f"UPDATE {table} SET sealed = ? WHERE {key} = ?",  # noqa: S608 (constants)
        (new.rows.seal(content, *place), row),
    )


def _opened(what: str, opener: Any, *values: Any) -> Any:
    try:
        return opener(*values)
    except ValueError as error:
        raise SealBroken(f"{what} ({error})") from None

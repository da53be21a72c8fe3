"""Profiles and samples as rows, read and written inside the transactions of `ProfileStore`."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any

from edge.errors import ProfileError, StoreError
from edge.store.checks import MAX_PROFILES, MAX_SAMPLES, check_required, check_sample
from edge.store.database import StoreFile
from edge.store.names import clean_name, clean_phrase, did_you_mean
from edge.store.records import Record
from edge.types import EnrolmentSample, Profile, ProfileKind

_COLUMNS = "name_mark, owner_mark, sealed"


class ProfileRows:
    """The rows of one store; every method is to be called within a transaction of `file`."""

    def __init__(self, file: StoreFile) -> None:
        self._file = file

    def resolve(self, profile: str) -> str:
        """The id of a profile that is given by id or name.

        Raises:
            ProfileError: no such profile; the message names the nearest ones.
        """
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
        return str(row[0])

    def ids(self) -> list[str]:
        """All ids, in the order of the rows."""
        return [str(row[0]) for row in self._file.execute("SELECT id FROM profile ORDER BY rowid")]

    def name(self, profile_id: str) -> str:
        """A profile's name; its id where the name is what is damaged."""
        try:
            return self.record(profile_id).name
        except StoreError:
            return profile_id

    def record(self, profile_id: str) -> Record:
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
                f" in place, or 'edge-voice profiles delete {profile_id}' and enrol again"
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
                " backup in place, or 'edge-voice profiles reset' it and enrol again"
            ) from None
        return record.profile(profile_id, samples)

    def refuse_taken(self, name: str, except_for: str = "") -> None:
        """Raise `ProfileError` for a name that another profile has."""
        row = self._file.execute(
            "SELECT id FROM profile WHERE name_mark = ? AND id <> ?",
            (self._file.vault.name_mark(name), except_for),
        ).fetchone()
        if row is not None:
            taken = self.name(row[0])
            raise ProfileError(f"there is a profile {taken!r} already: choose another name")

    def begin(
        self, name: str, kind: ProfileKind, phrase: str, required: float, duress_of: str | None
    ) -> str:
        """Add a profile without samples; its id.

        Raises:
            ProfileError: as `ProfileStore.create`.
        """
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
        now, profile_id = time.time(), str(uuid.uuid4())
        record = Record(
            name=name,
            kind=kind,
            phrase=phrase,
            speaker_model="",
            phrase_model="",
            required=float(required),
            created_at=now,
            updated_at=now,
            duress_of=duress_of,
        )
        row = self._file.vault.profile_row(profile_id, record)
        self._file.execute("INSERT INTO profile VALUES (?, ?, ?, ?)", row)
        return profile_id

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
        self.change(profile_id, speaker_model="", phrase_model="")

    def append(
        self, profile_id: str, sample: EnrolmentSample, speaker_model: str, phrase_model: str
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
                f"{record.name} has {MAX_SAMPLES} enrolment samples, which is the most:"
                " reset the profile to enrol anew"
            )
        if used and (record.speaker_model, record.phrase_model) != (speaker_model, phrase_model):
            raise ProfileError(
                f"{record.name} was enrolled with another model: reset the profile and enrol again,"
                " or go back to the model it was enrolled with"
            )
        self.insert(profile_id, sample)
        self.change(profile_id, speaker_model=speaker_model, phrase_model=phrase_model)

    def insert(self, profile_id: str, sample: EnrolmentSample) -> None:
        """Add a sample's row after the others. Raises `ValueError` as `codec.encode`."""
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

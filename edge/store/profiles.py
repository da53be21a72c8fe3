"""The signature store: who is enrolled, on disk, whole after every power cut."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

from edge.errors import ProfileError, StoreError
from edge.store import codec
from edge.store.checks import (
    MAX_PROFILES,
    MAX_SAMPLES,
    check_learned,
    check_required,
    check_row,
    check_sample,
)
from edge.store.database import StoreFile
from edge.store.names import clean_name, clean_phrase, did_you_mean, name_key
from edge.types import EnrolmentSample, Profile, ProfileKind

_PROFILE_COLUMNS = (
    "id, name, kind, phrase, speaker_model, phrase_model, required, created_at, updated_at"
)
_Profiles = list[Profile]  # inside the class, `list` is the method


class ProfileStore:
    """Profiles and their enrolment samples in one SQLite file.

    Every method is one transaction: after a crash or a power cut at any moment its effect is there
    whole, or not at all. Several processes may have a store open at once, and any thread may use
    it. Where a method takes a profile, it takes the profile's id or its name, the latter without
    regard to case.

    All methods raise `StoreError` when the file cannot be read or written, or is damaged.

    Args:
        path: the file; it and its folder are made if missing, private to the user (0600, 0700).
        busy_s: how long to wait for a writer in another process, seconds.

    Raises:
        StoreError: it cannot be opened, is damaged, or is not a store; it is then left as it is.
    """

    def __init__(self, path: Path, busy_s: float = 5.0) -> None:
        self.path = path
        self._file = StoreFile(path, busy_s)

    def __enter__(self) -> ProfileStore:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        self._file.close()

    def create(self, name: str, kind: ProfileKind, phrase: str = "", *, required: float) -> Profile:
        """Add a profile without samples.

        Args:
            name: 1 to 64 characters that print; unique without regard to case.
            kind: what it is enrolled for.
            phrase: the phrase in writing, only for people to read; up to 200 characters.
            required: repetitions (`PHRASE`, 1 to 50) or seconds of speech (`VOICE`, to 3600) that
                make it complete.

        Raises:
            ProfileError: the name is impossible or taken, or there are `MAX_PROFILES` already.
        """
        return self.create_with_samples(name, kind, phrase, required=required)

    def create_with_samples(
        self,
        name: str,
        kind: ProfileKind,
        phrase: str = "",
        *,
        required: float,
        samples: Sequence[EnrolmentSample] = (),
        speaker_model: str = "",
        phrase_model: str = "",
    ) -> Profile:
        """Add a profile together with its samples: all of it, or nothing.

        Raises:
            ProfileError: as `create`, or there are more than `MAX_SAMPLES` samples.
            ValueError: as `add_sample`.
        """
        name, phrase = clean_name(name), clean_phrase(phrase)
        check_required(kind, required)
        now = time.time()
        with self._file.writing() as database:
            self._refuse_taken(name)
            if self.count() >= MAX_PROFILES:
                raise ProfileError(
                    f"the store holds {MAX_PROFILES} profiles, which is the most:"
                    " delete one that is no longer needed"
                )
            profile_id = str(uuid.uuid4())
            database.execute(
                "INSERT INTO profile (id, name, name_key, kind, phrase, required,"
                " created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (profile_id, name, name_key(name), kind.value, phrase, float(required), now, now),
            )
            for sample in samples:
                self._append(profile_id, sample, speaker_model, phrase_model)
            return self._load(profile_id)

    def add_sample(
        self, profile: str, sample: EnrolmentSample, speaker_model: str, phrase_model: str
    ) -> Profile:
        """Add one enrolment sample to a profile.

        Args:
            profile: id or name.
            sample: what is kept of the utterance.
            speaker_model: SHA-256 of the model that made the speaker embedding.
            phrase_model: SHA-256 of the model that made the phrase embedding; empty for `VOICE`.

        Raises:
            ProfileError: no such profile, it is full, or its samples are of other models.
            ValueError: the sample is not one of this kind of profile, or no embedding at all.
        """
        with self._file.writing():
            profile_id = self._resolve(profile)
            self._append(profile_id, sample, speaker_model, phrase_model)
            return self._load(profile_id)

    def adapt(self, profile: Profile, sample: EnrolmentSample, *, most: int) -> Profile:
        """Add a sample that was learned from an accepted utterance; no enrolled one is touched.

        Args:
            profile: as it was when the utterance was accepted: who has been enrolled anew
                meanwhile has not been accepted yet.
            sample: what is kept of the utterance, with `adapted` set, of the profile's models.
            most: how many learned samples there may be afterwards, 1 to `MAX_ADAPTED`; the oldest
                ones make room.

        Raises:
            ProfileError: no such profile any more, it has changed meanwhile, or has nothing
                enrolled.
            ValueError: the sample is not a learned one, not one of this kind of profile, or no
                embedding at all; or `most` is out of range.
        """
        check_learned(sample, most)
        with self._file.writing() as database:
            now = self._load(self._resolve(profile.id))
            if now.updated_at != profile.updated_at:
                raise ProfileError(f"{now.name} has changed since the utterance was accepted")
            if not now.enrolled:
                raise ProfileError(f"{now.name} has nothing enrolled that could be added to")
            check_sample(now.kind, sample, now.speaker_model, now.phrase_model)
            database.execute(
                "DELETE FROM sample WHERE profile_id = ?1 AND adapted = 1 AND position NOT IN"
                " (SELECT position FROM sample WHERE profile_id = ?1 AND adapted = 1"
                " ORDER BY position DESC LIMIT ?2)",
                (now.id, most - 1),
            )
            self._insert(now.id, sample)
            self._touch(now.id)
            return self._load(now.id)

    def forget_adaptation(self, profile: str) -> Profile:
        """Remove all learned samples: the signature is that of the enrolment again.

        Args:
            profile: id or name.

        Raises:
            ProfileError: no such profile.
        """
        with self._file.erasing() as database:
            profile_id = self._resolve(profile)
            removed = database.execute(
                "DELETE FROM sample WHERE profile_id = ? AND adapted = 1", (profile_id,)
            ).rowcount
            if removed:
                self._touch(profile_id)
            return self._load(profile_id)

    def replace_samples(
        self,
        profile: str,
        samples: Sequence[EnrolmentSample],
        speaker_model: str,
        phrase_model: str,
        *,
        phrase: Optional[str] = None,
        required: Optional[float] = None,
    ) -> Profile:
        """Exchange a signature for a new one: until it returns, the old one stands.

        Args:
            profile: id or name.
            samples: the new samples, all of them.
            speaker_model: as `add_sample`.
            phrase_model: as `add_sample`.
            phrase: the new phrase in writing; None keeps what is there.
            required: what makes the new signature complete; None keeps what is there.

        Raises:
            ProfileError: no such profile, or more than `MAX_SAMPLES` samples.
            ValueError: as `add_sample`.
        """
        with self._file.erasing() as database:
            profile_id = self._resolve(profile)
            self._clear(profile_id)
            if phrase is not None:
                database.execute(
                    "UPDATE profile SET phrase = ? WHERE id = ?",
                    (clean_phrase(phrase), profile_id),
                )
            if required is not None:
                check_required(self._load(profile_id).kind, required)
                database.execute(
                    "UPDATE profile SET required = ? WHERE id = ?", (float(required), profile_id)
                )
            for sample in samples:
                self._append(profile_id, sample, speaker_model, phrase_model)
            return self._load(profile_id)

    def reset(self, profile: str) -> Profile:
        """Forget a profile's samples; its id, name and phrase in writing stay.

        Raises:
            ProfileError: no such profile.
        """
        with self._file.erasing():
            profile_id = self._resolve(profile)
            self._clear(profile_id)
            return self._load(profile_id)

    def rename(self, profile: str, name: str) -> Profile:
        """Give a profile another name.

        Raises:
            ProfileError: no such profile, or the new name is impossible or taken.
        """
        name = clean_name(name)
        with self._file.writing() as database:
            profile_id = self._resolve(profile)
            self._refuse_taken(name, except_for=profile_id)
            database.execute(
                "UPDATE profile SET name = ?, name_key = ?, updated_at = ? WHERE id = ?",
                (name, name_key(name), time.time(), profile_id),
            )
            return self._load(profile_id)

    def delete(self, profile: str) -> None:
        """Delete a profile; nothing of its signature stays in the file, nor in the journal's.

        What a flash chip keeps of overwritten sectors is out of reach from here.

        Raises:
            ProfileError: no such profile.
        """
        with self._file.erasing() as database:
            database.execute("DELETE FROM profile WHERE id = ?", (self._resolve(profile),))

    def get(self, profile: str) -> Profile:
        """One profile by id or name.

        Raises:
            ProfileError: no such profile; the message names the nearest ones.
        """
        with self._file.reading():
            return self._load(self._resolve(profile))

    def find(self, profile: str) -> tuple[str, str]:
        """Id and name of a profile, without reading its samples: those may be what is damaged.

        Raises:
            ProfileError: no such profile.
        """
        with self._file.reading() as database:
            profile_id = self._resolve(profile)
            row = database.execute("SELECT name FROM profile WHERE id = ?", (profile_id,))
            return profile_id, str(row.fetchone()[0])

    def list(self) -> _Profiles:
        """All profiles, in the order in which they were created."""
        with self._file.reading() as database:
            ids = database.execute("SELECT id FROM profile ORDER BY created_at, rowid").fetchall()
            return [self._load(profile_id) for (profile_id,) in ids]

    def count(self) -> int:
        """How many profiles there are, enrolled or not."""
        with self._file.reading() as database:
            return int(database.execute("SELECT count(*) FROM profile").fetchone()[0])

    def data_version(self) -> tuple[int, int, int]:
        """A cheap mark of what the store holds: it differs after any change by any process.

        To be compared for equality with an earlier mark of the same object. A file that was put in
        the store's place, such as a backup, is opened here and counts as a change.

        Raises:
            StoreError: the file is gone, or another one in its place is no store.
        """
        return self._file.version()

    def _resolve(self, profile: str) -> str:
        # A command line that is not UTF-8 arrives with surrogates, which SQLite does not take.
        profile = profile.strip().encode(errors="replace").decode()
        row = self._file.execute(
            "SELECT id FROM profile WHERE id = ? OR name_key = ?",
            (profile.lower(), name_key(profile)),
        ).fetchone()
        if row is None:
            names = [name for (name,) in self._file.execute("SELECT name FROM profile")]
            shown = profile if len(profile) <= 80 else profile[:80] + "..."
            raise ProfileError(f"there is no profile {shown!r}: {did_you_mean(profile, names)}")
        return str(row[0])

    def _load(self, profile_id: str) -> Profile:
        row = self._file.execute(
            f"SELECT {_PROFILE_COLUMNS} FROM profile WHERE id = ?",  # noqa: S608 (a constant)
            (profile_id,),
        ).fetchone()
        name = row[1]
        rows = self._file.execute(
            f"SELECT {codec.COLUMNS} FROM sample"  # noqa: S608 (a constant)
            " WHERE profile_id = ? ORDER BY position",
            (profile_id,),
        )
        try:
            check_row(row)
            return Profile(
                id=row[0],
                name=name,
                kind=ProfileKind(row[2]),
                phrase=row[3],
                speaker_model=row[4],
                phrase_model=row[5],
                required=row[6],
                samples=tuple(codec.decode(each) for each in rows),
                created_at=row[7],
                updated_at=row[8],
            )
        except ValueError as error:
            raise StoreError(
                f"the signature of {name} in {self.path} is damaged ({error}): put a backup in"
                f" place, or 'edge-voice profiles reset' it and enrol again"
            ) from None

    def _refuse_taken(self, name: str, except_for: str = "") -> None:
        row = self._file.execute(
            "SELECT name FROM profile WHERE name_key = ? AND id <> ?", (name_key(name), except_for)
        ).fetchone()
        if row is not None:
            raise ProfileError(f"there is a profile {row[0]!r} already: choose another name")

    def _clear(self, profile_id: str) -> None:
        self._file.execute("DELETE FROM sample WHERE profile_id = ?", (profile_id,))
        self._file.execute(
            "UPDATE profile SET speaker_model = '', phrase_model = '', updated_at = ? WHERE id = ?",
            (time.time(), profile_id),
        )

    def _append(
        self, profile_id: str, sample: EnrolmentSample, speaker_model: str, phrase_model: str
    ) -> None:
        name, kind, *models = self._file.execute(
            "SELECT name, kind, speaker_model, phrase_model FROM profile WHERE id = ?",
            (profile_id,),
        ).fetchone()
        if sample.adapted:
            raise ValueError("a sample that is enrolled cannot be a learned one")
        check_sample(ProfileKind(kind), sample, speaker_model, phrase_model)
        (used,) = self._file.execute(
            "SELECT count(*) FROM sample WHERE profile_id = ? AND adapted = 0", (profile_id,)
        ).fetchone()
        if used >= MAX_SAMPLES:
            raise ProfileError(
                f"{name} has {MAX_SAMPLES} enrolment samples, which is the most:"
                " reset the profile to enrol anew"
            )
        if used and models != [speaker_model, phrase_model]:
            raise ProfileError(
                f"{name} was enrolled with another model: reset the profile and enrol again,"
                " or go back to the model it was enrolled with"
            )
        self._insert(profile_id, sample)
        self._file.execute(
            "UPDATE profile SET speaker_model = ?, phrase_model = ?, updated_at = ? WHERE id = ?",
            (speaker_model, phrase_model, time.time(), profile_id),
        )

    def _insert(self, profile_id: str, sample: EnrolmentSample) -> None:
        # Not the number of samples: one that made room for a newer one has left a gap.
        (position,) = self._file.execute(
            "SELECT coalesce(max(position) + 1, 0) FROM sample WHERE profile_id = ?", (profile_id,)
        ).fetchone()
        values: tuple[Any, ...] = codec.encode(sample)
        marks = ", ".join("?" * (2 + len(values)))
        self._file.execute(
            f"INSERT INTO sample (profile_id, position, {codec.COLUMNS})"  # noqa: S608 (constants)
            f" VALUES ({marks})",
            (profile_id, position, *values),
        )

    def _touch(self, profile_id: str) -> None:
        self._file.execute(
            "UPDATE profile SET updated_at = ? WHERE id = ?", (time.time(), profile_id)
        )

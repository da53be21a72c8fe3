"""The signature store: who is enrolled, on disk, whole after every power cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.errors import ProfileError
from edge.store.checks import check_learned, check_required, check_sample
from edge.store.names import clean_name, clean_phrase
from edge.store.people import add_person, person_of
from edge.store.records import check_rule
from edge.store.sealed import SealedStore
from edge.store.transfer import Person
from edge.types import AccessRule, EnrolmentSample, Profile, ProfileKind

_Profiles = list[Profile]  # inside the class, `list` is the method


class ProfileStore(SealedStore):
    """Profiles and their enrolment samples in one SQLite file, sealed.

    Every method is one transaction: after a crash or a power cut at any moment its effect is there
    whole, or not at all. Several processes may have a store open at once, and any thread may use
    it. Where a method takes a profile, it takes the profile's id or its name, the latter without
    regard to case.

    Names, phrases, rules, dates and embeddings are sealed with AES-256-GCM, each bound to its row.
    Without the key the file tells how many profiles, samples and items it holds, roughly how long
    each phrase is, which kinds of items there are, and what was learned; nothing else. Who can
    write the file but lacks the key can destroy rows, or put back older copies of them: rotating
    the key makes older copies worthless.

    All methods raise `StoreError` when the file cannot be read or written, or is damaged, and
    `KeyFault`, which is one, when it was locked with a key that is not here.

    Args:
        path: the file; it and its folder are made if missing, private to the user (0600, 0700).
        busy_s: how long to wait for a writer in another process, seconds.
        settings: where the key is.

    Raises:
        KeyFault: the key is not there; nothing was changed.
        StoreError: it cannot be opened, is damaged, or is not a store; it is then left as it is.
    """

    def create(
        self,
        name: str,
        kind: ProfileKind,
        phrase: str = "",
        *,
        required: float,
        duress_of: str | None = None,
    ) -> Profile:
        """Add a profile without samples.

        Args:
            name: 1 to 64 characters that print; unique without regard to case.
            kind: what it is enrolled for.
            phrase: the phrase in writing, only for people to read; up to 200 characters.
            required: repetitions (`PHRASE`, 1 to 50) or seconds of speech (`VOICE`, to 3600) that
                make it complete.
            duress_of: id or name of the profile whose duress phrase it is; it goes with that one.

        Raises:
            ProfileError: the name is impossible or taken, there are `MAX_PROFILES` already, or
                `duress_of` is nobody's own profile.
        """
        return self.create_with_samples(name, kind, phrase, required=required, duress_of=duress_of)

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
        duress_of: str | None = None,
    ) -> Profile:
        """Add a profile together with its samples: all of it, or nothing.

        Raises:
            ProfileError: as `create`, or there are more than `MAX_SAMPLES` samples.
            ValueError: as `add_sample`.
        """
        with self._file.writing():
            profile_id = self._rows.begin(name, kind, phrase, required, duress_of)
            for sample in samples:
                self._rows.append(profile_id, sample, speaker_model, phrase_model)
            return self._rows.load(profile_id)

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
            profile_id = self._rows.resolve(profile)
            self._rows.append(profile_id, sample, speaker_model, phrase_model)
            return self._rows.load(profile_id)

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
            now = self._rows.load(self._rows.resolve(profile.id))
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
            self._rows.insert(now.id, sample)
            self._rows.change(now.id)
            return self._rows.load(now.id)

    def forget_adaptation(self, profile: str) -> Profile:
        """Remove all learned samples: the signature is that of the enrolment again.

        Args:
            profile: id or name.

        Raises:
            ProfileError: no such profile.
        """
        with self._file.erasing() as database:
            profile_id = self._rows.resolve(profile)
            removed = database.execute(
                "DELETE FROM sample WHERE profile_id = ? AND adapted = 1", (profile_id,)
            ).rowcount
            if removed:
                self._rows.change(profile_id)
            return self._rows.load(profile_id)

    def replace_samples(
        self,
        profile: str,
        samples: Sequence[EnrolmentSample],
        speaker_model: str,
        phrase_model: str,
        *,
        phrase: str | None = None,
        required: float | None = None,
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
        changes: dict[str, Any] = {}
        if phrase is not None:
            changes["phrase"] = clean_phrase(phrase)
        if required is not None:
            changes["required"] = float(required)
        with self._file.erasing():
            profile_id = self._rows.resolve(profile)
            if required is not None:
                check_required(self._rows.record(profile_id).kind, required)
            self._rows.clear(profile_id)
            self._rows.change(profile_id, **changes)
            for sample in samples:
                self._rows.append(profile_id, sample, speaker_model, phrase_model)
            return self._rows.load(profile_id)

    def reset(self, profile: str) -> Profile:
        """Forget a profile's samples; its id, name and phrase in writing stay.

        Raises:
            ProfileError: no such profile.
        """
        with self._file.erasing():
            profile_id = self._rows.resolve(profile)
            self._rows.clear(profile_id)
            return self._rows.load(profile_id)

    def rename(self, profile: str, name: str) -> Profile:
        """Give a profile another name.

        Raises:
            ProfileError: no such profile, or the new name is impossible or taken.
        """
        name = clean_name(name)
        with self._file.erasing():
            profile_id = self._rows.resolve(profile)
            self._rows.refuse_taken(name, except_for=profile_id)
            self._rows.change(profile_id, name=name)
            return self._rows.load(profile_id)

    def set_rule(self, profile: str, rule: AccessRule) -> Profile:
        """Say what a person may open, and when.

        Args:
            profile: id or name.
            rule: in the place of the one that is there.

        Raises:
            ProfileError: no such profile.
            ValueError: the rule cannot be.
        """
        check_rule(rule)
        with self._file.erasing():
            profile_id = self._rows.resolve(profile)
            self._rows.change(profile_id, rule=rule)
            return self._rows.load(profile_id)

    def delete(self, profile: str) -> None:
        """Delete a profile, with the person's duress phrases and all items.

        Nothing of it stays in the file, nor in the journal's. What a flash chip keeps of
        overwritten sectors is out of reach from here, but sealed; where the key may be known to
        others, rotate it as well.

        Raises:
            ProfileError: no such profile.
        """
        with self._file.erasing() as database:
            profile_id = self._rows.resolve(profile)
            database.execute(
                "DELETE FROM profile WHERE id = ? OR owner_mark = ?",
                (profile_id, self._file.vault.owner_mark(profile_id)),
            )

    def get(self, profile: str) -> Profile:
        """One profile by id or name.

        Raises:
            ProfileError: no such profile; the message names the nearest ones.
        """
        with self._file.reading():
            return self._rows.load(self._rows.resolve(profile))

    def find(self, profile: str) -> tuple[str, str]:
        """Id and name of a profile, without reading its samples: those may be what is damaged.

        Raises:
            ProfileError: no such profile.
        """
        with self._file.reading():
            profile_id = self._rows.resolve(profile)
            return profile_id, self._rows.name(profile_id)

    def list(self) -> _Profiles:
        """All profiles, in the order in which they were created."""
        with self._file.reading():
            profiles = [self._rows.load(profile_id) for profile_id in self._rows.ids()]
        return sorted(profiles, key=lambda profile: profile.created_at)

    def count(self) -> int:
        """How many profiles there are, enrolled or not."""
        with self._file.reading() as database:
            return int(database.execute("SELECT count(*) FROM profile").fetchone()[0])

    def export(self, profile: str) -> Person:
        """A person with everything that belongs to them, to be written to a file.

        Raises:
            ProfileError: no such profile, or it is somebody's duress phrase.
        """
        with self._file.reading():
            return person_of(self._rows, self._items, self._rows.resolve(profile))

    def import_person(self, person: Person, name: str | None = None) -> Profile:
        """Add somebody who comes from a file: all of it, or nothing.

        Args:
            person: whom; checked already.
            name: another name than that in the file.

        Raises:
            ProfileError: a name is taken, or there are too many profiles.
        """
        with self._file.writing():
            return self._rows.load(add_person(self._rows, self._items, person, name))

"""The signature store: who is enrolled, on disk, whole after every power cut."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.config import StoreConfig
from edge.crypto.keys import KeySources, WrappingKey
from edge.crypto.sealing import derive
from edge.errors import InputError, ProfileError
from edge.store.names import clean_name, clean_phrase
from edge.store.records import check_learned, check_required, check_rule, check_sample
from edge.store.rows import ItemRows, Kept, KeyState, ProfileRows, lock_with
from edge.store.sealed_file import StoreFile
from edge.store.transfer import ExportedPerson, add_person, person_of
from edge.types import AccessRule, EnrollmentSample, Profile, ProfileKind, ProfileStatus

# Inside the class, `list` is the method.
_Profiles = list[Profile]
_Items = list[Kept]


def require_passphrase(profile: Profile) -> None:
    """Raise `InputError` for a voice alone, which opens nothing, whatever its rule says."""
    if profile.kind is ProfileKind.VOICE:
        raise InputError(
            f"{profile.name} was enrolled by voice alone, which opens nothing, so there is no rule"
            " to set: to open a door, enroll a passphrase under another name"
        )


class ProfileStore:
    """Profiles and their enrollment samples in one SQLite file, sealed; for any thread and process.

    Every method is one transaction, and takes a profile's id or its name, in any case.

    Names, phrases, rules, dates and embeddings are sealed with AES-256-GCM, each bound to its row.
    Without the key the file shows how many profiles, samples and items it has, roughly how long
    each phrase is, which kinds of items there are, and what was learned; nothing else. Anyone who
    can write the file but lacks the key can destroy rows, or put back older copies of them:
    rotating the key makes older copies worthless.

    Args:
        path: the file; it and its folder are made if missing, private to the user (0600, 0700).
        busy_s: how long to wait for a writer in another process, seconds.

    Raises:
        ProfileError: by every method, where there is no such profile.
        KeyFault: the key is not there; nothing was changed.
        StoreError: it cannot be used, is damaged, or is not a store; it is then left as it is.
    """

    def __init__(
        self, path: Path, busy_s: float = 5.0, settings: StoreConfig | None = None
    ) -> None:
        self.path = path
        self.key_sources = KeySources(settings or StoreConfig(), path.parent)
        self._file = StoreFile(path, busy_s, self.key_sources)
        self._rows = ProfileRows(self._file)
        self._items = ItemRows(self._file)

    def __enter__(self) -> ProfileStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def data_version(self) -> tuple[int, int]:
        """A mark that differs after any process changed the profiles; items do not count."""
        return self._file.version()

    def create(
        self,
        name: str,
        kind: ProfileKind,
        phrase: str = "",
        *,
        required: float,
        samples: Sequence[EnrollmentSample] = (),
        speaker_model: str = "",
        phrase_model: str = "",
        duress_of: str | None = None,
        confirmed: bool = True,
        microphone: str = "",
    ) -> Profile:
        """Add a profile together with its samples, if any.

        Args:
            name: 1 to 64 characters that print; unique without regard to case.
            phrase: the phrase in writing, only for people to read; up to 200 characters.
            required: repetitions (`PHRASE`, 1 to 50) or seconds of speech (`VOICE`, to 3600) that
                make it complete.
            samples: up to `MAX_SAMPLES`.
            duress_of: id or name of the profile whose duress phrase it is; it goes with that one.
            confirmed: False where the owner has to confirm it before it opens.
            microphone: the kind that the samples were heard with, empty where it is not known.

        Raises:
            ProfileError: the name is impossible or taken, there are too many profiles or samples,
                or `duress_of` is not a person's own profile.
            ValueError: as `add_sample`.
        """
        with self._file.writing():
            profile_id = self._rows.begin(name, kind, phrase, required, duress_of)
            for sample in samples:
                self._rows.append(
                    profile_id,
                    sample,
                    speaker_model,
                    phrase_model,
                    confirmed=confirmed,
                    microphone=microphone,
                )
            return self._rows.load(profile_id)

    def add_sample(
        self,
        profile: str,
        sample: EnrollmentSample,
        speaker_model: str,
        phrase_model: str,
        *,
        confirmed: bool = True,
        microphone: str = "",
    ) -> Profile:
        """Add one enrollment sample to a profile, with the SHA-256 of the models that embedded it.

        The phrase model is empty for `VOICE`. From then on it is `confirmed` or not, as a whole.
        `microphone` is the kind that the sample was heard with, empty where it is not known.

        Raises:
            ProfileError: it is full, or its samples are of other models.
            ValueError: the sample is not one of this kind of profile, or no embedding at all.
        """
        with self._file.writing():
            profile_id = self._rows.resolve(profile)
            self._rows.append(
                profile_id,
                sample,
                speaker_model,
                phrase_model,
                confirmed=confirmed,
                microphone=microphone,
            )
            return self._rows.load(profile_id)

    def confirm(self, profile: str) -> Profile:
        """Let an unconfirmed profile open. Raises `ProfileError` unless it waits for that."""
        with self._file.writing():
            found = self._rows.load(self._rows.resolve(profile))
            if found.status is not ProfileStatus.UNCONFIRMED:
                raise ProfileError(f"{found.name} is not waiting to be confirmed")
            self._rows.change(found.id, confirmed=True)
            return self._rows.load(found.id)

    def adapt(self, profile: Profile, sample: EnrollmentSample, *, most: int) -> Profile:
        """Add a sample that was learned from an accepted utterance; no enrolled one is touched.

        Args:
            profile: as it was when the utterance was accepted.
            sample: with `adapted` set, of the profile's models.
            most: how many learned samples stay, the newest, 1 to `MAX_ADAPTED`.

        Raises:
            ProfileError: it has changed since then, or has nothing enrolled.
            ValueError: the sample does not fit, or `most` is out of range.
        """
        check_learned(sample, most)
        with self._file.writing():
            now = self._rows.load(self._rows.resolve(profile.id))
            if now.updated_at != profile.updated_at:
                raise ProfileError(f"{now.name} has changed since the utterance was accepted")
            if not now.enrolled:
                raise ProfileError(f"{now.name} has nothing enrolled that could be added to")
            check_sample(now.kind, sample, now.speaker_model, now.phrase_model)
            self._file.execute(
                "DELETE FROM sample WHERE profile_id = ?1 AND adapted = 1 AND position NOT IN"
                " (SELECT position FROM sample WHERE profile_id = ?1 AND adapted = 1"
                " ORDER BY position DESC LIMIT ?2)",
                (now.id, most - 1),
            )
            self._rows.insert(now.id, sample)
            self._rows.change(now.id)
            return self._rows.load(now.id)

    def forget_adaptation(self, profile: str) -> Profile:
        """Remove all learned samples: the signature is that of the enrollment again."""
        with self._file.erasing():
            profile_id = self._rows.resolve(profile)
            removed = self._file.execute(
                "DELETE FROM sample WHERE profile_id = ? AND adapted = 1", (profile_id,)
            ).rowcount
            if removed:
                self._rows.change(profile_id)
            return self._rows.load(profile_id)

    def replace_samples(
        self,
        profile: str,
        samples: Sequence[EnrollmentSample],
        speaker_model: str,
        phrase_model: str,
        *,
        phrase: str | None = None,
        required: float | None = None,
        microphones: Sequence[str] = (),
    ) -> Profile:
        """Replace a signature in one step; `phrase` and `required` stay where None is given.

        `microphones` are the kinds that the new one was heard with.

        Raises:
            ProfileError: more than `MAX_SAMPLES` samples.
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
            self._rows.change(profile_id, microphones=tuple(microphones))
            return self._rows.load(profile_id)

    def reset(self, profile: str) -> Profile:
        """Remove a profile's samples, and the person's duress phrases.

        Its id, name and phrase in writing stay. A duress phrase would open again with whoever is
        enrolled next under that name.
        """
        with self._file.erasing():
            profile_id = self._rows.resolve(profile)
            self._rows.clear(profile_id)
            self._file.execute(
                "DELETE FROM profile WHERE owner_mark = ?",
                (self._file.vault.owner_mark(profile_id),),
            )
            return self._rows.load(profile_id)

    def rename(self, profile: str, name: str) -> Profile:
        """Give a profile another name. Raises `ProfileError` if it is impossible or taken."""
        name = clean_name(name)
        with self._file.erasing():
            profile_id = self._rows.resolve(profile)
            self._rows.refuse_taken(name, except_for=profile_id)
            self._rows.change(profile_id, name=name)
            return self._rows.load(profile_id)

    def set_rule(self, profile: str, rule: AccessRule) -> Profile:
        """Set what a person may open, and when. Raises `ValueError` for an impossible rule."""
        check_rule(rule)
        with self._file.erasing():
            profile_id = self._rows.resolve(profile)
            self._rows.change(profile_id, rule=rule)
            return self._rows.load(profile_id)

    def delete(self, profile: str) -> None:
        """Delete a profile, with the person's duress phrases and all items.

        Nothing of it stays in the file, nor in the journal's. What a flash chip keeps of
        overwritten sectors is sealed; where others may know the key, rotate it as well.
        """
        with self._file.erasing():
            profile_id = self._rows.resolve(profile)
            self._file.execute(
                "DELETE FROM profile WHERE id = ? OR owner_mark = ?",
                (profile_id, self._file.vault.owner_mark(profile_id)),
            )

    def get(self, profile: str) -> Profile:
        """One profile by id or name."""
        with self._file.reading():
            return self._rows.load(self._rows.resolve(profile))

    def find(self, profile: str) -> tuple[str, str]:
        """Id and name of a profile, without reading its samples: those may be what is damaged."""
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
        with self._file.reading():
            (number,) = self._file.execute("SELECT count(*) FROM profile").fetchone()
            return int(number)

    def export(self, profile: str) -> ExportedPerson:
        """A person with all that belongs to them. Raises `ProfileError` for a duress phrase."""
        with self._file.reading():
            return person_of(self._rows, self._items, self._rows.resolve(profile))

    def import_person(self, person: ExportedPerson, name: str | None = None) -> Profile:
        """Add a checked person from a file. Raises `ProfileError` for a taken name, or too many."""
        with self._file.writing():
            return self._rows.load(add_person(self._rows, self._items, person, name))

    def keep(
        self, kind: str, payload: bytes, *, profile: str | None = None, most: int | None = None
    ) -> int:
        """Keep a small thing, sealed; with a profile, for as long as the profile is there.

        Args:
            kind: 1 to 32 small letters, digits, - or _; not sealed.
            payload: up to 1 MiB.
            most: how many of this kind (and this profile, or none) stay, the newest.

        Returns:
            Its id.

        Raises:
            ValueError: the kind or size is impossible.
        """
        with self._file.writing():
            profile_id = None if profile is None else self._rows.resolve(profile)
            return self._items.add(kind, payload, profile_id, most)

    def kept(self, kind: str, profile: str | None = None) -> _Items:
        """What is kept of a kind, oldest first; of one profile, or of all and the device."""
        with self._file.reading():
            profile_id = None if profile is None else self._rows.resolve(profile)
            return self._items.all(kind, profile_id)

    def discard(
        self, kind: str, profile: str | None = None, ids: Sequence[int] | None = None
    ) -> int:
        """Remove what is kept of a kind, all or some, of one profile or everybody; how many."""
        with self._file.writing():
            profile_id = None if profile is None else self._rows.resolve(profile)
            return self._items.discard(kind, profile_id, ids)

    def derive_key(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, for another file of this device.

        It follows (HKDF) from a secret in the store that survives rotation and a change of the
        wrapping key, and is lost with the store.
        """
        with self._file.reading():
            return derive(self._file.vault.secrets.root, f"for {purpose}")

    def key_state(self) -> KeyState:
        """Which keys the store is locked with."""
        with self._file.reading():
            vault = self._file.vault
            source = self.key_sources.find(vault.lock).source
            return KeyState(source, vault.lock.key_id, vault.secrets.data_id)

    def rotate_key(self) -> None:
        """Seal every row with a new data key. Raises `StoreError` if a row is damaged."""
        with self._file.reading():
            key = self.key_sources.find(self._file.vault.lock)
        lock_with(self._file, key, rotate=True)

    def lock_with(self, key: WrappingKey, *, rotate: bool = False) -> None:
        """Lock the store with another key; the old one no longer opens it. Raises as `rotate_key`.

        With `rotate` the data key is new too: needed where others know the former key, which opens
        the present data key from an old copy of the file.
        """
        lock_with(self._file, key, rotate=rotate)

"""An enrollment as it goes on: what has been accepted, and when it is written down.

Every accepted utterance is stored at once, so that an interrupted enrollment can be continued. A
new profile appears with its first one, so that an enrollment refused altogether leaves nothing.
Enrolling somebody *again* holds all of it back until the new signature is complete, and then
exchanges the two: whatever goes wrong before, the old one stands.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace

from edge.access.duress import require_apart
from edge.config import EnrollmentConfig, ReplayConfig
from edge.enrollment.checks import require_syllables, require_whole
from edge.errors import ProfileError
from edge.recognition.engine import Engine
from edge.replay.memory import remember_enrollment
from edge.store import ProfileStore
from edge.store.names import clean_name, clean_phrase
from edge.types import EnrollmentSample, Profile, ProfileKind, ProfileStatus, ReasonCode, Utterance

DURESS = "(duress)"
"""What the name of a duress phrase's profile ends in."""
SHORT_SECONDS = 1.0
"""Speech that the short mode asks for; enough to try it out, not to guard a door."""


@dataclass(frozen=True)
class Wish:
    """What was asked for.

    Attributes:
        name: whom to enroll, a new name or that of a profile.
        kind: for what.
        phrase: the phrase in writing; None when not given.
        short: whether `SHORT_SECONDS` of free speech are enough.
        again: whether to replace what is there.
        duress: whether it is a second phrase of that person, which raises an alarm.
    """

    name: str
    kind: ProfileKind
    phrase: str | None = None
    short: bool = False
    again: bool = False
    duress: bool = False


@dataclass(frozen=True)
class Examined:
    """An utterance that fits, not stored yet.

    Attributes:
        utterance: as it was said.
        sample: what is kept of it.
        speaker_model: SHA-256 of the model that embedded the voice.
        phrase_model: SHA-256 of the model that embedded the phrase; empty without a phrase.
    """

    utterance: Utterance
    sample: EnrollmentSample
    speaker_model: str
    phrase_model: str


class Enrollment:
    """One person's enrollment, begun or continued.

    Args:
        store: where profiles are kept.
        wish: what was asked for.
        config: how much is required.

    Attributes:
        profile: what has been accepted so far; its id is empty until it is stored.

    Raises:
        ProfileError: the name is impossible, or the profile is enrolled already, or of another
            kind, or has another phrase.
    """

    def __init__(self, store: ProfileStore, wish: Wish, config: EnrollmentConfig) -> None:
        self._store = store
        self._wish = wish
        self._other: Profile | None = None
        required = _required(wish, config)
        if wish.duress:
            owner = self._other = _owner(store, wish.name)
            existing = _duress_of(store, owner)
            required = owner.required
            wish = self._wish = replace(wish, name=f"{owner.name[:55].strip()} {DURESS}")
        else:
            existing = _existing(store, wish.name)
            if existing is not None and existing.duress_of is not None:
                raise ProfileError(
                    f"{existing.name} is a duress phrase: give the person's name, and --duress"
                )
            if existing is not None:
                self._other = _duress_of(store, existing)
        if existing is None:
            self.profile = _blank(wish, required)
            if self._other is not None:
                self.profile = replace(self.profile, duress_of=self._other.id)
        elif wish.again:
            self.profile = replace(
                existing,
                kind=self._same_kind(existing),
                phrase=existing.phrase if wish.phrase is None else clean_phrase(wish.phrase),
                required=required,
                samples=(),
                speaker_model="",
                phrase_model="",
            )
        else:
            self._refuse_what_differs(existing)
            self.profile = existing
        self._held_back = existing is not None and wish.again
        self.stored = existing is not None and not wish.again
        self._said: list[Utterance] = []

    @property
    def complete(self) -> bool:
        """Whether nothing remains."""
        return self.profile.status is ProfileStatus.ENROLLED

    @property
    def keeps_old(self) -> bool:
        """Whether an old signature still stands, since the new one is not complete."""
        return self._held_back and not self.stored

    def add(self, engine: Engine, utterance: Utterance) -> None:
        """Take an utterance, and store what may be stored.

        Raises:
            EnrollmentRejected: it does not fit; nothing has changed.
            ProfileError: the profile was begun with another model, or has gone meanwhile.
        """
        self.accept(self.examine(engine, utterance))

    def examine(self, engine: Engine, utterance: Utterance) -> Examined:
        """What an utterance is worth for this profile; changes nothing and touches no disk.

        Raises:
            EnrollmentRejected: it does not fit.
            ProfileError: the profile was begun with another model.
        """
        kind = self.profile.kind
        if kind is ProfileKind.PHRASE:
            refusal = engine.refusal(utterance, kind)
            # Cut off at both ends, there is no silence left by which to know the noise.
            if refusal in (None, ReasonCode.TOO_NOISY):
                require_whole(utterance)
            if refusal is None:
                require_syllables(utterance)
        sample = engine.enroll(self.profile, utterance)
        if self._other is not None and self._other.enrolled:
            engine.require_models(self._other)
            require_apart(engine, self._other, sample)
        return Examined(
            utterance,
            sample,
            speaker_model=engine.models.speaker.sha256,
            phrase_model=engine.models.phrase.sha256 if sample.phrase_embedding is not None else "",
        )

    def accept(self, examined: Examined) -> None:
        """Store what was examined, if it may be stored yet.

        Raises:
            ProfileError: the profile has gone meanwhile.
            StoreError: the store cannot be written.
        """
        sample = examined.sample
        speaker_model, phrase_model = examined.speaker_model, examined.phrase_model
        if self._held_back:
            self.profile = replace(
                self.profile,
                samples=(*self.profile.samples, sample),
                speaker_model=speaker_model,
                phrase_model=phrase_model,
            )
        elif self.profile.id:
            self.profile = self._store.add_sample(
                self.profile.id, sample, speaker_model, phrase_model
            )
        else:
            self.profile = self._store.create(
                self.profile.name,
                self.profile.kind,
                self.profile.phrase,
                required=self.profile.required,
                samples=[sample],
                speaker_model=speaker_model,
                phrase_model=phrase_model,
                duress_of=self.profile.duress_of,
            )
            self.stored = True
        self._said.append(examined.utterance)

    def remember(self, config: ReplayConfig) -> None:
        """Keep what tells a recording of these very utterances from the person at the door.

        Raises:
            StoreError: the store cannot be written.
            ProfileError: the profile has gone meanwhile.
        """
        if self.stored and self.profile.kind is ProfileKind.PHRASE:
            remember_enrollment(self._store, self.profile.id, self._said, config)
            self._said = []  # only now: where the store was busy, it is tried again

    def finish(self) -> Profile:
        """Exchange the signatures if that was held back and the new one is complete."""
        if self.keeps_old and self.complete:
            self.profile = self._store.replace_samples(
                self.profile.id,
                self.profile.samples,
                self.profile.speaker_model,
                self.profile.phrase_model,
                phrase=self.profile.phrase,
                required=self.profile.required,
            )
            self.stored = True
        return self.profile

    def _refuse_what_differs(self, existing: Profile) -> None:
        if existing.status is ProfileStatus.ENROLLED:
            raise ProfileError(
                f"{existing.name} is enrolled already: add --again to replace the signature"
            )
        self._same_kind(existing)
        phrase = self._wish.phrase
        if phrase is not None and clean_phrase(phrase) != existing.phrase:
            raise ProfileError(
                f"{existing.name} has begun with another phrase ({existing.phrase or 'unwritten'}):"
                " leave out --phrase to continue, or add --again to start over"
            )

    def _same_kind(self, existing: Profile) -> ProfileKind:
        if existing.kind is self._wish.kind:
            return existing.kind
        by_voice = existing.kind is ProfileKind.VOICE
        raise ProfileError(
            f"{existing.name} is enrolled by {'free speech' if by_voice else 'passphrase'}:"
            f" {'add' if by_voice else 'leave out'} --voice, or choose another name"
        )


def _existing(store: ProfileStore, name: str) -> Profile | None:
    with contextlib.suppress(ProfileError):
        return store.get(name)
    return None


def _owner(store: ProfileStore, name: str) -> Profile:
    owner = store.get(name)
    if owner.duress_of is not None:
        owner = store.get(owner.duress_of)
    if owner.kind is not ProfileKind.PHRASE or owner.status is not ProfileStatus.ENROLLED:
        raise ProfileError(
            f"{owner.name} has no passphrase that is enrolled: enroll that first, then --duress"
        )
    return owner


def _duress_of(store: ProfileStore, owner: Profile) -> Profile | None:
    return next((each for each in store.list() if each.duress_of == owner.id), None)


def _required(wish: Wish, config: EnrollmentConfig) -> float:
    if wish.kind is ProfileKind.PHRASE:
        return float(config.repetitions)
    return SHORT_SECONDS if wish.short else config.voice_seconds


def _blank(wish: Wish, required: float) -> Profile:
    now = time.time()
    return Profile(
        id="",
        name=clean_name(wish.name),
        kind=wish.kind,
        phrase=clean_phrase(wish.phrase or ""),
        speaker_model="",
        phrase_model="",
        required=required,
        samples=(),
        created_at=now,
        updated_at=now,
    )

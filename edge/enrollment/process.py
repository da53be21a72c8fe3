"""One person's enrollment: what was accepted, and when it is stored.

Each accepted utterance is stored at once, so that an interrupted enrollment can be continued; a new
profile appears with its first one. Enrolling somebody *again* replaces the old signature only once
the new one is complete.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from edge.config import EnrollmentConfig, ReplayConfig
from edge.enrollment.checks import (
    require_apart,
    require_spoken_anew,
    require_syllables,
    require_whole,
)
from edge.errors import ProfileError
from edge.recognition.engine import Engine
from edge.replay.fingerprint import Fingerprint, UtterancePeaks
from edge.replay.memory import fingerprints_of, remember_enrollment
from edge.store import ProfileStore
from edge.store.names import clean_name, clean_phrase
from edge.types import EnrollmentSample, Profile, ProfileKind, ProfileStatus, ReasonCode, Utterance
from edge.types.microphone import with_kind

DURESS = "(duress)"
"""How the name of a duress profile ends."""
SHORT_SECONDS = 1.0
"""Speech for the short mode; enough to try it out, not to guard a door."""


@dataclass(frozen=True)
class EnrollmentRequest:
    """What to enroll.

    Attributes:
        name: a new name, or that of a profile.
        phrase: the written phrase; None when not given.
        short: whether `SHORT_SECONDS` of free speech are enough.
        again: whether to replace an existing signature.
        duress: whether it is the person's duress phrase.
        more: whether an enrolled signature may be added to.
        remote: whether it is enrolled over MQTT. Then it opens nothing until it is confirmed; of
            somebody who waits for that, it is a second session, which confirms if it agrees.
    """

    name: str
    kind: ProfileKind
    phrase: str | None = None
    short: bool = False
    again: bool = False
    duress: bool = False
    more: bool = False
    remote: bool = False


@dataclass(frozen=True)
class Examined:
    """An accepted utterance that is not stored yet.

    Attributes:
        speaker_model: SHA-256 of the voice's model.
        phrase_model: SHA-256 of the phrase's model; empty without a phrase.
    """

    utterance: Utterance
    sample: EnrollmentSample
    speaker_model: str
    phrase_model: str


class Enrollment:
    """An enrollment, begun or continued.

    Attributes:
        profile: what was accepted so far; its id is empty until it is stored.
        stored: whether `profile` is what the store has.
        confirms: whether it is a second session, of somebody who waits to be confirmed: what is
            said must agree with all of the first one, which it confirms. `profile` then has what
            said in this one, until it is complete.
        microphone: the kind of microphone that what comes next is heard with, see
            `edge.types.microphone`; empty where it is not known.

    With `replay` enabled, a recording of one repetition is not taken for another one.

    Raises:
        ProfileError: an invalid name, or the profile is enrolled already, is of another kind, or
            has another phrase.
    """

    def __init__(
        self,
        store: ProfileStore,
        request: EnrollmentRequest,
        config: EnrollmentConfig,
        replay: ReplayConfig | None = None,
    ) -> None:
        self.microphone = ""
        self._store = store
        self._request = request
        self._other: Profile | None = None
        self._first: tuple[EnrollmentSample, ...] = ()
        required = _required(request, config)
        if request.duress:
            owner = self._other = _owner(store, request.name)
            existing = _duress_of(store, owner)
            required = owner.required
            request = self._request = replace(request, name=f"{owner.name[:55].strip()} {DURESS}")
        else:
            existing = _existing(store, request.name)
            if existing is not None and existing.duress_of is not None:
                raise ProfileError(
                    f"{existing.name} is a duress phrase: give the person's name and --duress"
                )
            if existing is not None:
                self._other = _duress_of(store, existing)
        if existing is None:
            new = Profile.begin(
                clean_name(request.name),
                request.kind,
                required=required,
                phrase=clean_phrase(request.phrase or ""),
            )
            duress_of = self._other.id if self._other is not None else None
            self.profile = replace(new, id="", duress_of=duress_of)
        elif request.again:
            self.profile = replace(
                existing,
                kind=self._same_kind(existing),
                phrase=existing.phrase if request.phrase is None else clean_phrase(request.phrase),
                required=required,
                samples=(),
                speaker_model="",
                phrase_model="",
                confirmed=True,
                microphones=(),
            )
        elif request.remote and existing.status is ProfileStatus.UNCONFIRMED:
            self._first = existing.samples
            self.profile = replace(existing, samples=())
        else:
            self._refuse_what_differs(existing)
            self.profile = existing
        self.confirms = bool(self._first)
        self._held_back = existing is not None and (request.again or self.confirms)
        self.stored = existing is not None and not self._held_back
        self._utterances: list[Utterance] = []
        self._recordings: list[Fingerprint] | None = None
        if replay is not None and replay.enabled and request.kind is ProfileKind.PHRASE:
            known = self.stored or self.confirms
            self._recordings = fingerprints_of(store, self.profile.id) if known else []

    @property
    def complete(self) -> bool:
        """Whether nothing remains."""
        return self.profile.remaining <= 0

    @property
    def keeps_old(self) -> bool:
        """Whether an old signature is still in use, since the new one is not complete."""
        return self._held_back and not self.stored

    def add(self, engine: Engine, utterance: Utterance) -> None:
        """Examine and accept an utterance.

        Raises:
            EnrollmentRejected: it does not fit; nothing has changed.
            ProfileError: the profile was begun with another model, or was deleted meanwhile.
        """
        self.accept(self.examine(engine, utterance))

    def examine(self, engine: Engine, utterance: Utterance) -> Examined:
        """Check an utterance; changes nothing and touches no disk.

        Raises:
            EnrollmentRejected: it does not fit.
            ProfileError: the profile was begun with another model.
        """
        kind = self.profile.kind
        if kind is ProfileKind.PHRASE:
            refusal = engine.refusal(utterance, kind, engine.to_enroll)
            # Without silence at either end there is nothing to measure the noise by.
            if refusal in (None, ReasonCode.TOO_NOISY):
                require_whole(utterance)
            if refusal is None:
                require_syllables(utterance)
                require_spoken_anew(utterance, self._recordings or [])
        earlier = (*self._first, *self.profile.samples)
        sample = engine.enroll(replace(self.profile, samples=earlier), utterance)
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
            ProfileError: the profile was deleted meanwhile.
            StoreError: the store cannot be written.
        """
        profile, sample = self.profile, examined.sample
        speaker_model, phrase_model = examined.speaker_model, examined.phrase_model
        if self._held_back:
            self.profile = replace(
                profile,
                samples=(*profile.samples, sample),
                speaker_model=speaker_model,
                phrase_model=phrase_model,
                microphones=with_kind(profile.microphones, self.microphone),
            )
        elif profile.id:
            self.profile = self._store.add_sample(
                profile.id,
                sample,
                speaker_model,
                phrase_model,
                confirmed=not self._request.remote,
                microphone=self.microphone,
            )
        else:
            self.profile = self._store.create(
                profile.name,
                profile.kind,
                profile.phrase,
                required=profile.required,
                samples=[sample],
                speaker_model=speaker_model,
                phrase_model=phrase_model,
                duress_of=profile.duress_of,
                confirmed=not self._request.remote,
                microphone=self.microphone,
            )
            self.stored = True
        self._utterances.append(examined.utterance)
        if self._recordings is not None:
            self._recordings.append(UtterancePeaks(examined.utterance.samples).fingerprint())

    def remember(self, config: ReplayConfig) -> None:
        """Store the fingerprints of the utterances, so that a recording of them does not open.

        Raises:
            StoreError: the store cannot be written.
            ProfileError: the profile was deleted meanwhile.
        """
        known = self.stored or self.confirms
        if known and self.profile.kind is ProfileKind.PHRASE:
            remember_enrollment(self._store, self.profile.id, self._utterances, config)
            self._utterances = []  # only now: a busy store is tried again

    def finish(self) -> Profile:
        """Replace the old signature, or confirm the first session's, if this one is complete.

        Raises:
            ProfileError: the profile was deleted, or confirmed, meanwhile.
            StoreError: the store cannot be written.
        """
        if self.keeps_old and self.complete and self.confirms:
            self.profile = self._store.confirm(self.profile.id)
            self.stored = True
        elif self.keeps_old and self.complete:
            self.profile = self._store.replace_samples(
                self.profile.id,
                self.profile.samples,
                self.profile.speaker_model,
                self.profile.phrase_model,
                phrase=self.profile.phrase,
                required=self.profile.required,
                microphones=self.profile.microphones,
            )
            self.stored = True
        return self.profile

    def _refuse_what_differs(self, existing: Profile) -> None:
        if existing.status is ProfileStatus.UNCONFIRMED:
            raise ProfileError(
                f"{existing.name} waits to be confirmed: run 'edge-voice profiles confirm', or add"
                " --again to replace the signature"
            )
        if existing.status is ProfileStatus.ENROLLED and not self._request.more:
            raise ProfileError(
                f"{existing.name} is already enrolled: add --again to replace the signature"
            )
        self._same_kind(existing)
        phrase = self._request.phrase
        if phrase is not None and clean_phrase(phrase) != existing.phrase:
            raise ProfileError(
                f"{existing.name} was begun with another phrase ({existing.phrase or 'unwritten'}):"
                " omit --phrase to continue, or add --again to start over"
            )

    def _same_kind(self, existing: Profile) -> ProfileKind:
        if existing.kind is self._request.kind:
            return existing.kind
        by_voice = existing.kind is ProfileKind.VOICE
        raise ProfileError(
            f"{existing.name} is enrolled by {'free speech' if by_voice else 'passphrase'}:"
            f" {'add' if by_voice else 'omit'} --voice, or choose another name"
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
            f"{owner.name} has no enrolled passphrase: enroll that first, then --duress"
        )
    return owner


def _duress_of(store: ProfileStore, owner: Profile) -> Profile | None:
    return next((each for each in store.list() if each.duress_of == owner.id), None)


def _required(request: EnrollmentRequest, config: EnrollmentConfig) -> float:
    if request.kind is ProfileKind.PHRASE:
        return float(config.repetitions)
    return SHORT_SECONDS if request.short else config.voice_seconds

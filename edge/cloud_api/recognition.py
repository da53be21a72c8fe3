"""Enrolling, verifying and identifying as the cloud did, by the recognizer of the door.

All of it runs in the recognizer's thread. Scores from 0 to 1 are the posterior probability that it
is the right voice (and phrase), at the prior odds that the configured strictness implies: 0.5 is
the limit, and exactly what reaches it is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.audio.quality import explain
from edge.cloud_api.audio import Limits
from edge.cloud_api.faults import Fault, of_quality, of_rejection
from edge.cloud_api.profiles import CloudProfile, CloudProfiles, Resource
from edge.config import Config
from edge.enrollment.process import Enrollment, EnrollmentRequest
from edge.errors import AudioFormatError, EnrollmentRejected, ProfileError
from edge.recognition import Engine
from edge.replay.memory import remember_enrollment
from edge.store import ProfileStore
from edge.store.records import MAX_SAMPLES
from edge.types import (
    Confidence,
    Profile,
    ProfileKind,
    ProfileStatus,
    ReasonCode,
    Utterance,
)
from edge.types.microphone import RECORDING
from edge.web.attempts import Attempts
from edge.web.bodies import to_utterance

NOBODY = "00000000-0000-0000-0000-000000000000"
"""Who is identified where nobody of the group speaks."""
_DIGITS = 4


@dataclass(frozen=True)
class Enrolled:
    """A recording that was enrolled: the profile with it, and the seconds of it and its speech."""

    shown: CloudProfile
    audio_s: float
    speech_s: float


@dataclass(frozen=True)
class Verified:
    """The answer to a verification; `phrase` is in writing, and only of one that was accepted."""

    accepted: bool
    reason: ReasonCode
    score: float
    confidence: Confidence
    phrase: str


@dataclass(frozen=True)
class Identified:
    """The answer to an identification: who, and everybody with a score, the likeliest first."""

    profile_id: str
    reason: ReasonCode
    score: float
    confidence: Confidence
    ranking: tuple[tuple[str, float], ...]

    @property
    def accepted(self) -> bool:
        """Whether it is one of the group."""
        return self.profile_id != NOBODY


class Recognition:
    """What a server does with recordings; every method belongs to the recognizer's thread.

    Each raises `Fault`, and `Refused` during a lock-out.
    """

    def __init__(
        self, store: ProfileStore, config: Config, profiles: CloudProfiles, attempts: Attempts
    ) -> None:
        self._store = store
        self._config = config
        self._profiles = profiles
        self._attempts = attempts

    def enroll(
        self,
        engine: Engine,
        resource: Resource,
        profile_id: str,
        data: bytes,
        audio_s: float,
        *,
        complete: bool,
    ) -> Enrolled:
        """Enroll a recording of that length; with `complete` its speech is enough.

        Somebody who is enrolled already can add to it. What differs from it then is an attempt.
        """
        profile = self._profiles.get(resource, profile_id).profile
        if len(profile.enrolled) >= MAX_SAMPLES:
            raise Fault(
                403,
                "too_many_enrollments",
                f"Maximum number of enrollments is {MAX_SAMPLES}",
                "reset the profile to enroll anew",
            )
        known = profile.status is ProfileStatus.ENROLLED
        if known:
            self._attempts.require()
        utterance = _utterance(data)
        request = EnrollmentRequest(profile.id, profile.kind, more=True)
        try:
            enrollment = Enrollment(
                self._store, request, self._config.enrollment, self._config.replay
            )
            enrollment.microphone = RECORDING
            examined = enrollment.examine(engine, utterance)
            if profile.kind is ProfileKind.PHRASE:
                # First: the door notices a new sample at once, and must know the recording then.
                remember_enrollment(self._store, profile.id, [utterance], self._config.replay)
            enrollment.accept(examined)
        except EnrollmentRejected as rejected:
            if known:
                self._judged(ReasonCode(rejected.reason), profile.kind)
            raise of_rejection(rejected) from None
        except ProfileError as error:
            raise _not_possible(error) from None
        self._profiles.enrolled(enrollment.profile, audio_s, complete=complete)
        shown = self._profiles.get(resource, profile_id)
        return Enrolled(shown, audio_s, examined.sample.net_speech_s)

    def verify(
        self, engine: Engine, resource: Resource, profile_id: str, data: bytes, limits: Limits
    ) -> Verified:
        """Whether it is this person, and their phrase where they have one."""
        profile = self._profiles.get(resource, profile_id).profile
        self._require_ready(engine, profile)
        self._attempts.require()
        utterance = _utterance(data)
        self._require_speech(utterance, limits)
        found = engine.verify(profile, utterance)
        self._profiles.used(profile.id)
        if found.speaker is None or found.reason is ReasonCode.TOO_NOISY:
            raise self._refused(found.reason, utterance)
        self._judged(found.reason, profile.kind)
        margins = [match.margin for match in (found.speaker, found.phrase) if match is not None]
        return Verified(
            found.accepted,
            found.reason,
            score_of(min(margins), accepted=found.accepted),
            found.confidence,
            profile.phrase if found.accepted else "",
        )

    def identify(
        self,
        engine: Engine,
        resource: Resource,
        profile_ids: Sequence[str],
        data: bytes,
        limits: Limits,
    ) -> Identified:
        """Who of a group speaks."""
        group = [each.profile for each in self._profiles.group(resource, profile_ids)]
        for profile in group:
            self._require_ready(engine, profile)
        self._attempts.require()
        utterance = _utterance(data)
        self._require_speech(utterance, limits)
        found = engine.identify(group, utterance)
        for profile in group:
            self._profiles.used(profile.id)
        if not found.ranking:
            raise self._refused(found.reason, utterance)
        self._judged(found.reason, ProfileKind.VOICE)
        ranking = tuple(
            (match.profile_id, score_of(match.margin, accepted=match.accepted))
            for match in found.ranking
        )
        best, score = ranking[0] if found.best is not None else (NOBODY, 0.0)
        return Identified(best, found.reason, score, found.confidence, ranking)

    def _judged(self, reason: ReasonCode, kind: ProfileKind) -> None:
        self._attempts.judged(reason, by_phrase=kind is ProfileKind.PHRASE)

    def _require_speech(self, utterance: Utterance, limits: Limits) -> None:
        speech_s = utterance.quality.net_speech_s
        if speech_s < limits.least_speech_s:
            raise of_quality(
                ReasonCode.TOO_SHORT,
                f"{speech_s:.1f} s of speech, at least {limits.least_speech_s:g} s needed",
            )

    def _refused(self, reason: ReasonCode, utterance: Utterance) -> Fault:
        return of_quality(reason, explain(reason, utterance.quality, self._config.recognition))

    def _require_ready(self, engine: Engine, profile: Profile) -> None:
        if profile.status is not ProfileStatus.ENROLLED:
            unit = "recordings" if profile.kind is ProfileKind.PHRASE else "seconds of speech"
            missing = f"{profile.remaining:.3g} more {unit} needed"
            if profile.remaining <= 0.0:
                missing = "it waits to be confirmed by the owner"
            detail = f"the profile is not enrolled yet: {missing}"
            raise Fault(400, "not_enrolled", "SpeakerInvalid", detail)
        try:
            engine.require_ready(profile)
        except ProfileError as error:
            raise _not_possible(error) from None


def score_of(margin: float, *, accepted: bool) -> float:
    """The probability of a margin over the limit, 0 to 1, on the side that was decided."""
    score = round(1.0 / (1.0 + math.exp(-max(-700.0, min(700.0, margin)))), _DIGITS)
    just_below = round(0.5 - 10.0**-_DIGITS, _DIGITS)
    return max(0.5, score) if accepted else min(just_below, score)


def _utterance(data: bytes) -> Utterance:
    try:
        return to_utterance(data)
    except AudioFormatError as error:
        raise Fault(400, "audio_format", "Invalid audio format", str(error)) from None


def _not_possible(error: ProfileError) -> Fault:
    return Fault(409, "conflict", "SpeakerInvalid", str(error))

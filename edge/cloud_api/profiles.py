"""The profiles of the store as the cloud's resources, and what those have besides."""

from __future__ import annotations

import contextlib
import enum
import json
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from edge.cloud_api.faults import Fault, no_such_profile
from edge.config import Config
from edge.errors import ProfileError
from edge.store import MAX_PROFILES, ProfileStore
from edge.types import Profile, ProfileKind, ProfileStatus

DEFAULT_LOCALE = "en-US"
"""Of profiles that were not made by this API."""
_KEPT = "cloud-profile"


class Resource(str, enum.Enum):
    """What a profile is for, as versions 2.0 and 2021-09-05 spell it."""

    TEXT_DEPENDENT = "verification/text-dependent"
    TEXT_INDEPENDENT = "verification/text-independent"
    IDENTIFICATION = "identification/text-independent"

    @property
    def kind(self) -> ProfileKind:
        """What is enrolled."""
        by_phrase = self is Resource.TEXT_DEPENDENT
        return ProfileKind.PHRASE if by_phrase else ProfileKind.VOICE


@dataclass(frozen=True)
class CloudProfile:
    """A profile as the API shows it.

    Attributes:
        audio_s: seconds of the recordings that it was enrolled with, silence included.
        used_at: when it was last used or changed, Unix time.
    """

    profile: Profile
    locale: str
    audio_s: float
    used_at: float

    @property
    def id(self) -> str:
        """The profile's id."""
        return self.profile.id

    @property
    def enrolled(self) -> bool:
        """Whether it can be recognized."""
        return self.profile.status is ProfileStatus.ENROLLED

    @property
    def count(self) -> int:
        """How many recordings it was enrolled with."""
        return len(self.profile.enrolled)

    @property
    def speech_s(self) -> float:
        """Seconds of speech that it was enrolled with."""
        return sum(sample.net_speech_s for sample in self.profile.enrolled)


@dataclass(frozen=True)
class _Record:
    """What is kept of a profile besides; `required` is what makes it complete after a reset."""

    resource: Resource
    locale: str
    required: float
    audio_s: float = 0.0
    count: int = 0

    def to_bytes(self) -> bytes:
        return json.dumps(
            {
                "resource": self.resource.value,
                "locale": self.locale,
                "required": self.required,
                "audio_s": self.audio_s,
                "count": self.count,
            }
        ).encode()


class CloudProfiles:
    """The profiles of a store, by resource; for any thread.

    A profile that was made elsewhere belongs to every resource of its kind. Duress phrases are not
    there.
    """

    def __init__(self, store: ProfileStore, config: Config) -> None:
        self._store = store
        self._config = config
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None
        self._known: dict[str, Profile] = {}
        self._used: dict[str, float] = {}

    def every(self, resource: Resource) -> list[CloudProfile]:
        """All of a resource, by id."""
        records = self._records()
        shown = [
            self._shown(profile, records.get(profile.id))
            for profile in self._profiles().values()
            if _belongs(profile, records.get(profile.id), resource)
        ]
        return sorted(shown, key=lambda each: each.id)

    def get(self, resource: Resource, profile_id: str) -> CloudProfile:
        """One of a resource. Raises `Fault`."""
        profile = self._profiles().get(profile_id)
        record = self._records(profile_id).get(profile_id) if profile is not None else None
        if profile is None or not _belongs(profile, record, resource):
            raise no_such_profile(profile_id)
        return self._shown(profile, record)

    def group(self, resource: Resource, profile_ids: Sequence[str]) -> list[CloudProfile]:
        """Several of a resource, in this order. Raises `Fault`."""
        there = {each.id: each for each in self.every(resource)}
        for profile_id in profile_ids:
            if profile_id not in there:
                raise no_such_profile(profile_id)
        return [there[profile_id] for profile_id in profile_ids]

    def phrases(self) -> list[str]:
        """The phrases in writing that the household enrolled, each once."""
        written = (profile.phrase for profile in self._profiles().values())
        return sorted({phrase for phrase in written if phrase})

    def create(self, resource: Resource, locale: str, seconds: float) -> CloudProfile:
        """A new one, with nothing enrolled; `seconds` of free speech make it complete.

        Raises:
            Fault: there are too many.
        """
        by_phrase = resource.kind is ProfileKind.PHRASE
        required = float(self._config.enrollment.repetitions) if by_phrase else seconds
        if self._store.count() >= MAX_PROFILES:
            raise Fault(
                403,
                "too_many_profiles",
                f"Maximum number of profiles is {MAX_PROFILES}",
                "delete one that is no longer needed",
            )
        profile = self._store.create(f"Profile {uuid.uuid4()}", resource.kind, required=required)
        record = _Record(resource, locale, required)
        self._store.keep(_KEPT, record.to_bytes(), profile=profile.id, most=1)
        with contextlib.suppress(ProfileError):  # taken: it keeps the long name
            profile = self._store.rename(profile.id, f"Profile {profile.id[:8]}")
        return self._shown(profile, record)

    def enrolled(self, profile: Profile, audio_s: float, *, complete: bool) -> Profile:
        """Note a recording of this length that was enrolled.

        With `complete` the speech that there is now is enough, however little it is.
        """
        record = self._records(profile.id).get(profile.id)
        if complete and profile.status is not ProfileStatus.ENROLLED:
            profile = self._store.replace_samples(
                profile.id,
                profile.samples,
                profile.speaker_model,
                profile.phrase_model,
                required=profile.progress,
                microphones=profile.microphones,
            )
        if record is not None:
            count = len(profile.enrolled)
            before = record.audio_s if record.count == count - 1 else _speech_s(profile, count - 1)
            noted = _Record(
                record.resource, record.locale, record.required, before + audio_s, count
            )
            self._store.keep(_KEPT, noted.to_bytes(), profile=profile.id, most=1)
        return profile

    def reset(self, resource: Resource, profile_id: str) -> Profile:
        """Remove what was enrolled. Raises `Fault`."""
        self.get(resource, profile_id)
        record = self._records(profile_id).get(profile_id)
        profile = self._store.reset(profile_id)
        if record is not None and record.required != profile.required:
            profile = self._store.replace_samples(profile_id, (), "", "", required=record.required)
        return profile

    def delete(self, resource: Resource, profile_id: str) -> None:
        """Delete one. Raises `Fault`."""
        self.get(resource, profile_id)
        self._store.delete(profile_id)
        self._used.pop(profile_id, None)

    def used(self, profile_id: str) -> None:
        """Note that somebody was compared with it; until the server stops."""
        self._used[profile_id] = time.time()

    def _shown(self, profile: Profile, record: _Record | None) -> CloudProfile:
        count = len(profile.enrolled)
        # Samples may have come or gone without this API.
        known = record is not None and record.count == count
        return CloudProfile(
            profile,
            record.locale if record is not None else DEFAULT_LOCALE,
            record.audio_s if known and record is not None else _speech_s(profile, count),
            max(profile.updated_at, self._used.get(profile.id, 0.0)),
        )

    def _profiles(self) -> dict[str, Profile]:
        with self._lock:
            version = self._store.data_version()
            if version != self._version:
                people = (each for each in self._store.list() if each.duress_of is None)
                self._known = {profile.id: profile for profile in people}
                self._version = version
            return self._known

    def _records(self, profile_id: str | None = None) -> dict[str, _Record]:
        try:
            kept = self._store.kept(_KEPT, profile_id)
        except ProfileError:  # deleted meanwhile
            return {}
        found = {}
        for item in kept:
            record = _read(item.payload)
            if record is not None and item.profile_id is not None:
                found[item.profile_id] = record
        return found


def _belongs(profile: Profile, record: _Record | None, resource: Resource) -> bool:
    if record is not None:
        return record.resource is resource
    return profile.kind is resource.kind


def _speech_s(profile: Profile, count: int) -> float:
    return sum(sample.net_speech_s for sample in profile.enrolled[:count])


def _read(payload: bytes) -> _Record | None:
    """None of what a newer version wrote."""
    try:
        content = json.loads(payload)
        return _Record(
            Resource(content["resource"]),
            str(content["locale"]),
            float(content["required"]),
            float(content["audio_s"]),
            int(content["count"]),
        )
    except (ValueError, KeyError, TypeError):
        return None

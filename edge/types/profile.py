"""Who is enrolled: profiles, and the samples that their signatures are made of."""

from __future__ import annotations

import enum
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from edge.types.access import EVERYTHING, AccessRule
from edge.types.audio import FloatArray
from edge.types.decision import utc


class ProfileKind(str, enum.Enum):
    """What a profile is enrolled for."""

    PHRASE = "phrase"
    """Text-dependent: one self-chosen phrase, said at least three times."""
    VOICE = "voice"
    """Text-independent: free speech, counted in seconds."""


class ProfileStatus(str, enum.Enum):
    """Whether a profile can be recognized yet."""

    ENROLLING = "enrolling"
    UNCONFIRMED = "unconfirmed"
    """Enrolled whole over MQTT; nothing opens until the owner has confirmed it."""
    ENROLLED = "enrolled"


VOICE_VARIANTS = 3
"""Of each enrolled voice: as it was said, as in an echoing room, as in noise."""
STRETCHES = ((0.0, 0.5), (0.25, 0.75), (0.5, 1.0))
"""Of each phrase: where they begin and end, as shares of the speech."""


@dataclass(frozen=True, eq=False)
class EnrollmentSample:
    """What is kept of one enrollment utterance; never the recording.

    Attributes:
        speaker_embedding: unit length, shape (d,): what the sample is compared with others by.
        phrase_embedding: one row per hop, shape (t, e); None for a text-independent profile.
        net_speech_s: seconds of speech in the utterance.
        snr_db: its estimated signal-to-noise ratio, dB.
        created_at: Unix time, seconds.
        adapted: whether it was learned from an accepted utterance, not enrolled by the person.
        phrase_variants: the phrase in simulated noise and rooms, each of shape (t, e); none for a
            text-independent profile and for what was learned.
        stretches: the voice of each of `STRETCHES` as it was said, then as in an
            echoing room, then as in noise, unit length, shape (d,); none for a text-independent
            profile and for what was learned, and fewer in what older versions stored.
        voice_variants: the voice as it was said, as in an echoing room and as in noise, unit
            length, shape (d,) each; none for what was learned, and fewer in what older versions
            stored.
    """

    speaker_embedding: FloatArray = field(repr=False)
    phrase_embedding: FloatArray | None = field(repr=False)
    net_speech_s: float
    snr_db: float
    created_at: float
    adapted: bool = False
    phrase_variants: tuple[FloatArray, ...] = field(default=(), repr=False)
    stretches: tuple[FloatArray, ...] = field(default=(), repr=False)
    voice_variants: tuple[FloatArray, ...] = field(default=(), repr=False)

    @property
    def voices(self) -> tuple[FloatArray, ...]:
        """What a voice is compared with: as it was said, as in an echoing room, as in noise."""
        known = self.voice_variants or (self.speaker_embedding,)
        return (*known, *(VOICE_VARIANTS - len(known)) * known[:1])

    @property
    def phrase_examples(self) -> tuple[FloatArray, ...]:
        """What a phrase is compared with: the utterance as it was, then its variants."""
        if self.phrase_embedding is None:
            return ()
        return (self.phrase_embedding, *self.phrase_variants)


@dataclass(frozen=True)
class Profile:
    """A person as the device knows them.

    Attributes:
        id: a UUID, never reused.
        name: display name, unique without regard to case.
        phrase: the phrase in writing, only for people to read; empty when not given.
        speaker_model: SHA-256 of the speaker model that made the embeddings; empty before any.
        phrase_model: SHA-256 of the phrase model; empty before any, or for free speech.
        required: what makes it complete: repetitions (`PHRASE`) or seconds of speech (`VOICE`).
        samples: what has been enrolled so far, and what was learned since, in order.
        created_at, updated_at: Unix time, of the last change too, seconds.
        duress_of: id of the profile whose duress phrase this is; None for a person's own phrase.
        confirmed: False of what was enrolled over MQTT, until the owner confirms it.
        microphones: the kinds of microphones that it was enrolled with (`edge.types.microphone`);
            empty where that is not known, as of what older versions stored.
    """

    id: str
    name: str
    kind: ProfileKind
    phrase: str
    speaker_model: str
    phrase_model: str
    required: float
    samples: tuple[EnrollmentSample, ...]
    created_at: float
    updated_at: float
    rule: AccessRule = EVERYTHING
    duress_of: str | None = None
    confirmed: bool = True
    microphones: tuple[str, ...] = ()

    @classmethod
    def begin(
        cls,
        name: str,
        kind: ProfileKind = ProfileKind.PHRASE,
        *,
        required: float = 3,
        phrase: str = "",
    ) -> Profile:
        """A new profile in memory, with nothing enrolled yet."""
        now = time.time()
        return cls(str(uuid.uuid4()), name, kind, phrase, "", "", required, (), now, now)

    @property
    def enrolled(self) -> tuple[EnrollmentSample, ...]:
        """The samples that the person enrolled."""
        return tuple(sample for sample in self.samples if not sample.adapted)

    @property
    def adapted(self) -> tuple[EnrollmentSample, ...]:
        """The samples that were learned from accepted utterances, oldest first."""
        return tuple(sample for sample in self.samples if sample.adapted)

    @property
    def progress(self) -> float:
        """How far enrollment is, in the unit of `required`."""
        if self.kind is ProfileKind.PHRASE:
            return float(len(self.enrolled))
        return sum(sample.net_speech_s for sample in self.enrolled)

    @property
    def remaining(self) -> float:
        """What is missing until the profile is enrolled, in the unit of `required`."""
        return max(0.0, self.required - self.progress)

    @property
    def status(self) -> ProfileStatus:
        """Enrolled once nothing remains and it is confirmed."""
        if self.remaining > 0:
            return ProfileStatus.ENROLLING
        return ProfileStatus.ENROLLED if self.confirmed else ProfileStatus.UNCONFIRMED

    def as_dict(self) -> dict[str, Any]:
        """What may be shown of a profile: everything but what its signature is made of."""
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind.value,
            "phrase": self.phrase or None,
            "status": self.status.value,
            "enrollments": len(self.enrolled),
            "adapted": len(self.adapted),
            "net_speech_s": round(sum(s.net_speech_s for s in self.enrolled), 2),
            "required": self.required,
            "remaining": round(self.remaining, 2),
            "unit": "repetitions" if self.kind is ProfileKind.PHRASE else "seconds",
            "microphones": list(self.microphones),
            "created_at": utc(self.created_at),
            "updated_at": utc(self.updated_at),
        }

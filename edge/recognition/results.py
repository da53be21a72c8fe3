"""Results of recognition: analysis, verification, identification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from edge.types import (
    STRETCHES,
    Confidence,
    EnrollmentSample,
    FloatArray,
    PhraseMatch,
    Quality,
    ReasonCode,
    SpeakerMatch,
)


@dataclass(frozen=True, eq=False)
class PhraseEmbedding:
    """What is said in an utterance, as the phrase model sees it.

    Attributes:
        frames: one row per 40 ms, shape (t, 96).
        took_ms: time to embed it, milliseconds.
    """

    frames: FloatArray = field(repr=False)
    took_ms: float


@dataclass(frozen=True, eq=False)
class Analysis:
    """An utterance as the models see it; made once, matched against any number of profiles.

    Attributes:
        speaker_embedding: unit length, shape (384,).
        phrase_embedding: one row per hop, shape (t, 96); None where no phrase was asked for.
        quality: of the recording.
        timings_ms: milliseconds by stage (`speaker`, `phrase`).
        phrase_variants: the phrase embedding in each of `augmentation.AUGMENTATIONS`; empty unless
            it is to be enrolled.
        enrolled_voice: the voice as it is and in each of `augmentation.AUGMENTATIONS` together,
            unit length, shape (384,); None unless it is to be enrolled.
        voice_variants: as in `EnrollmentSample`; empty unless it is to be enrolled.
        stretches: as in `EnrollmentSample` if it is to be enrolled, otherwise as said alone; empty
            until they were asked for, or if it is too short.
        without_echo: the voice after the echo was taken off, unit length, shape (384,); None until
            the voice is looked at again.
        stretches_without_echo: the same of each stretch; empty where there are none.
    """

    speaker_embedding: FloatArray = field(repr=False)
    phrase_embedding: FloatArray | None = field(repr=False)
    quality: Quality
    timings_ms: Mapping[str, float]
    phrase_variants: tuple[FloatArray, ...] = field(default=(), repr=False)
    enrolled_voice: FloatArray | None = field(default=None, repr=False)

    @property
    def voice_to_enroll(self) -> FloatArray:
        """`enrolled_voice`, or the plain embedding where there is none."""
        return self.speaker_embedding if self.enrolled_voice is None else self.enrolled_voice

    voice_variants: tuple[FloatArray, ...] = field(default=(), repr=False)
    stretches: tuple[FloatArray, ...] = field(default=(), repr=False)
    without_echo: FloatArray | None = field(default=None, repr=False)
    stretches_without_echo: tuple[FloatArray, ...] = field(default=(), repr=False)

    @property
    def looks(self) -> tuple[FloatArray, ...]:
        """The voice as it was heard and, if it was looked at again, without echo."""
        again = () if self.without_echo is None else (self.without_echo,)
        return (self.speaker_embedding, *again)

    @property
    def whole(self) -> Analysis:
        """The same without its stretches: to compare with who did not enroll this phrase."""
        return replace(self, stretches=(), stretches_without_echo=())

    @property
    def stretch_looks(self) -> tuple[tuple[FloatArray, ...], ...]:
        """The stretches as they were heard and without echo; empty where there are none."""
        heard = self.stretches[: len(STRETCHES)]
        return tuple(look for look in (heard, self.stretches_without_echo) if look)

    def to_sample(self, created_at: float) -> EnrollmentSample:
        """What is kept of it at enrollment, if it was analyzed for that."""
        return EnrollmentSample(
            speaker_embedding=self.voice_to_enroll,
            phrase_embedding=self.phrase_embedding,
            net_speech_s=self.quality.net_speech_s,
            snr_db=self.quality.snr_db,
            created_at=created_at,
            phrase_variants=self.phrase_variants,
            stretches=self.stretches,
            voice_variants=self.voice_variants,
        )


@dataclass(frozen=True)
class Verification:
    """Whether a voice is the claimed one and says that person's phrase.

    `speaker` and `phrase` are None where the recording was refused, `phrase` also where the profile
    has none; `timings_ms` is milliseconds by stage.
    """

    accepted: bool
    reason: ReasonCode
    confidence: Confidence
    speaker: SpeakerMatch | None
    phrase: PhraseMatch | None
    quality: Quality
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The result under its JSON names."""
        return {
            "accepted": self.accepted,
            "reason": self.reason.value,
            "confidence": self.confidence.value,
            "speaker": speaker_dict(self.speaker) if self.speaker else None,
            "phrase": phrase_dict(self.phrase) if self.phrase else None,
            "quality": self.quality.as_dict(),
            "timings_ms": {name: round(value, 1) for name, value in self.timings_ms.items()},
        }


@dataclass(frozen=True)
class Identification:
    """Who of a group speaks: `best`, or None for none of them.

    `reason` is `RECOGNIZED` when it is one of the group, `ranking` holds all of it, nearest first,
    and `timings_ms` is milliseconds by stage.
    """

    reason: ReasonCode
    confidence: Confidence
    best: SpeakerMatch | None
    ranking: tuple[SpeakerMatch, ...]
    quality: Quality
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        """Whether the speaker is one of the group."""
        return self.best is not None

    def as_dict(self) -> dict[str, Any]:
        """The result under its JSON names."""
        return {
            "identified": speaker_dict(self.best) if self.best else None,
            "reason": self.reason.value,
            "confidence": self.confidence.value,
            "ranking": [speaker_dict(match) for match in self.ranking],
            "quality": self.quality.as_dict(),
            "timings_ms": {name: round(value, 1) for name, value in self.timings_ms.items()},
        }


def speaker_dict(match: SpeakerMatch) -> dict[str, Any]:
    """A speaker match under its JSON names."""
    return {
        "profile_id": match.profile_id,
        "name": match.name,
        "similarity": round(match.similarity, 4),
        "score": round(match.score, 4),
        "threshold": round(match.threshold, 4),
        "accepted": match.accepted,
    }


def phrase_dict(match: PhraseMatch) -> dict[str, Any]:
    """A phrase match under its JSON names."""
    return {
        "profile_id": match.profile_id,
        "phrase": match.phrase or None,
        "distance": round(match.distance, 4),
        "score": round(match.score, 4),
        "threshold": round(match.threshold, 4),
        "accepted": match.accepted,
    }

"""What recognition says: an utterance analyzed, a claim verified, a speaker identified."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.types import Confidence, FloatArray, PhraseMatch, Quality, ReasonCode, SpeakerMatch

NORMAL_FROM = math.log(3.0)
"""Margin over the threshold from which a result is not a close one: three times the odds."""
HIGH_FROM = math.log(10.0)
"""Margin from which it is sure: ten times the odds."""


def confidence_of(margins: Iterable[float]) -> Confidence:
    """Confidence in a result from the margins of its parts, log-likelihood ratios.

    Something is accepted only if every part is, so the weakest part says how sure it is; it is
    rejected as soon as one part is, so then the most clearly missed part does.
    """
    margin = abs(min(margins))
    if margin >= HIGH_FROM:
        return Confidence.HIGH
    return Confidence.NORMAL if margin >= NORMAL_FROM else Confidence.LOW


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
        speaker_embedding: unit length, shape (192,).
        phrase_embedding: one row per hop, shape (t, 96); None where no phrase was asked for.
        quality: what the recording was worth.
        timings_ms: milliseconds by stage (`speaker`, `phrase`).
        phrase_variants: the phrase embedding in each of `augmentation.AUGMENTATIONS`; empty unless
            it is to be enrolled.
    """

    speaker_embedding: FloatArray = field(repr=False)
    phrase_embedding: FloatArray | None = field(repr=False)
    quality: Quality
    timings_ms: Mapping[str, float]
    phrase_variants: tuple[FloatArray, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Verification:
    """Whether a voice is who it claims to be, and says their phrase.

    Attributes:
        accepted: whether everything asked for is right.
        reason: why.
        confidence: how sure.
        speaker: the voice held against the profile; None when the recording was not judged.
        phrase: the phrase held against the profile's; None when not judged or not asked for.
        quality: what the recording was worth.
        timings_ms: milliseconds by stage.

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
            "result": "accept" if self.accepted else "reject",
            "reason": self.reason.value,
            "confidence": self.confidence.value,
            "speaker": speaker_dict(self.speaker) if self.speaker else None,
            "phrase": phrase_dict(self.phrase) if self.phrase else None,
            "quality": self.quality.as_dict(),
            "timings_ms": {name: round(value, 1) for name, value in self.timings_ms.items()},
        }


@dataclass(frozen=True)
class Identification:
    """Who of a group speaks, or nobody.

    Attributes:
        reason: `ACCEPTED` when it is one of the group, else why not.
        confidence: how sure.
        best: the profile that it is; None for nobody.
        ranking: every profile asked about, nearest first.
        quality: what the recording was worth.
        timings_ms: milliseconds by stage.

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

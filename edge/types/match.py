"""What recognition found: how near a voice and a phrase came to a profile."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpeakerMatch:
    """A voice held against one profile.

    Attributes:
        profile_id: whose signature.
        name: their display name.
        similarity: cosine of voice and signature, -1 to 1; higher is nearer.
        score: log-likelihood ratio that the voice is theirs, natural logarithm.
        threshold: the score from which the voice counts as theirs.
    """

    profile_id: str
    name: str
    similarity: float
    score: float
    threshold: float

    @property
    def margin(self) -> float:
        """By how much the score is above its threshold; negative below it."""
        return self.score - self.threshold

    @property
    def accepted(self) -> bool:
        """Whether the voice is near enough."""
        return self.score >= self.threshold


@dataclass(frozen=True)
class PhraseMatch:
    """What was said held against one profile's phrase.

    Attributes:
        profile_id: whose phrase.
        phrase: the phrase in writing, empty when not given.
        distance: cost of the best warping path, 0 and up; lower is nearer.
        score: log-likelihood ratio that the phrase is the right one, natural logarithm.
        threshold: the score from which the phrase counts as the right one.
    """

    profile_id: str
    phrase: str
    distance: float
    score: float
    threshold: float

    @property
    def margin(self) -> float:
        """By how much the score is above its threshold; negative below it."""
        return self.score - self.threshold

    @property
    def accepted(self) -> bool:
        """Whether the phrase is near enough."""
        return self.score >= self.threshold

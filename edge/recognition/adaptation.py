"""Adaptation: which accepted utterances a signature may learn from, and how far it has moved.

An impostor who is accepted once by mistake must not be able to take over a profile. So every rule
compares with what was enrolled alone: learned samples cannot vouch for one another, and a signature
cannot drift away from its owner step by step. For their greatest weight see `scoring.signature_of`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from edge.recognition.results import Analysis
from edge.recognition.scoring import confidence_of, cosine, signature_of
from edge.types import Confidence, PhraseMatch, Profile, SpeakerMatch

MIN_SNR_DB = 15.0
"""Least signal-to-noise ratio: the noise would be learned too."""
MIN_SPEECH = 0.7
"""Least net speech, as a share of the shortest enrolled sample's: less is not the whole phrase."""
REPEATED = 0.98
"""Similarity to a learned sample above which an utterance adds nothing, or is a replay."""
REPEATED_ENROLLED = 0.92
"""The same for an enrolled sample, the mean of a voice as it is and in other places: the recording
itself is 0.86 to 0.97 near to it, and no other repetition above 0.918 (345 recordings)."""


class AdaptationRefusal(str, enum.Enum):
    """Why an accepted utterance is not learned from."""

    UNSURE = "not of high confidence"
    STRAYED = "not of high confidence with the enrolled samples alone"
    CUT = "cut short"
    NOISY = "too noisy"
    ECHOING = "known only after its echo was taken off"
    SHORT = "too little speech"
    TOO_SOON = "too soon after the last one"
    REPEATED = "too similar to a known sample"


@dataclass(frozen=True)
class Matches:
    """How the voice and the phrase of an utterance match a profile."""

    voice: SpeakerMatch
    phrase: PhraseMatch

    @property
    def certain(self) -> bool:
        """Whether each is accepted with high confidence by itself."""
        return all(
            part.accepted and confidence_of([part.margin]) is Confidence.HIGH
            for part in (self.voice, self.phrase)
        )


def reason_not_to_adapt(
    profile: Profile,
    analysis: Analysis,
    *,
    confidence: Confidence,
    matches: Matches,
    to_enrolled: Matches,
    truncated: bool,
    now: float,
    interval_s: float,
) -> AdaptationRefusal | None:
    """Why an utterance that was accepted for a profile may not be learned from, or None.

    `to_enrolled` are the matches with what was enrolled alone, `now` is the time of the utterance,
    Unix, seconds.
    Learned samples are at least `interval_s` seconds apart; a clock that is set back lengthens
    that, never shortens it.
    """
    quality = analysis.quality
    shortest_s = min((sample.net_speech_s for sample in profile.enrolled), default=0.0)
    latest = max((sample.created_at for sample in profile.adapted), default=None)
    checks = (
        (confidence is not Confidence.HIGH or not matches.certain, AdaptationRefusal.UNSURE),
        (not to_enrolled.certain, AdaptationRefusal.STRAYED),
        (truncated, AdaptationRefusal.CUT),
        (not quality.snr_db >= MIN_SNR_DB, AdaptationRefusal.NOISY),
        (analysis.without_echo is not None, AdaptationRefusal.ECHOING),
        (not quality.net_speech_s >= MIN_SPEECH * shortest_s, AdaptationRefusal.SHORT),
        (latest is not None and now - latest < interval_s, AdaptationRefusal.TOO_SOON),
        (
            any(
                cosine(sample.speaker_embedding, analysis.speaker_embedding)
                > (REPEATED if sample.adapted else REPEATED_ENROLLED)
                for sample in profile.samples
            ),
            AdaptationRefusal.REPEATED,
        ),
    )
    return next((refusal for refused, refusal in checks if refused), None)


def drift_of(profile: Profile) -> float:
    """1 - cosine similarity of a profile's signatures with and without what was learned.

    It is 0 when nothing was, about 1 for two unrelated voices.
    """
    if not profile.adapted or not profile.enrolled:
        return 0.0
    return max(0.0, 1.0 - cosine(signature_of(profile.enrolled), signature_of(profile.samples)))

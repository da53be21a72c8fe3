"""The types that pass between the rooms: small, frozen, printable."""

from edge.types.audio import SAMPLE_RATE, AudioBlock, FloatArray, Quality, Utterance
from edge.types.decision import AccessDecision, Confidence, Outcome, ReasonCode
from edge.types.match import PhraseMatch, SpeakerMatch
from edge.types.profile import EnrolmentSample, Profile, ProfileKind, ProfileStatus

__all__ = [
    "SAMPLE_RATE",
    "AccessDecision",
    "AudioBlock",
    "Confidence",
    "EnrolmentSample",
    "FloatArray",
    "Outcome",
    "PhraseMatch",
    "Profile",
    "ProfileKind",
    "ProfileStatus",
    "Quality",
    "ReasonCode",
    "SpeakerMatch",
    "Utterance",
]

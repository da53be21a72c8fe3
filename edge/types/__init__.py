"""The types that packages pass to each other: small, frozen, printable."""

from edge.types.access import EVERYTHING, AccessRule, Window
from edge.types.audio import (
    PAUSE_S,
    SAMPLE_RATE,
    AudioBlock,
    FloatArray,
    Quality,
    Utterance,
)
from edge.types.decision import (
    AccessDecision,
    Confidence,
    Detail,
    Event,
    EventKind,
    Outcome,
    PhraseMatch,
    ReasonCode,
    SpeakerMatch,
)
from edge.types.profile import (
    STRETCHES,
    VOICE_VARIANTS,
    EnrollmentSample,
    Profile,
    ProfileKind,
    ProfileStatus,
)

__all__ = [
    "EVERYTHING",
    "PAUSE_S",
    "SAMPLE_RATE",
    "STRETCHES",
    "VOICE_VARIANTS",
    "AccessDecision",
    "AccessRule",
    "AudioBlock",
    "Confidence",
    "Detail",
    "EnrollmentSample",
    "Event",
    "EventKind",
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
    "Window",
]

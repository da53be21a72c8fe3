"""The types that pass between the rooms: small, frozen, printable."""

from edge.types.access import (
    EVERY_DAY,
    EVERYTHING,
    AccessRule,
    Window,
    format_window,
    parse_day,
    parse_window,
)
from edge.types.audio import SAMPLE_RATE, AudioBlock, FloatArray, Quality, Utterance
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
from edge.types.profile import EnrollmentSample, Profile, ProfileKind, ProfileStatus

__all__ = [
    "EVERYTHING",
    "EVERY_DAY",
    "SAMPLE_RATE",
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
    "format_window",
    "parse_day",
    "parse_window",
]

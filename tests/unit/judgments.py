"""Made-up judgments, for the tests of what comes after them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge.access.decider import Candidate, Judgment
from edge.recognition.results import Analysis
from edge.types import (
    EVERYTHING,
    AccessDecision,
    AccessRule,
    Confidence,
    Outcome,
    PhraseMatch,
    Profile,
    Quality,
    ReasonCode,
    SpeakerMatch,
    Utterance,
)

QUALITY = Quality(-23.0, -61.0, 38.0, 0.0, 1.0)


def judgment_of(
    reason: ReasonCode, *, rule: AccessRule = EVERYTHING, profile: Profile | None = None
) -> Judgment:
    """A judgment with this outcome; there is no recognition behind it."""
    utterance = Utterance(np.zeros(16_000, np.float32), 0.0, 1.0, QUALITY)
    person = replace(profile or Profile.begin("Ada"), rule=rule)
    granted = reason is ReasonCode.RECOGNIZED
    decision = AccessDecision(
        id="an id",
        time=1.0,
        device="front-door",
        outcome=Outcome.GRANTED if granted else Outcome.DENIED,
        reason=reason,
        confidence=Confidence.NORMAL,
        profile_id=person.id,
        name=person.name,
        phrase="mellon",
        scores={"voice": 1.0},
        quality=utterance.quality,
    )
    voice = SpeakerMatch(person.id, person.name, 0.9, 5.0, 1.0)
    phrase = PhraseMatch(person.id, "mellon", 0.1, 5.0, 1.0)
    analysis = Analysis(np.eye(1, 192, dtype=np.float32)[0], None, QUALITY, {})
    return Judgment(utterance, decision, Candidate(analysis, person, voice, phrase, 1))

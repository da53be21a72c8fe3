"""What a profile may learn from an utterance that opened the door."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from edge.access.decider import Judgment
from edge.config import EnrollmentConfig
from edge.recognition.adaptation import Nearness, reason_not_to_adapt
from edge.recognition.engine import Engine
from edge.types import EnrollmentSample, Profile

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lesson:
    """A sample to be added to a profile.

    Attributes:
        profile: as it was when the utterance was accepted.
        sample: what is kept of the utterance.
    """

    profile: Profile
    sample: EnrollmentSample


def lesson_from(judgment: Judgment, engine: Engine, config: EnrollmentConfig) -> Lesson | None:
    """What may be learned from an utterance and what was found out about it; mostly nothing.

    Args:
        judgment: the utterance and what came of it.
        engine: the recognizer, of the models that the profile is of.
        config: how often something may be learned.
    """
    decision, finding = judgment.decision, judgment.finding
    if finding is None or not decision.granted:
        return None
    if finding.duress:  # neither phrase may become part of the other one's signature
        return None
    analysis, profile = finding.analysis, finding.profile
    enrolled = replace(profile, samples=profile.enrolled)
    refusal = reason_not_to_adapt(
        profile,
        analysis,
        confidence=decision.confidence,
        nearness=Nearness(finding.voice, finding.phrase),
        to_enrolled=Nearness(
            engine.match_speakers([enrolled], analysis)[0],
            engine.match_phrases([enrolled], analysis)[0],
        ),
        truncated=judgment.utterance.truncated,
        now=decision.time,
        interval_s=config.adapt_interval_s,
    )
    if refusal is not None:
        _log.debug("nothing learned for %s: %s", profile.name, refusal.value)
        return None
    sample = EnrollmentSample(
        speaker_embedding=analysis.speaker_embedding,
        phrase_embedding=analysis.phrase_embedding,
        net_speech_s=analysis.quality.net_speech_s,
        snr_db=analysis.quality.snr_db,
        created_at=decision.time,
        adapted=True,
    )
    return Lesson(profile, sample)

"""Whether the door may open: one utterance, everybody enrolled, one decision."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from edge.config import Config
from edge.recognition.confidence import confidence_of, phrase_margin, voice_margin
from edge.recognition.engine import Engine
from edge.recognition.results import Analysis
from edge.types import (
    AccessDecision,
    Confidence,
    Outcome,
    PhraseMatch,
    Profile,
    ProfileKind,
    ProfileStatus,
    ReasonCode,
    SpeakerMatch,
    Utterance,
)

NEAREST_VOICES = 10
"""Profiles whose phrases are compared, those of all accepted voices apart: comparing takes time.
With more people than this, whoever says the phrase of someone with a distant voice is told
`no_match` in place of `unknown_speaker`; what opens is the same."""


def age_of(utterance: Utterance) -> float:
    """Seconds since the speech of an utterance ended, as it arrived at the device."""
    if utterance.speech_ended_at <= 0.0:  # a recording, which was never heard
        return 0.0
    return max(0.0, time.monotonic() - utterance.speech_ended_at)


@dataclass(frozen=True)
class Finding:
    """What a decision was made of; it never leaves the device.

    Attributes:
        analysis: the utterance as the models see it.
        profile: whom it was held against in the end.
        voice: the voice held against that profile.
        phrase: the phrase held against that profile.
    """

    analysis: Analysis
    profile: Profile
    voice: SpeakerMatch
    phrase: PhraseMatch


@dataclass(frozen=True)
class Judgement:
    """A decision and what is behind it.

    Attributes:
        decision: what is published.
        finding: what it was made of; None when the utterance was not judged.
    """

    decision: AccessDecision
    finding: Optional[Finding] = None


class Decider:
    """Decides on utterances.

    Args:
        engine: the recogniser.
        config: the device's id and for how long a decision holds.

    """

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._config = config

    def eligible(self, profiles: Sequence[Profile]) -> list[Profile]:
        """The profiles that can open: a phrase, enrolled whole, with the models that are open."""
        return [
            profile
            for profile in profiles
            if profile.kind is ProfileKind.PHRASE
            and profile.status is ProfileStatus.ENROLLED
            and self._engine.fits(profile)
        ]

    def decide(self, utterance: Utterance, profiles: Sequence[Profile]) -> AccessDecision:
        """Decide on an utterance.

        Args:
            utterance: as the end-pointer cut it.
            profiles: everybody; those that cannot open are passed over.

        """
        return self.judge(utterance, profiles).decision

    def judge(self, utterance: Utterance, profiles: Sequence[Profile]) -> Judgement:
        """As `decide`, with what the decision was made of."""
        started = time.perf_counter()
        candidates = self.eligible(profiles)
        reason = self._engine.refusal(utterance, ProfileKind.PHRASE)
        if reason is None and not candidates:
            reason = ReasonCode.NOBODY_ENROLLED
        if reason is not None:
            return Judgement(self._decision(utterance, reason, Confidence.HIGH, {}, started))
        analysis = self._engine.analyse(utterance)
        analysed = time.perf_counter()
        every = [self._engine.match_speaker(profile, analysis) for profile in candidates]
        nearest = sorted(range(len(every)), key=lambda index: every[index].score, reverse=True)
        accepted = sum(voice.accepted for voice in every)
        chosen = nearest[: max(NEAREST_VOICES, accepted)]
        voices = [every[index] for index in chosen]
        phrases = self._engine.match_phrases([candidates[index] for index in chosen], analysis)
        timings = {**analysis.timings_ms, "match": (time.perf_counter() - analysed) * 1e3}
        decision, voice, phrase = self._weigh(utterance, voices, phrases, timings, started)
        profile = next(each for each in candidates if each.id == voice.profile_id)
        return Judgement(decision, Finding(analysis, profile, voice, phrase))

    def _weigh(
        self,
        utterance: Utterance,
        voices: Sequence[SpeakerMatch],
        phrases: Sequence[PhraseMatch],
        timings: dict[str, float],
        started: float,
    ) -> tuple[AccessDecision, SpeakerMatch, PhraseMatch]:
        pairs = list(zip(voices, phrases))
        both = [pair for pair in pairs if pair[0].accepted and pair[1].accepted]
        if both:
            # Two people may share a phrase; the nearer voice is who it is.
            voice, phrase = max(both, key=lambda pair: pair[0].score)
            reason = ReasonCode.ACCEPTED
        elif any(voice.accepted for voice in voices):
            voice, phrase = max(pairs, key=lambda pair: pair[0].score)
            reason = ReasonCode.WRONG_PHRASE
        elif any(phrase.accepted for phrase in phrases):
            voice, phrase = min(pairs, key=lambda pair: pair[1].distance)
            reason = ReasonCode.UNKNOWN_SPEAKER
        else:
            # Whom it came nearest to, each part in its own steps.
            voice, phrase = max(
                pairs, key=lambda pair: min(voice_margin(pair[0]), phrase_margin(pair[1]))
            )
            reason = ReasonCode.NO_MATCH
        confidence = confidence_of((voice_margin(voice), phrase_margin(phrase)))
        decision = self._decision(utterance, reason, confidence, timings, started, voice, phrase)
        return decision, voice, phrase

    def _decision(
        self,
        utterance: Utterance,
        reason: ReasonCode,
        confidence: Confidence,
        timings: dict[str, float],
        started: float,
        voice: Optional[SpeakerMatch] = None,
        phrase: Optional[PhraseMatch] = None,
    ) -> AccessDecision:
        scores = {}
        if voice is not None and phrase is not None:
            scores = {
                "voice": voice.score,
                "voice_threshold": voice.threshold,
                "phrase_distance": phrase.distance,
                "phrase_threshold": phrase.threshold,
            }
        # A voice that was not accepted is nobody's: naming whom it resembles would point a
        # stranger at the person to imitate, and an owner at the wrong one.
        known = voice if voice is not None and voice.accepted else None
        heard = phrase if phrase is not None and phrase.accepted else None
        granted = reason is ReasonCode.ACCEPTED
        timings = {
            "endpoint": max(0.0, (utterance.closed_at - utterance.speech_ended_at) * 1e3),
            **timings,
            "decide": (time.perf_counter() - started) * 1e3,
        }
        return AccessDecision(
            id=str(uuid.uuid4()),
            time=time.time() - age_of(utterance),
            device=self._config.device.id,
            outcome=Outcome.GRANTED if granted else Outcome.DENIED,
            reason=reason,
            confidence=confidence,
            profile_id=known.profile_id if known else None,
            name=known.name if known else None,
            phrase=(heard.phrase or None) if heard else None,
            scores=scores,
            utterance_s=utterance.duration_s - utterance.lead_s - utterance.tail_s,
            quality=utterance.quality,
            timings_ms=timings,
            lifetime_s=self._config.access.decision_lifetime_s,
        )

"""Whether the door may open: one utterance, everybody enrolled, one decision."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.config import Config
from edge.recognition.engine import Engine
from edge.recognition.results import Analysis, PhraseEmbedding
from edge.recognition.scoring import confidence_of
from edge.types import (
    AccessDecision,
    AccessRule,
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
"""Profiles whose phrases are compared first, besides those of all accepted voices: comparing takes
time. Only where it is none of these phrases the others are compared too."""


def age_of(utterance: Utterance) -> float:
    """Seconds since the speech of an utterance ended, as it arrived at the device."""
    if utterance.speech_ended_at <= 0.0:  # a recording, not live sound
        return 0.0
    return max(0.0, time.monotonic() - utterance.speech_ended_at)


@dataclass(frozen=True)
class Candidate:
    """A profile that an utterance was compared with; it never leaves the device.

    Attributes:
        analysis: the utterance as the models see it.
        voice: how near the voice is to the profile, and `phrase` how near the phrase is.
        sharing: how many people have the phrase that was said, 1 at least.
        duress: whether it was a duress phrase; `profile` is then the person's own.
    """

    analysis: Analysis
    profile: Profile
    voice: SpeakerMatch
    phrase: PhraseMatch
    sharing: int
    duress: bool = False

    @property
    def accepted(self) -> bool:
        """Whether voice and phrase are the profile's."""
        return self.voice.accepted and self.phrase.accepted


@dataclass(frozen=True)
class Judgment:
    """A decision on an utterance, and the profile that it is about; None when none was compared.

    Attributes:
        published: whether anybody is told. Not of a phrase inside running speech that opens
            nothing, and not of what was said during a lock-out: that is only checked.
        locked_out: whether it was said during a lock-out, which may be over since.
    """

    utterance: Utterance
    decision: AccessDecision
    candidate: Candidate | None = None
    published: bool = True
    locked_out: bool = False


class Decider:
    """Decides on utterances, with the device's id and for how long a decision holds.

    Of several people who match, one whose rule `may_open` now is taken before the others: somebody
    enrolled under two names opens with the one that may.
    """

    def __init__(
        self,
        engine: Engine,
        config: Config,
        may_open: Callable[[AccessRule], bool] = lambda _: True,
    ) -> None:
        self._engine = engine
        self._config = config
        self._may_open = may_open

    def eligible(self, profiles: Sequence[Profile]) -> list[Profile]:
        """The profiles that can open: a phrase, enrolled whole, with the models that are open.

        A duress phrase counts only together with the person's own.
        """
        ready = [
            profile
            for profile in profiles
            if profile.kind is ProfileKind.PHRASE
            and profile.status is ProfileStatus.ENROLLED
            and self._engine.fits(profile)
        ]
        people = {profile.id for profile in ready if profile.duress_of is None}
        return [profile for profile in ready if _person(profile) in people]

    def unheard(self, utterance: Utterance) -> Judgment:
        """The answer to an utterance during a lock-out, the same whatever was said."""
        silent = replace(
            utterance,
            samples=np.zeros(0, np.float32),
            lead_s=0.0,
            speech_ended_at=0.0,
            closed_at=0.0,
            truncated=False,
        )
        started = time.perf_counter()
        decision = self._decision(silent, ReasonCode.LOCKED_OUT, Confidence.HIGH, {}, started)
        return Judgment(silent, decision, locked_out=True)

    def decide(
        self,
        utterance: Utterance,
        profiles: Sequence[Profile],
        phrase: PhraseEmbedding | None = None,
    ) -> Judgment:
        """Decide on an utterance; `phrase` is given where it is embedded already.

        Of the profiles those that cannot open are passed over.
        """
        started = time.perf_counter()
        eligible = self.eligible(profiles)
        reason = self._engine.refusal(utterance, ProfileKind.PHRASE)
        if reason is None and not eligible:
            reason = ReasonCode.NOBODY_ENROLLED
        if reason is not None:
            decision = self._decision(utterance, reason, Confidence.HIGH, {}, started)
            return Judgment(utterance, decision)
        analysis = self._engine.analyze(utterance, phrase=phrase)
        analyzed = time.perf_counter()
        rules = {profile.id: profile.rule for profile in eligible}
        candidates = self._candidates(analysis, eligible)
        said = any(each.phrase.accepted for each in candidates)
        if said:
            analysis = self._engine.with_stretches(utterance, analysis)
            candidates = self._compared_again(candidates, analysis)
        reason, candidate = self._judged(candidates, rules)
        if said and reason is not ReasonCode.RECOGNIZED:
            analysis = self._engine.without_echo(utterance, analysis)
            candidates = self._compared_again(candidates, analysis)
            reason, candidate = self._judged(candidates, rules)
        reason = self._engine.named(reason, utterance.quality)
        timings = {**analysis.timings_ms, "match": (time.perf_counter() - analyzed) * 1e3}
        confidence = confidence_of((candidate.voice.margin, candidate.phrase.margin))
        decision = self._decision(utterance, reason, confidence, timings, started, candidate)
        return Judgment(utterance, decision, candidate)

    def _candidates(self, analysis: Analysis, eligible: Sequence[Profile]) -> list[Candidate]:
        """Those of the eligible whose phrases are compared, the nearest voice as a whole first."""
        every = self._engine.match_speakers(eligible, analysis)
        nearest = sorted(range(len(every)), key=lambda index: every[index].score, reverse=True)
        accepted = sum(voice.accepted for voice in every)
        chosen = nearest[: max(NEAREST_VOICES, accepted)]
        phrases = self._engine.match_phrases([eligible[index] for index in chosen], analysis)
        if not any(match.accepted for match in phrases):
            others = nearest[len(chosen) :]
            chosen = nearest
            phrases += self._engine.match_phrases([eligible[index] for index in others], analysis)
        # A stranger may be taken for anyone who shares the phrase.
        having = {
            _person(eligible[index]) for index, match in zip(chosen, phrases) if match.accepted
        }
        sharing = max(1, len(having))
        candidates = []
        for index, match in zip(chosen, phrases):
            profile, scorer = eligible[index], self._engine.scorer
            threshold = scorer.voice_threshold(sharing, enrollments=len(profile.enrolled))
            voice = replace(every[index], threshold=threshold)
            candidates.append(Candidate(analysis, profile, voice, match, sharing))
        return candidates

    def _compared_again(
        self, candidates: Sequence[Candidate], analysis: Analysis
    ) -> list[Candidate]:
        """The candidates with the voice of a later analysis, where the phrase is theirs."""
        found = []
        for each in candidates:
            voice = each.voice
            if each.phrase.accepted:
                (voice,) = self._engine.match_speakers([each.profile], analysis)
                voice = replace(voice, threshold=each.voice.threshold)
            found.append(replace(each, analysis=analysis, voice=voice))
        return found

    def _judged(
        self, candidates: Sequence[Candidate], rules: Mapping[str, AccessRule]
    ) -> tuple[ReasonCode, Candidate]:
        """The reason of a decision, and the profile that it is about; `rules` are by person."""
        reason, candidate = _weigh(
            candidates, lambda each: self._may_open(rules[_person(each.profile)])
        )
        if reason is ReasonCode.RECOGNIZED:
            voice = self._engine.match_stretches(
                candidate.profile, candidate.analysis, candidate.voice
            )
            candidate = replace(candidate, voice=voice)
            if not voice.accepted:
                reason = ReasonCode.UNKNOWN_SPEAKER
        return reason, candidate

    def _decision(
        self,
        utterance: Utterance,
        reason: ReasonCode,
        confidence: Confidence,
        timings: dict[str, float],
        started: float,
        candidate: Candidate | None = None,
    ) -> AccessDecision:
        # A voice that was not accepted has no name: saying whom it resembles would point a
        # stranger at the person to imitate, and an owner at the wrong one.
        voice, phrase = (candidate.voice, candidate.phrase) if candidate else (None, None)
        known = voice if voice is not None and voice.accepted else None
        said = phrase if phrase is not None and phrase.accepted else None
        granted = reason is ReasonCode.RECOGNIZED
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
            phrase=(said.phrase or None) if said else None,
            scores=self._scores(candidate) if candidate else {},
            utterance_s=utterance.duration_s - utterance.lead_s - utterance.tail_s,
            quality=utterance.quality,
            timings_ms=timings,
            lifetime_s=self._config.access.decision_lifetime_s,
        )

    def _scores(self, candidate: Candidate) -> dict[str, float]:
        scorer, voice, phrase = self._engine.scorer, candidate.voice, candidate.phrase
        return {
            "joint": scorer.joint(
                voice.score,
                phrase.score,
                candidate.sharing,
                enrollments=len(candidate.profile.enrolled),
            ),
            "joint_threshold": scorer.joint_threshold,
            "voice": voice.score,
            "voice_threshold": voice.threshold,
            "voice_similarity": voice.similarity,
            "phrase": phrase.score,
            "phrase_threshold": phrase.threshold,
            "phrase_distance": phrase.distance,
        }


def _person(profile: Profile) -> str:
    """Id of the person's own profile, also where this one is for their duress phrase."""
    return profile.duress_of or profile.id


def _weigh(
    candidates: Sequence[Candidate], may_open: Callable[[Candidate], bool]
) -> tuple[ReasonCode, Candidate]:
    """The reason of a decision, and the profile that it is about."""
    both = [each for each in candidates if each.accepted]
    if len(both) > 1:
        both = [each for each in both if may_open(each)] or both
    if both:
        # Two people may share a phrase; the nearer voice is who it is. Of one person's two phrases
        # it is the nearer one that was said.
        nearest = max(both, key=lambda each: each.voice.score)
        own = [each for each in both if _person(each.profile) == _person(nearest.profile)]
        return ReasonCode.RECOGNIZED, max(own, key=lambda each: each.phrase.score)
    if any(each.voice.accepted for each in candidates):
        return ReasonCode.WRONG_PHRASE, max(candidates, key=lambda each: each.voice.score)
    if any(each.phrase.accepted for each in candidates):
        return ReasonCode.UNKNOWN_SPEAKER, max(candidates, key=lambda each: each.phrase.score)
    # The nearest profile.
    nearest = max(candidates, key=lambda each: min(each.voice.margin, each.phrase.margin))
    return ReasonCode.NO_MATCH, nearest

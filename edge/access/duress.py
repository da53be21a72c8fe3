"""The duress phrase: it opens as usual and raises a silent alarm.

An attacker who forces somebody to open the door sees and hears what the device does, and may read
its messages and its journal. So in all that is published, logged or played, a duress phrase looks
like the person's own phrase; only the alarm, on its own topic and in the audit trail, differs.

The two phrases have to be distinguished in noise and in fear, also within running speech: they must
be further apart than the phrases of two people, and neither may be a part of the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from edge.access.decider import Candidate, Judgment
from edge.access.guard import denied
from edge.errors import EdgeVoiceError, EnrollmentRejected
from edge.recognition import Engine
from edge.recognition.dtw import dtw_distances
from edge.recognition.keyword_spotter import KeywordSpotter
from edge.recognition.scoring import Scorer, cosine, signature_of
from edge.types import AccessDecision, EnrollmentSample, Event, EventKind, Profile, ReasonCode

APART = 1.2
"""Least distance of two phrases of one person, relative to the largest distance between
repetitions of one phrase at enrollment."""

_log = logging.getLogger(__name__)


class DuressCheck:
    """Makes a judgment of a duress profile one of the person's own profile, and raises the alarm.

    It comes first: the other checks use the person's own rule, hours and digits, and the alarm is
    raised whatever they decide.

    Args:
        profiles: gives the present profiles.
        scorer: as the decider's.
        alarm: called, before the decision is published, when a duress phrase was said in the right
            voice; must not wait.
    """

    def __init__(
        self,
        profiles: Callable[[], Sequence[Profile]],
        scorer: Scorer,
        alarm: Callable[[Event], None],
    ) -> None:
        self._profiles = profiles
        self._scorer = scorer
        self._alarm = alarm

    def review(self, judgment: Judgment) -> Judgment:
        """The judgment, or that of the person's own profile."""
        candidate = judgment.candidate
        if candidate is None or candidate.profile.duress_of is None:
            return judgment
        owner_id = candidate.profile.duress_of
        owner = next((each for each in self._profiles() if each.id == owner_id), None)
        if judgment.decision.granted:
            self._raise(judgment.decision, owner_id)
        if owner is None:  # deleted this very moment
            return replace(_nobody(judgment), candidate=None)
        own = _as_own(candidate, owner, self._scorer)
        return replace(judgment, decision=_decision(judgment.decision, own), candidate=own)

    def _raise(self, decision: AccessDecision, owner_id: str) -> None:
        detail = {"decision": decision.id, "device": decision.device}
        try:
            self._alarm(Event(EventKind.DURESS, detail, owner_id))
        except EdgeVoiceError as error:
            # The door opens all the same: a refusal would endanger the speaker. And above debug
            # level nothing may show it.
            _log.debug("the alarm cannot be raised: %s", error)


def require_apart(engine: Engine, other: Profile, sample: EnrollmentSample) -> None:
    """Refuse a repetition in another voice, or too close to the person's other phrase.

    Args:
        engine: the recognizer, with the models of both.
        other: the person's other profile: the duress phrase's, or the own phrase's.
        sample: the repetition.

    Raises:
        EnrollmentRejected: with what to do about it.
    """
    likeness = cosine(signature_of(other.enrolled), sample.speaker_embedding)
    least = engine.models.speaker.card.threshold("enrollment")
    if likeness < least:
        raise EnrollmentRejected(
            ReasonCode.UNKNOWN_SPEAKER.value,
            f"not the voice of {other.name} (similarity {likeness:.2f}, at least {least:.2f}): the"
            " same person must say both phrases",
        )
    if sample.phrase_embedding is None:
        return
    examples = [s.phrase_embedding for s in other.enrolled if s.phrase_embedding is not None]
    distance = min(dtw_distances(examples, sample.phrase_embedding), default=float("inf"))
    nearest = APART * engine.models.phrase.card.threshold("enrollment")
    if distance < nearest:
        raise EnrollmentRejected(
            ReasonCode.WRONG_PHRASE.value,
            f"too similar to the phrase of {other.name} (distance {distance:.2f}, at least"
            f" {nearest:.2f}): choose one without a word in common",
        )
    spotter = KeywordSpotter(engine.models.phrase, [examples])
    reverse = KeywordSpotter(engine.models.phrase, [[sample.phrase_embedding]])
    if spotter.search(sample.phrase_embedding) or any(
        reverse.search(example) for example in examples
    ):
        raise EnrollmentRejected(
            ReasonCode.WRONG_PHRASE.value,
            f"one of the two phrases of {other.name} is part of the other: choose one without a"
            " word in common",
        )


def _as_own(candidate: Candidate, owner: Profile, scorer: Scorer) -> Candidate:
    """The candidate, with the person's own profile."""
    voice, phrase = candidate.voice, candidate.phrase
    # The threshold depends on the number of enrolled repetitions, which may differ.
    threshold = scorer.voice_threshold(candidate.sharing, enrollments=len(owner.enrolled))
    moved = threshold - voice.threshold
    return replace(
        candidate,
        profile=owner,
        voice=replace(
            voice,
            profile_id=owner.id,
            name=owner.name,
            score=voice.score + moved,
            threshold=threshold,
        ),
        phrase=replace(phrase, profile_id=owner.id, phrase=owner.phrase),
        duress=True,
    )


def _decision(decision: AccessDecision, own: Candidate) -> AccessDecision:
    scores = dict(decision.scores)
    scores.update(voice=own.voice.score, voice_threshold=own.voice.threshold)
    known = decision.profile_id is not None
    return replace(
        decision,
        profile_id=own.profile.id if known else None,
        name=own.profile.name if known else None,
        phrase=(own.profile.phrase or None) if own.phrase.accepted else None,
        scores=scores,
    )


def _nobody(judgment: Judgment) -> Judgment:
    shut = denied(judgment, ReasonCode.NO_MATCH)
    decision = replace(shut.decision, profile_id=None, name=None, phrase=None, scores={})
    return replace(shut, decision=decision)

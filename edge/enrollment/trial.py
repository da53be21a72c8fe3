"""Try an enrollment out: whether the door would open, and by what margin.

An utterance is judged as at the door, against everybody and with replay detection; nothing is
stored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edge.access.decider import Decider
from edge.audio.quality import explain
from edge.config import Config
from edge.recognition import Engine
from edge.recognition.results import phrase_dict, speaker_dict
from edge.replay.memory import ReplayCheck
from edge.store import ProfileStore
from edge.types import (
    Confidence,
    PhraseMatch,
    Profile,
    ProfileKind,
    Quality,
    ReasonCode,
    SpeakerMatch,
    Utterance,
)


@dataclass(frozen=True)
class Trial:
    """The result.

    Attributes:
        voice: the voice's match; None where the recording was not judged.
        phrase: the phrase's match; None where it was not judged, or there is no phrase.
        meaning: what it means and what to do, a sentence without its period.
    """

    reason: ReasonCode
    confidence: Confidence
    voice: SpeakerMatch | None
    phrase: PhraseMatch | None
    meaning: str

    @property
    def accepted(self) -> bool:
        """Whether the door would open, or, without a phrase, whether the voice is accepted."""
        return self.reason is ReasonCode.RECOGNIZED

    def lines(self) -> list[str]:
        """The result in words."""
        matches = (("voice", self.voice), ("phrase", self.phrase))
        rows = [f"  {name:<8}{_row(match)}" for name, match in matches if match is not None]
        return [f"Trial: {self.meaning}.", *rows]

    def as_dict(self) -> dict[str, Any]:
        """The result by its JSON names."""
        return {
            "accepted": self.accepted,
            "reason": self.reason.value,
            "confidence": self.confidence.value,
            "voice_margin": round(self.voice.margin, 4) if self.voice else None,
            "phrase_margin": round(self.phrase.margin, 4) if self.phrase else None,
            "voice": speaker_dict(self.voice) if self.voice else None,
            "phrase": phrase_dict(self.phrase) if self.phrase else None,
            "message": self.meaning,
        }


def try_out(
    engine: Engine, store: ProfileStore, config: Config, profile: Profile, utterance: Utterance
) -> Trial:
    """Judge an utterance of somebody who was just enrolled as the door would.

    Raises:
        StoreError: the store cannot be read.
    """
    if profile.kind is ProfileKind.VOICE:
        result = engine.verify(profile, utterance)
        reason, confidence = result.reason, result.confidence
        voice, phrase = result.speaker, result.phrase
    else:
        # Who still has to be confirmed is judged as if that were done.
        people = [
            replace(each, confirmed=True) if each.id == profile.id else each
            for each in store.list()
        ]
        judgment = Decider(engine, config).decide(utterance, people)
        replays = ReplayCheck(config.replay)
        replays.load(store)
        decision = replays.review(judgment).decision
        reason, confidence = decision.reason, decision.confidence
        candidate = judgment.candidate
        voice, phrase = (candidate.voice, candidate.phrase) if candidate else (None, None)
        if decision.granted and candidate is not None and candidate.profile.id != profile.id:
            meaning = (
                f"it would open for {candidate.profile.name}, not for {profile.name}: they are too"
                " similar, enroll again with another phrase"
            )
            return Trial(ReasonCode.UNKNOWN_SPEAKER, confidence, voice, phrase, meaning)
    meaning = meaning_of(reason, confidence, profile.kind, profile.name, utterance.quality, config)
    return Trial(reason, confidence, voice, phrase, meaning)


def meaning_of(
    reason: ReasonCode,
    confidence: Confidence,
    kind: ProfileKind,
    name: str,
    quality: Quality,
    config: Config,
) -> str:
    """What a trial's result means and what to do, a sentence without its period."""
    by_phrase = kind is ProfileKind.PHRASE
    if reason is ReasonCode.RECOGNIZED:
        known = "it opens" if by_phrase else f"this is {name}"
        if confidence is Confidence.HIGH:
            return f"{known}, by a wide margin"
        if confidence is Confidence.NORMAL:
            return f"{known}, by some margin"
        return f"{known}, but narrowly: enroll again, closer to the microphone and in a quiet room"
    text = {
        ReasonCode.REPLAY_SUSPECTED: (
            "it would not open: this recording was heard before; say it again"
        ),
        ReasonCode.WRONG_PHRASE: (
            "it would not open: the voice matches, the phrase does not; say exactly the enrolled"
            " words"
        ),
        ReasonCode.UNKNOWN_SPEAKER: (
            "it would not open: the phrase matches, the voice does not; speak as you did before,"
            " from the same place"
            if by_phrase
            else "the voice does not match: speak as you did before, from the same place"
        ),
        ReasonCode.NO_MATCH: (
            "it would not open: neither voice nor phrase match; if you said the right phrase,"
            " enroll again in a quieter place"
        ),
    }.get(reason)
    return text or f"it cannot be judged: {explain(reason, quality, config.recognition)}"


def _row(match: SpeakerMatch | PhraseMatch) -> str:
    side = "above" if match.accepted else "below"
    return (
        f"score {match.score:.1f}, at least {match.threshold:.1f}: {abs(match.margin):.1f} {side}"
    )

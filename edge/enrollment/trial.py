"""Saying the phrase once more: whether the door would open, and with how much room to spare.

It is judged as at the door, among everybody who is enrolled and with recordings known; nothing of
it is stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.access.decider import Decider
from edge.config import Config
from edge.recognition import Engine
from edge.recognition.quality_gate import explain
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

_Match = SpeakerMatch | PhraseMatch
_FAR = (ReasonCode.WRONG_PHRASE, ReasonCode.UNKNOWN_SPEAKER, ReasonCode.NO_MATCH)


@dataclass(frozen=True)
class Trial:
    """What came of it.

    Attributes:
        accepted: whether it would open, or, without a phrase, whether the voice is known.
        reason: why.
        confidence: how sure that is.
        voice: the voice held against the signature; None where the recording was not judged.
        phrase: the phrase held against it; None where it was not judged, or there is none.
        meaning: all that in a sentence without its full stop, with what to do.
    """

    accepted: bool
    reason: ReasonCode
    confidence: Confidence
    voice: SpeakerMatch | None
    phrase: PhraseMatch | None
    meaning: str

    def lines(self) -> list[str]:
        """The figures in words."""
        rows = [f"  {name:<8}{_row(match)}" for name, match in self._matches() if match is not None]
        return [f"Trial: {self.meaning}.", *rows]

    def as_dict(self) -> dict[str, Any]:
        """The result under its JSON names."""
        margins = {name: match.margin for name, match in self._matches() if match is not None}
        return {
            "accepted": self.accepted,
            "reason": self.reason.value,
            "confidence": self.confidence.value,
            "voice_margin": round(margins["voice"], 4) if "voice" in margins else None,
            "phrase_margin": round(margins["phrase"], 4) if "phrase" in margins else None,
            "voice": speaker_dict(self.voice) if self.voice else None,
            "phrase": phrase_dict(self.phrase) if self.phrase else None,
            "message": self.meaning,
        }

    def _matches(self) -> tuple[tuple[str, _Match | None], ...]:
        return ("voice", self.voice), ("phrase", self.phrase)


def try_out(
    engine: Engine, store: ProfileStore, config: Config, profile: Profile, utterance: Utterance
) -> Trial:
    """Judge an utterance as the door would.

    Args:
        engine: the recognizer.
        store: where everybody is enrolled.
        config: how recordings are told, and everything else of the door.
        profile: who was just enrolled.
        utterance: what was said.

    Raises:
        StoreError: the store cannot be read.
    """
    if profile.kind is ProfileKind.VOICE:
        heard = engine.verify(profile, utterance)
        meaning = meaning_of(
            heard.reason, heard.confidence, profile.kind, profile.name, heard.quality, config
        )
        return Trial(
            heard.accepted, heard.reason, heard.confidence, heard.speaker, heard.phrase, meaning
        )
    judgment = Decider(engine, config).decide(utterance, store.list())
    replays = ReplayCheck(config.replay)
    replays.load(store)
    decision = replays.review(judgment).decision
    finding = judgment.finding
    voice, phrase = (finding.voice, finding.phrase) if finding else (None, None)
    other = finding.profile if finding is not None and finding.profile.id != profile.id else None
    if decision.granted and other is not None:
        meaning = (
            f"it would open for {other.name}, not for {profile.name}: the two are too alike, choose"
            " another phrase and enroll again"
        )
        return Trial(False, ReasonCode.UNKNOWN_SPEAKER, decision.confidence, voice, phrase, meaning)
    meaning = meaning_of(
        decision.reason, decision.confidence, profile.kind, profile.name, utterance.quality, config
    )
    return Trial(decision.granted, decision.reason, decision.confidence, voice, phrase, meaning)


def meaning_of(
    reason: ReasonCode,
    confidence: Confidence,
    kind: ProfileKind,
    name: str,
    quality: Quality,
    config: Config,
) -> str:
    """What came of a trial in a sentence without its full stop, with what to do.

    Args:
        reason: why it was accepted or not.
        confidence: how sure that is.
        kind: what is enrolled.
        name: who.
        quality: what the recording was worth.
        config: what it must be worth.
    """
    by_phrase = kind is ProfileKind.PHRASE
    if reason is ReasonCode.ACCEPTED:
        known = "it opens" if by_phrase else f"this is {name}"
        if confidence is Confidence.HIGH:
            return f"{known}, with room to spare"
        if confidence is Confidence.NORMAL:
            return f"{known}, with some room"
        return f"{known}, but close: enroll again nearer to the microphone, in the quiet"
    if reason is ReasonCode.REPLAY_SUSPECTED:
        return "it would not open: this recording was heard before; say it anew"
    if reason in _FAR:
        return {
            ReasonCode.WRONG_PHRASE: (
                "it would not open: the voice fits, the phrase does not; say the very words that"
                " were enrolled"
            ),
            ReasonCode.UNKNOWN_SPEAKER: (
                "it would not open: the phrase fits, the voice does not; speak as you did before,"
                " from the same place"
                if by_phrase
                else "the voice does not fit: speak as you did before, from the same place"
            ),
            ReasonCode.NO_MATCH: (
                "it would not open: neither the voice nor the phrase fits; if it was said right,"
                " enroll again in a quieter place"
            ),
        }[reason]
    return f"it cannot be judged: {explain(reason, quality, config.recognition)}"


def _row(match: _Match) -> str:
    side = "above" if match.accepted else "below"
    return (
        f"score {match.score:.1f}, at least {match.threshold:.1f}: {abs(match.margin):.1f} {side}"
    )

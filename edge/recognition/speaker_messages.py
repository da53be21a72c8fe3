"""Who speaks, as it is published: messages while somebody speaks, and a summary once it is quiet.

Two topics below BASE/DEVICE, unsigned, QoS 0, never retained: `speaker` whenever more is known of
who speaks and once when it is quiet again, and `utterance` when speech is over, with pauses of up
to two seconds and however many speakers in it. They hold nothing of what is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.recognition.engine import Engine
from edge.recognition.turns import Turn
from edge.types import Confidence, Profile, ProfileStatus, SpeakerMatch
from edge.types.decision import utc

SPEAKER = "speaker"
UTTERANCE = "utterance"
LIFETIME_S = 2.0
"""How long a message may wait; later it would tell of somebody who no longer speaks."""


@dataclass(frozen=True)
class SpeakerMessage:
    """What is published on the topic `suffix` below BASE/DEVICE."""

    suffix: str
    content: dict[str, Any]


def identifiable(engine: Engine, profiles: Iterable[Profile]) -> list[Profile]:
    """Whose voice can be told: enrolled whole, with these models, of either kind.

    A duress phrase is passed over, as the person's own profile has the same voice. Somebody who is
    disabled counts: the voice is known all the same.
    """
    return [
        profile
        for profile in profiles
        if profile.duress_of is None
        and profile.status is ProfileStatus.ENROLLED
        and engine.fits(profile)
    ]


@dataclass
class _Part:
    """One person in an utterance, None for nobody known; as sure as of the longest turn."""

    speaker: SpeakerMatch | None
    length_s: float = 0.0
    longest_s: float = 0.0
    confidence: Confidence = Confidence.LOW

    def add(self, turn: Turn) -> None:
        length_s = turn.end_s - turn.start_s
        self.length_s += length_s
        if length_s >= self.longest_s:
            self.longest_s, self.confidence = length_s, turn.confidence
            self.speaker = turn.speaker

    def as_dict(self) -> dict[str, Any]:
        return {
            "profile_id": self.speaker.profile_id if self.speaker else None,
            "name": self.speaker.name if self.speaker else None,
            "confidence": self.confidence.value,
            "length_s": round(self.length_s, 2),
        }


@dataclass
class _Utterance:
    """Speech that goes on: how long, the turns that are not over, and who spoke in the others."""

    start_s: float
    end_s: float
    open: dict[int, int] = field(default_factory=dict)
    """The numbers that they are published with, by their own."""
    parts: dict[str | None, _Part] = field(default_factory=dict)

    def end(self, turn: Turn) -> None:
        self.open.pop(turn.number, None)
        person = turn.speaker.profile_id if turn.speaker else None
        self.parts.setdefault(person, _Part(turn.speaker)).add(turn)


class SpeakerMessages:
    """Makes messages of turns, of one `TurnFinder` after the other; for one thread.

    Args:
        microphone: named in every message; None where there is one only.
    """

    def __init__(self, microphone: str | None = None) -> None:
        self._where = {} if microphone is None else {"microphone": microphone}
        self._utterance: _Utterance | None = None
        self._count = 0

    @property
    def speaking(self) -> bool:
        """Whether an utterance is going on."""
        return self._utterance is not None

    def silence(self, now: float) -> SpeakerMessage:
        """The message that nobody speaks; `now` is Unix time, seconds."""
        return SpeakerMessage(SPEAKER, {"time": utc(now), "state": "silent", **self._where})

    def add(self, turns: Sequence[Turn], heard_s: float, now: float) -> list[SpeakerMessage]:
        """The messages of what `TurnFinder.feed` or `finish` returned.

        Args:
            heard_s: how far the stream is, seconds, as the turns count them.
            now: Unix time of that moment, seconds.
        """
        messages = []
        for turn in turns:
            if self._utterance is None:
                self._utterance = _Utterance(turn.start_s, turn.end_s)
            self._utterance.end_s = max(self._utterance.end_s, turn.end_s)
            if turn.over:
                self._utterance.end(turn)
                continue
            number = self._utterance.open.get(turn.number)
            if number is None:
                # Not the turn's own: each finder counts from 1.
                number = self._utterance.open[turn.number] = self._count = self._count + 1
            messages.append(SpeakerMessage(SPEAKER, self._speaking(turn, number, now)))
        utterance = self._utterance
        if utterance is not None and not utterance.open:
            self._utterance = None
            summary = self._summary(utterance, now - heard_s)
            messages += [self.silence(now), SpeakerMessage(UTTERANCE, summary)]
        return messages

    def _speaking(self, turn: Turn, number: int, now: float) -> dict[str, Any]:
        speaker = turn.speaker
        return {
            "time": utc(now),
            "state": "speaking",
            **self._where,
            "turn": number,
            "profile_id": speaker.profile_id if speaker else None,
            "name": speaker.name if speaker else None,
            # How near somebody else's voice was would help whoever imitates one.
            "confidence": turn.confidence.value if speaker else None,
            "length_s": round(turn.end_s - turn.start_s, 2),
        }

    def _summary(self, utterance: _Utterance, begin_of_stream: float) -> dict[str, Any]:
        unknown = utterance.parts.pop(None, None)
        parts = sorted(utterance.parts.values(), key=lambda part: -part.length_s)
        return {
            "started_at": utc(begin_of_stream + utterance.start_s),
            **self._where,
            "length_s": round(utterance.end_s - utterance.start_s, 2),
            "speakers": [part.as_dict() for part in parts],
            "unknown_s": round(unknown.length_s, 2) if unknown else 0.0,
        }

"""Decisions as they are published, events as the audit trail has them, and their plain JSON."""

from __future__ import annotations

import enum
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from edge.types.audio import Quality

Detail = str | int | float | bool | None

_1970 = datetime(1970, 1, 1, tzinfo=timezone.utc)


class _Scored:
    """A log-likelihood ratio with the threshold from which it counts."""

    score: float
    threshold: float

    @property
    def margin(self) -> float:
        """By how much the score is above its threshold; negative below it."""
        return self.score - self.threshold

    @property
    def accepted(self) -> bool:
        """Whether the score reaches its threshold."""
        return self.score >= self.threshold


@dataclass(frozen=True)
class SpeakerMatch(_Scored):
    """A voice compared with one profile.

    Attributes:
        similarity: mean cosine of the voice, and of the halves of a phrase, to the signature, -1 to
            1; higher is nearer.
        score: log-likelihood ratio that the voice is theirs, natural logarithm.
        threshold: the score from which the voice counts as theirs.
    """

    profile_id: str
    name: str
    similarity: float
    score: float
    threshold: float


@dataclass(frozen=True)
class PhraseMatch(_Scored):
    """An utterance compared with one profile's phrase.

    Attributes:
        phrase: the phrase in writing, empty when not given.
        distance: cost of the best warping path, 0 and up; lower is nearer.
        score: log-likelihood ratio that the phrase is the right one, natural logarithm.
        threshold: the score from which the phrase counts as the right one.
    """

    profile_id: str
    phrase: str
    distance: float
    score: float
    threshold: float


class Outcome(str, enum.Enum):
    """Whether the door may open."""

    GRANTED = "granted"
    DENIED = "denied"


class ReasonCode(str, enum.Enum):
    """Why: a closed set, safe to switch on."""

    RECOGNIZED = "recognized"
    """The right voice said its phrase."""
    WRONG_PHRASE = "wrong_phrase"
    """An enrolled voice, but not its phrase."""
    UNKNOWN_SPEAKER = "unknown_speaker"
    """An enrolled phrase, but not the voice that it belongs to."""
    NO_MATCH = "no_match"
    """Neither the voice nor the phrase is enrolled."""
    TOO_SHORT = "too_short"
    """Too little speech to judge."""
    TOO_LONG = "too_long"
    """Longer than any passphrase may be."""
    TOO_NOISY = "too_noisy"
    """Speech does not stand out enough from the noise."""
    TOO_QUIET = "too_quiet"
    """Speech is too faint to judge."""
    CLIPPED = "clipped"
    """The recording is overdriven."""
    NOBODY_ENROLLED = "nobody_enrolled"
    """No profile to match against."""
    REPEATED = "repeated"
    """While enrolling: the very recording that was enrolled before."""
    CUT_OFF = "cut_off"
    """While enrolling: speech touches the first or the last of what was recorded."""
    OTHER_LENGTH = "other_length"
    """While enrolling: half or twice as long as a repetition before."""
    LOCKED_OUT = "locked_out"
    """Too many rejections: everybody is denied until the lock-out is over."""
    REPLAY_SUSPECTED = "replay_suspected"
    """Too similar to an earlier utterance to be spoken anew."""
    DISABLED = "disabled"
    """Recognized; the person's access is switched off."""
    NOT_HERE = "not_here"
    """Recognized; the person may not open this door."""
    NOT_NOW = "not_now"
    """Recognized; outside the hours or the dates at which the person may open."""
    CHALLENGE_ASKED = "challenge_asked"
    """Recognized, and asked for digits; the door opens once they are said."""
    CHALLENGE_FAILED = "challenge_failed"
    """The digits were wrong, or in another voice, or not said in time."""


class Confidence(str, enum.Enum):
    """How sure the decision is."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


@dataclass(frozen=True)
class AccessDecision:
    """A decision, complete: what is published is exactly this.

    Attributes:
        id: a UUID, unique to the decision.
        time: Unix time at which the speech ended, seconds; the lifetime counts from here.
        profile_id, name: whose voice it was taken for; None when nobody's.
        phrase: the phrase that was matched, in writing; None when none was.
        scores: the figures behind the decision, by name.
        utterance_s: how long the utterance was, seconds.
        quality: what the recording was worth; None when it was not measured.
        timings_ms: how long each stage took, milliseconds, by name.
        lifetime_s: for how long the decision may be acted on, seconds.
        counter: strictly increasing, also over a restart; None while it was not issued.
        issued_at: Unix time at which it was issued, seconds; None while it was not.
        signature: algorithm, key id and value; None when it is not signed.
    """

    id: str
    time: float
    device: str
    outcome: Outcome
    reason: ReasonCode
    confidence: Confidence
    profile_id: str | None = None
    name: str | None = None
    phrase: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    utterance_s: float = 0.0
    quality: Quality | None = None
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    lifetime_s: float = 5.0
    counter: int | None = None
    issued_at: float | None = None
    signature: Mapping[str, str] | None = None

    @property
    def granted(self) -> bool:
        """Whether the door may open."""
        return self.outcome is Outcome.GRANTED

    def margins(self) -> dict[str, float]:
        """By how much `joint`, `voice` and `phrase` are above their limits, where compared."""
        scores = self.scores
        return {
            part: scores[part] - scores[f"{part}_threshold"]
            for part in ("joint", "voice", "phrase")
            if part in scores and f"{part}_threshold" in scores
        }

    def for_everybody(self) -> AccessDecision:
        """The decision as the whole broker may read it.

        Not the phrase, which opens the door, and not how near an attempt was: with that somebody
        who tries again and again gets nearer each time.
        """
        confidence = self.confidence if self.granted else Confidence.HIGH
        return replace(self, phrase=None, scores={}, confidence=confidence)

    def details(self) -> dict[str, Any]:
        """What `for_everybody` leaves out, for who is named in the configuration."""
        content = self.as_dict()
        names = ("id", "time", "device", "confidence", "phrase", "scores")
        return {name: content[name] for name in names}

    def as_dict(self) -> dict[str, Any]:
        """The decision under its JSON names, with what issuing added; times are ISO 8601 in UTC."""
        content: dict[str, Any] = {
            "id": self.id,
            "time": utc(self.time),
            "device": self.device,
            "decision": self.outcome.value,
            "reason": self.reason.value,
            "confidence": self.confidence.value,
            "profile_id": self.profile_id,
            "name": self.name,
            "phrase": self.phrase,
            "scores": {name: round(value, 4) for name, value in self.scores.items()},
            "utterance_s": round(self.utterance_s, 2),
            "quality": self.quality.as_dict() if self.quality else None,
            "timings_ms": {name: round(value, 1) for name, value in self.timings_ms.items()},
            "lifetime_s": self.lifetime_s,
        }
        if self.counter is not None and self.issued_at is not None:
            content["counter"] = self.counter
            content["issued_at"] = utc(self.issued_at)
            content["expires_at"] = utc(self.time + self.lifetime_s)
        if self.signature is not None:
            content["signature"] = dict(self.signature)
        return content

    def to_json(self) -> str:
        """The decision as one line of JSON, every number as edge/crypto/canonical.py has it."""
        return one_line(self.as_dict())


class EventKind(str, enum.Enum):
    """What kind of thing happened: a closed set, safe to switch on."""

    STARTED = "started"
    STOPPED = "stopped"
    DECISION = "decision"
    COMMAND = "command"
    """A command that was carried out."""
    COMMAND_REFUSED = "command_refused"
    VERIFICATION = "verification"
    """A recording that was judged over HTTP: it opened nothing."""
    ENROLLMENT = "enrollment"
    CHANGE = "change"
    """A profile was renamed, reset, or its access rule changed."""
    DELETION = "deletion"
    EXPORT = "export"
    IMPORT = "import"
    LOCK_OUT = "lock_out"
    LOCK_OUT_OVER = "lock_out_over"
    DURESS = "duress"
    CLOCK = "clock"
    """The time became unknown, or known again."""
    ROLLBACK = "rollback"
    """A file of the device's state was removed, or replaced by an older copy."""
    KEYS = "keys"
    """A key was made, rotated or withdrawn."""
    RETENTION = "retention"
    """The trail's own: entries that were kept for long enough were removed."""
    UNWRITTEN = "unwritten"
    """The trail's own: so many events could not be written and are lost."""
    TAMPERING = "tampering"
    """The trail's own: entries that had been written were not there, or were altered."""


@dataclass(frozen=True)
class Event:
    """One entry of the audit trail.

    Attributes:
        detail: flat figures and words about it, by name; never a secret, an embedding or sound.
        profile_id: the person concerned; None for nobody.
        time: Unix time, seconds.
    """

    kind: EventKind
    detail: Mapping[str, Detail] = field(default_factory=dict)
    profile_id: str | None = None
    time: float = field(default_factory=time.time)


def utc(seconds: float) -> str:
    """A Unix time as ISO 8601 with milliseconds, such as `2026-03-01T12:00:00.000Z`."""
    stamp = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_us(microseconds: int) -> str:
    """As `utc`, of microseconds and exact. Raises `OverflowError` outside the years 1 to 9999."""
    stamp = _1970 + timedelta(microseconds=microseconds)
    return stamp.isoformat(timespec="microseconds").replace("+00:00", "Z")


def microseconds_of(text: str) -> int:
    """What `utc_us` was given. Raises `ValueError` for what it would not write."""
    if not text.endswith("Z"):
        raise ValueError("not in UTC")
    stamp = datetime.fromisoformat(f"{text[:-1]}+00:00")
    microseconds = (stamp - _1970) // timedelta(microseconds=1)
    if utc_us(microseconds) != text:
        raise ValueError("not in microseconds")
    return microseconds


def plain(value: Any) -> Any:
    """A value as JSON has it: whole floats as integers, None for infinite ones, lists, dicts."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def one_line(value: Mapping[str, Any], *, sort: bool = False) -> str:
    """An object as a line of JSON without spaces. Raises `TypeError` for what JSON cannot hold."""
    return json.dumps(
        plain(value), ensure_ascii=False, allow_nan=False, sort_keys=sort, separators=(",", ":")
    )

"""Recordings: an utterance that was heard before does not open a second time.

Remembered are the fingerprints (`edge.replay.fingerprint`) of utterances that somebody could
gain by playing again: in an enrolled voice, or of an enrolled phrase, whatever was decided on them.
What was refused is counted apart, so that nobody can crowd out what was accepted by talking.

A recording that was made elsewhere, of something that this device never heard, is not found; a
challenge is against that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from edge.access.decider import Judgment
from edge.access.guard import denied
from edge.config import ReplayConfig
from edge.errors import EdgeVoiceError, ProfileError
from edge.replay.fingerprint import Fingerprint, HeardFingerprint
from edge.replay.matching import Resemblance, most_alike
from edge.types import ReasonCode, Utterance

ACCEPTED, REFUSED = "heard", "heard-refused"
"""Kinds of the store's items; the second one is of what did not open."""
_MOST_WAITING = 64
"""What waits to be stored; more than can be said while the store is busy."""
_MOST_IN_ALL = 2000
"""Fingerprints that are compared with; of more the oldest are passed over."""
_DAY_S = 86400.0

_log = logging.getLogger(__name__)


class RememberedItem(Protocol):
    """What the store gives out: `edge.store.Kept`."""

    @property
    def id(self) -> int:
        """Grows from one to the next."""
        ...

    @property
    def profile_id(self) -> str | None:
        """Whose it is."""
        ...

    @property
    def created_at(self) -> float:
        """Unix time, seconds."""
        ...

    @property
    def payload(self) -> bytes:
        """What was kept."""
        ...


class Shelf(Protocol):
    """Where fingerprints outlive a restart: `edge.store.ProfileStore`."""

    def keep(
        self,
        kind: str,
        payload: bytes,
        *,
        profile: str | None = None,
        most: int | None = None,
    ) -> int:
        """Keep an item; the oldest ones beyond `most` make room."""
        ...

    def kept(self, kind: str, profile: str | None = None) -> Sequence[Any]:
        """What is kept of a kind, oldest first: `Item`s."""
        ...

    def discard(
        self, kind: str, profile: str | None = None, ids: Sequence[int] | None = None
    ) -> int:
        """Remove items."""
        ...


@dataclass(frozen=True, eq=False)
class _Remembered:
    """An utterance that was heard.

    Attributes:
        fingerprint: what is remembered of it.
        kind: `ACCEPTED` or `REFUSED`.
        owner: id of the profile that it is forgotten with; None when nobody's.
        heard_at: Unix time, seconds.
        sound: the utterance's place in the stream and on the clock; None from the store.
    """

    fingerprint: Fingerprint = field(repr=False)
    kind: str
    owner: str | None
    heard_at: float
    sound: tuple[float, float, float] | None = None


class ReplayCheck:
    """Denies what was heard before. `review` in one thread, everything else in another.

    Args:
        config: how much is remembered, and whether at all.
        clock: Unix time, seconds.
    """

    def __init__(self, config: ReplayConfig, clock: Callable[[], float] = time.time) -> None:
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._known: list[_Remembered] = []
        self._new: deque[_Remembered] = deque(maxlen=_MOST_WAITING)
        self._people: frozenset[str] | None = None

    @property
    def remembered(self) -> int:
        """How many utterances are remembered."""
        with self._lock:
            return len(self._known)

    def review(self, judgment: Judgment) -> Judgment:
        """What becomes of a judgment: itself, or one that denies.

        Judged are utterances in an enrolled voice or of an enrolled phrase; others open nothing.
        """
        finding = judgment.finding
        if not self._config.enabled or finding is None:
            return judgment
        voice, phrase = finding.voice.accepted, finding.phrase.accepted
        if not (voice or phrase):
            return judgment
        heard = HeardFingerprint(judgment.utterance.samples)
        if not heard.usable:
            # Too little speech to be judged at all; whoever lets less be judged is told.
            _log.debug("too little speech to know whether it was heard before")
            return judgment
        found = self._find(heard, judgment.utterance)
        if found is not None and found.suspected:
            _log.warning(
                "heard before (score %.2f, threshold %.2f, %.1f s compared)",
                found.score,
                found.threshold,
                found.overlap_s,
            )
            return denied(judgment, ReasonCode.REPLAY_SUSPECTED)
        self._remember(
            _Remembered(
                heard.fingerprint(),
                ACCEPTED if voice and phrase else REFUSED,
                finding.profile.id if voice else None,
                self._clock(),
                _sound(judgment.utterance),
            )
        )
        return judgment

    def use(self, profile_ids: Collection[str]) -> None:
        """Forget whoever is not among these; the store forgets them by itself."""
        people = frozenset(profile_ids)
        with self._lock:
            self._people = people
            self._known = [one for one in self._known if one.owner is None or one.owner in people]

    def load(self, shelf: Shelf) -> None:
        """Remember what was heard before a restart; what is damaged or too old is passed over.

        Raises:
            StoreError: the store cannot be read.
        """
        oldest = self._clock() - self._config.days * _DAY_S
        found: list[_Remembered] = []
        for kind in (ACCEPTED, REFUSED):
            stale: list[int] = []
            items: Sequence[RememberedItem] = shelf.kept(kind)
            for item in items:
                try:
                    fingerprint = Fingerprint.decoded(item.payload)
                except ValueError as error:
                    _log.warning("passed over: %s", error)
                    stale.append(item.id)
                    continue
                if item.created_at < oldest:
                    stale.append(item.id)
                    continue
                found.append(_Remembered(fingerprint, kind, item.profile_id, item.created_at))
            if stale:
                shelf.discard(kind, ids=stale)
        with self._lock:
            known = sorted([*found, *self._new], key=lambda one: one.heard_at)
            self._known = self._bounded(known)

    def store_new(self, shelf: Shelf) -> None:
        """Store what was heard since the last time; to be called every second or so.

        What cannot be stored now stays for the next time.

        Raises:
            StoreError: the store cannot be written.
        """
        while self._new:
            one = self._new[0]
            try:
                shelf.keep(
                    one.kind,
                    one.fingerprint.encoded(),
                    profile=one.owner,
                    most=self._config.remembered,
                )
            except ProfileError as error:  # who said it was deleted meanwhile
                _log.debug("not remembered: %s", error)
            # The worker may have pushed it out where the store was busy for long.
            with self._lock:
                if self._new and self._new[0] is one:
                    self._new.popleft()

    def _find(self, heard: HeardFingerprint, utterance: Utterance) -> Resemblance | None:
        oldest = self._clock() - self._config.days * _DAY_S
        sound = _sound(utterance)
        with self._lock:
            others = [
                one.fingerprint
                for one in self._known
                if one.heard_at >= oldest and not _same_sound(one.sound, sound)
            ]
        return most_alike(heard, others)

    def _remember(self, one: _Remembered) -> None:
        with self._lock:
            people = self._people
            if people is not None and one.owner is not None and one.owner not in people:
                return
            self._known = self._bounded([*self._known, one])
            self._new.append(one)

    def _bounded(self, known: Sequence[_Remembered]) -> list[_Remembered]:
        """The newest ones of each person and kind, and in all, oldest first."""
        counts: dict[tuple[str, str | None], int] = {}
        kept: list[_Remembered] = []
        for one in reversed(known):
            key = (one.kind, one.owner)
            counts[key] = counts.get(key, 0) + 1
            if counts[key] <= self._config.remembered and len(kept) < _MOST_IN_ALL:
                kept.append(one)
        return kept[::-1]


def remember_enrollment(
    shelf: Shelf, profile_id: str, utterances: Sequence[Utterance], config: ReplayConfig
) -> int:
    """Remember what was said to enroll, so that a recording of that does not open either.

    Returns:
        How many utterances are remembered; too short ones are not.

    Raises:
        StoreError: the store cannot be written.
        ProfileError: there is no such profile.
    """
    count = 0
    for utterance in utterances if config.enabled else ():
        heard = HeardFingerprint(utterance.samples)
        if heard.usable:
            payload = heard.fingerprint().encoded()
            shelf.keep(ACCEPTED, payload, profile=profile_id, most=config.remembered)
            count += 1
    return count


def load_quietly(check: ReplayCheck, shelf: Shelf) -> None:
    """As `ReplayCheck.load`, but a store that fails is a warning."""
    try:
        check.load(shelf)
    except EdgeVoiceError as error:
        _log.warning("recordings of what was said before this start are not known: %s", error)


def _sound(utterance: Utterance) -> tuple[float, float, float] | None:
    """Where in the stream an utterance is and when it was said; None of a recording."""
    if utterance.speech_ended_at <= 0.0:
        return None
    end_s = utterance.start_s + utterance.duration_s
    return utterance.start_s, end_s, utterance.speech_ended_at


def _same_sound(
    earlier: tuple[float, float, float] | None, sound: tuple[float, float, float] | None
) -> bool:
    """Whether two utterances are cut from the same stretch of the stream.

    A piece may be judged before the whole is. By the clock too, since the stream of a microphone
    that was lost and found may begin at zero again.
    """
    if earlier is None or sound is None:
        return False
    overlaps = earlier[0] < sound[1] and sound[0] < earlier[1]
    return overlaps and abs(earlier[2] - sound[2]) < sound[1] - sound[0] + earlier[1] - earlier[0]

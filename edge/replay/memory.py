"""The replay check: a recording of an earlier utterance does not open the door.

It remembers utterances in an enrolled voice or with an enrolled phrase, whatever was decided.
Denied ones are counted separately, so that nobody can displace accepted ones by talking.
Recordings made elsewhere are not recognized; the challenge protects against those.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from edge.access.checks import denied
from edge.access.decider import Judgment
from edge.config import ReplayConfig
from edge.errors import EdgeVoiceError, ProfileError, StoreError
from edge.replay.fingerprint import Fingerprint, UtterancePeaks
from edge.replay.matching import best_match
from edge.store import ProfileStore
from edge.store.ages import Ages
from edge.types import ReasonCode, Utterance

ACCEPTED, REFUSED = "heard", "heard-refused"
"""Kinds of items in the store; the second one is of utterances that were denied."""
_MAX_UNSAVED = 64
"""More than can be said while the store is busy."""
_AT_ONCE_S = 0.5
"""How far apart two microphones notice the end of the same speech."""
_MAX_TOTAL = 2000
"""Fingerprints compared with, the newest."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """Where in the stream of a door an utterance lies, seconds, and when it ended (monotonic)."""

    door: str | None
    start_s: float
    end_s: float
    ended_at: float


@dataclass(frozen=True, eq=False)
class _Entry:
    """A remembered utterance of a person (a profile's id) or of nobody; no place from the store."""

    fingerprint: Fingerprint
    kind: str
    owner: str | None
    place: _Place | None = None


class ReplayCheck:
    """Denies replays, at all doors what was heard at any; `review` is for any thread.

    Everything else belongs to one thread.

    Args:
        ages: of what is stored; without, nothing is too old.
    """

    def __init__(self, config: ReplayConfig, ages: Ages | None = None) -> None:
        self._config = config
        self._ages = ages
        self._lock = threading.Lock()
        # Replaced, never changed in place: to read it needs no lock.
        self._entries: list[_Entry] = []
        self._unsaved: deque[_Entry] = deque(maxlen=_MAX_UNSAVED)
        self._owners: frozenset[str | None] | None = None

    @property
    def remembered(self) -> int:
        """How many utterances are remembered."""
        return len(self._entries)

    def review(self, judgment: Judgment) -> Judgment:
        """Deny a replay; only an enrolled voice or phrase is checked, since others open nothing."""
        candidate = judgment.candidate
        if not self._config.enabled or candidate is None:
            return judgment
        voice, phrase = candidate.voice.accepted, candidate.phrase.accepted
        inside = not (judgment.published or judgment.locked_out)  # refused already
        if inside or not (voice or phrase):
            return judgment
        peaks = UtterancePeaks(judgment.utterance.samples)
        if not peaks.usable:
            # Less than is judged at all, unless min_net_speech_s is set very low.
            _log.debug("too little speech to check for a replay")
            return judgment
        place = _place_of(judgment.utterance, judgment.decision.device)
        match = best_match(peaks, self._fingerprints(place))
        if match is not None and match.suspected:
            if judgment.locked_out:  # neither the answer nor the log tells what was said
                return judgment
            _log.warning(
                "replay suspected (score %.2f, threshold %.2f, %.1f s compared)",
                match.score,
                match.threshold,
                match.overlap_s,
            )
            return denied(judgment, ReasonCode.REPLAY_SUSPECTED)
        kind = ACCEPTED if voice and phrase else REFUSED
        owner = candidate.profile.id if voice else None
        self._add(_Entry(peaks.fingerprint(), kind, owner, place))
        return judgment

    def use(self, profile_ids: Collection[str]) -> None:
        """Forget everybody else; the store does so by itself."""
        owners = frozenset([None, *profile_ids])
        with self._lock:
            self._owners = owners
            self._entries = self._newest(self._entries)

    def load(self, store: ProfileStore) -> None:
        """Load what the store has, and remove damaged and too old items. Raises `StoreError`."""
        items = [(item, kind) for kind in (ACCEPTED, REFUSED) for item in store.kept(kind)]
        items.sort(key=lambda each: each[0].id)
        expired = self._expired(items[-1][0].id) if items else 0
        found: list[_Entry] = []
        stale: dict[str, list[int]] = {ACCEPTED: [], REFUSED: []}
        for item, kind in items:
            fingerprint = None if item.id <= expired else _fingerprint(item.payload)
            if fingerprint is None:
                stale[kind].append(item.id)
            else:
                found.append(_Entry(fingerprint, kind, item.profile_id))
        with self._lock:
            self._entries = self._newest([*found, *self._unsaved])
        # Last: it may fail on a full disk.
        for kind, ids in stale.items():
            if ids:
                store.discard(kind, ids=ids)

    def _expired(self, newest: int) -> int:
        try:
            return 0 if self._ages is None else self._ages.expired(newest)
        except StoreError as error:
            _log.warning("nothing that was heard is forgotten for now: %s", error)
            return 0

    def store_new(self, store: ProfileStore) -> None:
        """Store what is new; what fails stays for the next call. Raises `StoreError`."""
        while self._unsaved:
            entry = self._unsaved[0]
            try:
                payload = entry.fingerprint.to_bytes()
                store.keep(entry.kind, payload, profile=entry.owner, most=self._config.remembered)
            except ProfileError as error:  # deleted in the meantime
                _log.debug("fingerprint not stored: %s", error)
            # `review` may have displaced it while the store was busy for long.
            with self._lock:
                if self._unsaved[0] is entry:
                    self._unsaved.popleft()

    def _fingerprints(self, place: _Place | None) -> list[Fingerprint]:
        """Those to compare an utterance with: not of the same sound."""
        return [entry.fingerprint for entry in self._entries if not _same_sound(entry.place, place)]

    def _add(self, entry: _Entry) -> None:
        with self._lock:
            if self._owners is None or entry.owner in self._owners:
                self._entries = self._newest([*self._entries, entry])
                self._unsaved.append(entry)

    def _newest(self, entries: Sequence[_Entry]) -> list[_Entry]:
        """The newest ones of each person who is enrolled and kind, and in total, oldest first."""
        counts: Counter[tuple[str, str | None]] = Counter()
        newest: list[_Entry] = []
        for entry in reversed(entries):
            if self._owners is not None and entry.owner not in self._owners:
                continue
            key = (entry.kind, entry.owner)
            counts[key] += 1
            if counts[key] <= self._config.remembered and len(newest) < _MAX_TOTAL:
                newest.append(entry)
        return newest[::-1]


def fingerprints_of(store: ProfileStore, profile_id: str) -> list[Fingerprint]:
    """What a profile was enrolled with, as far as it can be read. Raises `StoreError`."""
    found = []
    for item in store.kept(ACCEPTED, profile_id):
        with contextlib.suppress(ValueError):  # `load` removes what is damaged
            found.append(Fingerprint.from_bytes(item.payload))
    return found


def remember_enrollment(
    store: ProfileStore, profile_id: str, utterances: Iterable[Utterance], config: ReplayConfig
) -> None:
    """Remember an enrollment against replays. Raises `StoreError`, `ProfileError`."""
    for utterance in utterances if config.enabled else ():
        peaks = UtterancePeaks(utterance.samples)
        if peaks.usable:
            payload = peaks.fingerprint().to_bytes()
            store.keep(ACCEPTED, payload, profile=profile_id, most=config.remembered)


def load_quietly(check: ReplayCheck, store: ProfileStore) -> None:
    """As `ReplayCheck.load`, but a store that fails is a warning."""
    try:
        check.load(store)
    except EdgeVoiceError as error:
        _log.warning("cannot load the fingerprints of earlier utterances: %s", error)


def _fingerprint(payload: bytes) -> Fingerprint | None:
    """None of a damaged one."""
    try:
        return Fingerprint.from_bytes(payload)
    except ValueError as error:
        _log.warning("removing a stored fingerprint: %s", error)
        return None


def _place_of(utterance: Utterance, door: str | None) -> _Place | None:
    """None of a recording."""
    if utterance.speech_ended_at <= 0.0:
        return None
    start_s = utterance.start_s
    return _Place(door, start_s, start_s + utterance.duration_s, utterance.speech_ended_at)


def _same_sound(one: _Place | None, other: _Place | None) -> bool:
    """Whether two utterances are cut from the same part of the stream, as a piece and the whole.

    Times are compared too: the stream of a microphone that was unplugged may start at zero again.
    What two microphones hear at the same time is one sound too: a recording comes later.
    """
    if one is None or other is None:
        return False
    if one.door != other.door:
        return abs(one.ended_at - other.ended_at) < _AT_ONCE_S
    overlaps = one.start_s < other.end_s and other.start_s < one.end_s
    lengths = other.end_s - other.start_s + one.end_s - one.start_s
    return overlaps and abs(one.ended_at - other.ended_at) < lengths

"""Who is enrolled, in memory: read again after each change, and adapted to what is accepted."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from edge.access.decider import Judgment
from edge.config import Config, EnrollmentConfig
from edge.errors import EdgeVoiceError, KeyFault, ProfileError, StoreError
from edge.recognition import Engine
from edge.recognition.adaptation import Matches, reason_not_to_adapt
from edge.replay.memory import ReplayCheck, load_quietly
from edge.store import ProfileStore
from edge.types import EnrollmentSample, Profile
from edge.uptime import uptime

_PATIENCE = 4
"""Failed readings in a row after which nobody can open."""
_MOST_ADAPTATIONS = 8
"""Lessons waiting to be stored; more than can be said between two ticks."""
_RELOAD_S = 86400.0

_log = logging.getLogger(__name__)


Adaptation = tuple[Profile, EnrollmentSample]
"""A profile, as it was when an utterance was accepted, and the sample to add to it."""


def adaptation_from(
    judgment: Judgment, engine: Engine, config: EnrollmentConfig
) -> Adaptation | None:
    """What may be learned from an utterance; mostly None."""
    decision, candidate = judgment.decision, judgment.candidate
    if candidate is None or not decision.granted:
        return None
    analysis, profile = candidate.analysis, candidate.profile
    enrolled = replace(profile, samples=profile.enrolled)
    matches = Matches(candidate.voice, candidate.phrase)
    # Of a duress phrase the person's own enrollment has the voice as a whole alone.
    voice = analysis.whole if candidate.duress else analysis
    refusal = reason_not_to_adapt(
        profile,
        analysis,
        confidence=decision.confidence,
        matches=matches,
        to_enrolled=Matches(
            engine.match_speakers([enrolled], voice)[0],
            candidate.phrase if candidate.duress else engine.match_phrases([enrolled], analysis)[0],
        ),
        truncated=judgment.utterance.truncated,
        now=decision.time,
        interval_s=config.adapt_interval_s,
    )
    if refusal is not None:
        _log.debug("nothing learned for %s: %s", profile.name, refusal.value)
        return None
    if candidate.duress:
        # Neither phrase may become part of the other one's signature; but that nothing is learned
        # would show in the log, in the profile and in what is learned next. So it is once more what
        # was enrolled, of the same size as any other.
        again = replace(
            profile.enrolled[-1],
            created_at=decision.time,
            adapted=True,
            phrase_variants=(),
            stretches=(),
            voice_variants=(),
        )
        return profile, again
    sample = EnrollmentSample(
        speaker_embedding=analysis.speaker_embedding,
        phrase_embedding=analysis.phrase_embedding,
        net_speech_s=analysis.quality.net_speech_s,
        snr_db=analysis.quality.snr_db,
        created_at=decision.time,
        adapted=True,
    )
    return profile, sample


class ProfileCache:
    """The profiles of the store, kept in memory with their recordings.

    Args:
        tell: called with what keeps everybody out, and with None once nothing does any more.
        reread: reads the configuration file, which may name another key by now; None without one.

    Attributes:
        profiles: everybody; a new list after each change.
        adapts: whether profiles learn from what is accepted.
    """

    def __init__(
        self,
        store: ProfileStore,
        engine: Engine,
        config: EnrollmentConfig,
        replay: ReplayCheck,
        tell: Callable[[str | None], None],
        reread: Callable[[], Config] | None = None,
    ) -> None:
        self.profiles: list[Profile] = []
        self.adapts = config.adapt
        self._store = store
        self._engine = engine
        self._config = config
        self._replay = replay
        self._tell = tell
        self._reread = reread
        self._version: tuple[int, int] | None = None
        self._failing = 0
        self._loaded_at = 0.0
        self._adaptations: deque[Adaptation] = deque(maxlen=_MOST_ADAPTATIONS)

    @property
    def revision(self) -> int:
        """The store's revision when the profiles were last read; -1 before that."""
        return -1 if self._version is None else self._version[1]

    def refresh(self) -> None:
        """Read the profiles again if they have changed, also by the command line.

        While the store cannot be read nobody can open: it may be about to say who was deleted.
        """
        try:
            version = self._store.data_version()
            if version == self._version:
                self._recovered()
                if uptime() - self._loaded_at >= _RELOAD_S:
                    self._load_replays()  # without what is too old by now
                return
            profiles = self._store.list()
        except StoreError as error:
            # A writer on a slow card may hold the file for a second; that alone locks nobody out.
            self._failing += 1
            if self._failing == 1 and isinstance(error, KeyFault) and self._knows_another_key():
                self.refresh()
                return
            if self._failing == _PATIENCE:
                _log.error("nobody can open: %s", error)
                self._tell(str(error))
                self._use([], None)
            return
        self._recovered()
        if not profiles:
            _log.info("nobody is enrolled, so nobody can open: edge-voice enroll NAME")
        for profile in profiles:
            # A duress phrase must not show in the journal.
            if profile.duress_of is None and not self._engine.fits(profile):
                _log.warning(
                    "%s was enrolled with another model and is ignored: reset and enroll again",
                    profile.name,
                )
        self._use(profiles, version)

    def _knows_another_key(self) -> bool:
        """Look for the key where the configuration file says now, if it says anything else."""
        sources = self._store.key_sources
        before = sources.settings
        if self._reread is not None:
            try:
                sources.settings = self._reread().store
            except EdgeVoiceError as error:
                _log.warning("%s; the key is looked for where it was", error)
        return sources.settings != before

    def learn(self, judgment: Judgment) -> None:
        """Learn from an accepted utterance, where `adapts`; `store_adaptations` stores it."""
        adaptation = adaptation_from(judgment, self._engine, self._config)
        if adaptation is not None:
            self._adaptations.append(adaptation)

    def store_adaptations(self) -> None:
        """Store what was learned, which may take a second; what cannot be stored is dropped."""
        while self._adaptations:
            profile, sample = self._adaptations.popleft()
            most = self._config.adapt_samples
            try:
                profile = self._store.adapt(profile, sample, most=most)
            except (ProfileError, StoreError) as error:
                _log.info("nothing learned for %s: %s", profile.name, error)
                if isinstance(error, StoreError):
                    return  # not to wait for the same writer twice in a row
            else:
                learned = len(profile.adapted)
                _log.info(
                    "%s: learned from %d of at most %d utterances", profile.name, learned, most
                )

    def store_recordings(self) -> None:
        """Store the fingerprints of what was said; a busy store is tried again next time."""
        try:
            self._replay.store_new(self._store)
        except StoreError as error:
            _log.debug("fingerprints are not stored yet: %s", error)

    def _use(self, profiles: list[Profile], version: tuple[int, int] | None) -> None:
        self.profiles, self._version = profiles, version
        self._replay.use([profile.id for profile in profiles])
        self._load_replays()  # also of enrollments at the command line

    def _load_replays(self) -> None:
        self._loaded_at = uptime()
        load_quietly(self._replay, self._store)

    def _recovered(self) -> None:
        if self._failing >= _PATIENCE:
            self._tell(None)
        self._failing = 0

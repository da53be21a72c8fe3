"""Who is enrolled, as the daemon knows it: reread when it changes, and added to when it learns."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from edge.access.decider import Judgment
from edge.access.learning import Lesson, lesson_from
from edge.config import EnrollmentConfig
from edge.errors import ProfileError, StoreError
from edge.recognition import Engine
from edge.store import ProfileStore
from edge.types import Profile

_PATIENCE = 4
"""Readings in a row that may fail before nobody can open."""
_MOST_LESSONS = 8
"""What was learned and waits to be stored; more than can be said between two ticks."""

_log = logging.getLogger(__name__)


class ProfileCache:
    """The profiles of the store, kept in memory.

    Args:
        store: where they are.
        engine: the recognizer, to tell which of them it can use.
        config: whether and how often something is learned.
        problem: told what is wrong with the store, and None when it is right again.

    Attributes:
        profiles: everybody; another list whenever anything changed.
    """

    def __init__(
        self,
        store: ProfileStore,
        engine: Engine,
        config: EnrollmentConfig,
        problem: Callable[[str | None], None],
    ) -> None:
        self.profiles: list[Profile] = []
        self._store = store
        self._engine = engine
        self._config = config
        self._problem = problem
        self._version: object = None
        self._failing = 0
        self._lessons: deque[Lesson] = deque(maxlen=_MOST_LESSONS)

    def refresh(self) -> None:
        """Notice what the command line has enrolled or deleted meanwhile.

        While the store cannot be read, nobody can open: it may be about to say who was deleted.
        """
        try:
            version = self._store.data_version()
            if version == self._version:
                self._recovered()
                return
            profiles = self._store.list()
        except StoreError as error:
            # A writer on a slow card may hold the file for a second; that is no reason to shut up.
            self._failing += 1
            if self._failing == _PATIENCE:
                _log.error("nobody can open: %s", error)
                self._problem(str(error))
                self.profiles, self._version = [], None
            return
        self._recovered()
        if not profiles:
            _log.info("nobody is enrolled, so nobody can open: edge-voice enroll NAME")
        for profile in profiles:
            # A duress phrase must not show in the journal.
            if profile.duress_of is None and not self._engine.fits(profile):
                _log.warning(
                    "%s was enrolled with another model and is passed over: reset and enroll again",
                    profile.name,
                )
        self.profiles, self._version = profiles, version

    def learn(self, judgment: Judgment) -> None:
        """Take from an accepted utterance what may be learned; `store_lessons` stores it."""
        if self._config.adapt:
            lesson = lesson_from(judgment, self._engine, self._config)
            if lesson is not None:
                self._lessons.append(lesson)

    def store_lessons(self) -> None:
        """Store what was learned, which may take a second.

        What cannot be stored now is skipped: there will be another lesson.
        """
        while self._lessons:
            lesson = self._lessons.popleft()
            most = self._config.adapt_samples
            try:
                profile = self._store.adapt(lesson.profile, lesson.sample, most=most)
            except ProfileError as error:
                _log.info("nothing learned for %s: %s", lesson.profile.name, error)
            except StoreError as error:
                _log.info("nothing learned for %s: %s", lesson.profile.name, error)
                return  # not to wait for the same writer twice in a row
            else:
                learned = len(profile.adapted)
                _log.info(
                    "%s: learned from %d of at most %d utterances", profile.name, learned, most
                )

    def _recovered(self) -> None:
        if self._failing >= _PATIENCE:
            self._problem(None)
        self._failing = 0

"""Watches the files of the device's state, and says what is wrong with them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from edge.errors import StoreError
from edge.store.audit import AuditTrail
from edge.store.continuity import Continuity
from edge.store.device_state import DeviceState
from edge.types import Event, EventKind

_log = logging.getLogger(__name__)


class StateFiles:
    """Notes in the audit trail which files are older than they were; for the main thread."""

    def __init__(self, continuity: Continuity, state: DeviceState, trail: AuditTrail) -> None:
        self._continuity = continuity
        self._state = state
        self._trail = trail
        self._older: set[str] = set()

    @property
    def problem(self) -> str | None:
        """What is wrong, for the status; None where all is well."""
        found = [
            f"{name} was removed, or an older copy put in its place: see edge-voice audit show"
            for name in sorted(self._older | self._trail.older)
        ]
        if self._state.problem is not None:
            found.append(self._state.problem)
        return "; ".join(found) or None

    def begin(self) -> None:
        """Look at a start."""
        self._look(self._continuity.begin)

    def tick(self, revision: int) -> None:
        """Look again: the store is of this revision by now, -1 where that is unknown."""
        self._look(lambda: self._continuity.follow(revision))
        self._state.try_again()

    def _look(self, look: Callable[[], Sequence[str]]) -> None:
        try:
            found = look()
        except StoreError as error:
            _log.debug("the state's files are not compared: %s", error)
            return
        for name in found:
            _log.error("%s was removed, or an older copy of it put in its place", name)
            self._trail.record(Event(EventKind.ROLLBACK, {"file": name}))
        self._older.update(found)

"""Notices a state file that was removed, or that an older copy has replaced.

Each start is numbered, in the signature store and in the device's state: where one of them has not
heard of the latest start, it is older than the other. The device's state also knows the latest
revision of the store. The audit trail is watched by its own chain and anchor. What this does not
see: all files replaced by copies of one moment.
"""

from __future__ import annotations

import logging

from edge.errors import StoreError
from edge.store.device_state import FILE_NAME as STATE_FILE
from edge.store.device_state import DeviceState
from edge.store.profiles import ProfileStore

_STARTS = "starts"
_REVISION = "store.revision"

_log = logging.getLogger(__name__)


class Continuity:
    """Compares what the files of one device know of each other; for one thread."""

    def __init__(self, store: ProfileStore, state: DeviceState) -> None:
        self._store = store
        self._state = state
        self._revision = -1

    def begin(self) -> list[str]:
        """Number a start; the names of the files that are older than others. Raises `StoreError`.

        Where the number cannot be written, nothing is noticed at the next start.
        """
        found = []
        known, stored = _number(self._state.get(_STARTS)), self._stored()
        revision = self._store.data_version()[1]
        # It is written to the store first: that may be one start ahead after a power cut.
        if stored > known + 1:
            found.append(STATE_FILE)
        elif stored < known or self._is_behind(revision):
            found.append(self._store.path.name)
        number = known + 1 if stored in (known, known + 1) else max(known, stored) + 1
        try:
            self._store.keep(_STARTS, b"%d" % number, most=1)
            self._state.put(_STARTS, str(number))
            self._note(revision)
        except StoreError as error:
            _log.warning("this start is not numbered: %s", error)
        return found

    def follow(self, revision: int) -> list[str]:
        """As `begin`, while the service runs: the store is now of this revision, -1 if unknown."""
        if revision in (self._revision, -1):
            return []
        found = [self._store.path.name] if self._is_behind(revision) else []
        self._note(revision)
        return found

    def _stored(self) -> int:
        kept = self._store.kept(_STARTS)
        return _number(kept[-1].payload.decode("ascii", "replace")) if kept else 0

    def _is_behind(self, revision: int) -> bool:
        return revision < _number(self._state.get(_REVISION))

    def _note(self, revision: int) -> None:
        self._revision = revision
        self._state.put(_REVISION, str(revision))


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 15 else 0

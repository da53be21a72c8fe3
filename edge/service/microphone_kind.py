"""Warns of people who were enrolled with another kind of microphone than the door's."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from edge.errors import StoreError
from edge.store.device_state import DeviceState, microphone_kind_key
from edge.types import Profile
from edge.types.microphone import is_another

_log = logging.getLogger(__name__)


class MicrophoneKind:
    """Looks at the people of one microphone; for the main thread.

    Its kind is kept in the `state` for the doctor: that cannot open a microphone which the service
    has.

    Args:
        door: where it is; None for the main one.
    """

    def __init__(self, state: DeviceState, door: str | None = None) -> None:
        self._state = state
        self._key = microphone_kind_key(door)
        self._kind = ""
        self._seen: Sequence[Profile] = ()
        self._warned: set[str] = set()

    def tick(self, kind: str, profiles: Sequence[Profile]) -> None:
        """Log one warning a person, when the kind is known or either has changed."""
        if not kind or (kind == self._kind and profiles is self._seen):
            return
        if kind != self._kind:
            self._warned = set()
            with contextlib.suppress(StoreError):  # the state itself reports it
                self._state.put(self._key, kind)
        self._kind, self._seen = kind, profiles
        for profile in profiles:
            # A duress phrase must not show in the journal.
            if profile.duress_of is None and is_another(profile.microphones, kind):
                if profile.id not in self._warned:
                    _log.warning(
                        "%s was enrolled with another microphone (%s) than this one (%s): if %s is"
                        " turned away, enroll once more here with --more, or again with --again",
                        profile.name,
                        ", ".join(profile.microphones),
                        kind,
                        profile.name,
                    )
                self._warned.add(profile.id)
            else:
                self._warned.discard(profile.id)

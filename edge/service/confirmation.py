"""Enrollments over MQTT that wait for the owner's confirmation, and how long each may.

Whoever speaks first after a command is enrolled. So nothing opens until the owner, who has asked
that person, confirms it; or until the same voice has enrolled once more on another occasion. What
nobody confirms is removed. Waiting is counted while the machine runs, by no clock that can be set.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from edge.errors import StoreError
from edge.service.context import ServiceContext
from edge.store.ages import running_s
from edge.store.device_state import DeviceState
from edge.types import Profile, ProfileStatus
from edge.types.decision import utc
from edge.uptime import boot_id, uptime

EXPIRES_S = 7 * 86400.0
"""What nobody has confirmed by then is removed."""
APART_S = 3600.0
"""A second session is another occasion from then on."""
_NOTED = "unconfirmed"
_EVERY_S = 600.0
_MOST_SHOWN = 10
_LATEST = 4e9
"""A time that an imported profile may be beyond, and a date cannot."""

_log = logging.getLogger(__name__)


class Unconfirmed:
    """Who waits to be confirmed; for the main thread.

    Args:
        clock: as `uptime`.
        boot: differs between two starts of the machine; empty if unknown.
    """

    def __init__(
        self,
        context: ServiceContext,
        state: DeviceState,
        *,
        clock: Callable[[], float] = uptime,
        boot: str | None = None,
    ) -> None:
        self._context = context
        self._state = state
        self._clock = clock
        self._boot = boot_id() if boot is None else boot
        self._seen: list[Profile] | None = None
        self._due_s = 0.0

    @property
    def waiting(self) -> list[Profile]:
        """Those who wait, in the order of the profiles."""
        everybody = self._context.profiles.profiles
        return [each for each in everybody if each.status is ProfileStatus.UNCONFIRMED]

    def age_s(self, profile: Profile) -> float:
        """How long somebody has waited. Raises `StoreError`."""
        return self._ages().get(profile.id, 0.0)

    def expired(self) -> list[Profile]:
        """Those who have waited too long; to be called often, it is mostly none."""
        profiles, now_s = self._context.profiles, self._clock()
        if profiles.profiles is self._seen and now_s < self._due_s:
            return []
        if profiles.revision < 0:  # it could not be read; whoever waits still does
            return []
        self._seen, self._due_s = profiles.profiles, now_s + _EVERY_S
        ages: dict[str, float] = {}
        try:
            ages = self._ages()
        except StoreError as error:
            _log.warning("how long enrollments have waited is not known: %s", error)
        waiting = self.waiting
        shown = [shown_of(each) for each in waiting[:_MOST_SHOWN]]
        self._context.publisher.set_status(unconfirmed=shown or None)
        return [each for each in waiting if ages.get(each.id, 0.0) >= EXPIRES_S]

    def _ages(self) -> dict[str, float]:
        """Seconds that each has waited, by id; noted, for the next time."""
        noted, waiting = self._noted(), self.waiting
        if not noted and not waiting:
            return {}
        now_s = running_s(self._state, self._clock(), self._boot)
        notes: dict[str, list[float]] = {}
        for profile in waiting:
            enrolled_at, since_s = noted.get(profile.id, (0.0, 0.0))
            latest = profile.enrolled[-1].created_at
            # Of another enrollment, or from a file that was put back, it says nothing.
            if enrolled_at != latest or not since_s <= now_s:
                since_s = now_s
            notes[profile.id] = [latest, since_s]
        if notes != noted:
            text = json.dumps(notes, separators=(",", ":")) if notes else None
            self._state.put(_NOTED, text)
        return {profile_id: now_s - since_s for profile_id, (_, since_s) in notes.items()}

    def _noted(self) -> dict[str, list[float]]:
        try:
            noted = json.loads(self._state.get(_NOTED) or "{}")
            return {
                str(profile_id): [float(latest), float(since_s)]
                for profile_id, (latest, since_s) in noted.items()
            }
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            return {}


def shown_of(profile: Profile) -> dict[str, Any]:
    """What the owner has to know to confirm an enrollment: who, when, how many repetitions."""
    return {
        "profile_id": profile.id,
        "person": profile.name,
        "done": len(profile.enrolled),
        "enrolled_at": utc(min(max(0.0, profile.enrolled[-1].created_at), _LATEST)),
    }

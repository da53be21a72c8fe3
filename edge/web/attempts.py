"""Verifications over HTTP are limited as attempts at the door are, by a lock-out of their own.

Without that the server would be an oracle: whoever has a key could try voices until one is
accepted, and play that one at the door. The door's own lock-out counts here too; none here locks
the door.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from edge.access.lockout import STATE_KEY as DOOR_KEY
from edge.access.lockout import LockOut, read_record
from edge.config import LockOutConfig
from edge.store.device_state import DeviceState
from edge.types import Event, ReasonCode
from edge.uptime import boot_id
from edge.web.refusal import Refused

STATE_KEY = "http.lockout"
LIFT_KEY = f"{STATE_KEY}.lift"


class Attempts:
    """Counts rejected attempts, and refuses all after too many; for any thread."""

    def __init__(
        self,
        config: LockOutConfig,
        state: DeviceState,
        record: Callable[[Event], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        boot: str | None = None,
    ) -> None:
        self._config = config
        self._state = state
        self._clock = clock
        self._boot = boot_id() if boot is None else boot
        # Nobody talks past this microphone: what is sent here is an attempt, whatever is in it.
        counted = replace(config, count_wrong_phrase=True, count_no_match=True)
        self.lockout = LockOut(
            counted,
            state,
            record=record,
            changed=lambda _: None,
            clock=clock,
            boot=self._boot,
            key=STATE_KEY,
        )

    def require(self) -> None:
        """Raise `Refused` (429) during a lock-out; to be called before anything is judged."""
        left_s = max(self.lockout.left_s, self._door_left_s())
        if left_s > 0.0:
            raise Refused(
                429,
                "LockedOut",
                f"locked out after too many rejections: wait {math.ceil(left_s)} s",
                left_s,
            )

    def judged(self, reason: ReasonCode, *, by_phrase: bool) -> None:
        """Count an attempt, unless it was accepted, or its recording could not be used.

        Args:
            by_phrase: whether a phrase was compared; of a voice alone, which opens no door, a
                rejection does not use up the budget of days.
        """
        if reason is ReasonCode.UNKNOWN_SPEAKER and not by_phrase:
            reason = ReasonCode.NO_MATCH
        self.lockout.rejected(reason)

    def tick(self) -> None:
        """To be called about every second."""
        self.lockout.tick()

    def close(self) -> None:
        """Store what is left."""
        self.lockout.close()

    def _door_left_s(self) -> float:
        if not self._config.enabled:
            return 0.0
        try:
            return read_record(self._state.get(DOOR_KEY), self._clock(), self._boot).left_s
        except ValueError:
            return self._config.first_s  # as the door itself takes it

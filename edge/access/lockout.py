"""After too many rejections nobody is let in for a while, longer each time.

All of it is counted in time that the device was running, by the clock that nobody can set: after a
power cut a lock-out goes on with what was left of it when that was last written down, a minute
before at most, and rejections are as recent as they were. So neither cutting the power nor a wrong
clock makes it shorter, and it never lasts longer than it was meant to while the power is on. Over a
restart of the service alone the time goes on.

Whoever can make themselves heard at the door can lock it for those who live there: that is the
price of slowing a guesser down. It is bounded (`lockout.longest_s`), what is said while nobody is
let in does not prolong it, and the household can end it by a command.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge.access.clock import ClockState
from edge.access.decider import Judgment
from edge.access.guard import denied
from edge.config import LockOutConfig
from edge.errors import StoreError
from edge.types import Confidence, Detail, Event, EventKind, ReasonCode

STATE_KEY = "lockout"
LIFT_KEY = "lockout.lift"
_WRITE_LOCKED_S = 60.0
_WRITE_QUIET_S = 3600.0
_MAX_ROUND = 1_000_000
_MAX_SECONDS = 1e8
_ALWAYS_COUNT = {ReasonCode.REPLAY_SUSPECTED, ReasonCode.CHALLENGE_FAILED}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LockOutRecord:
    """What is to be known of the past, in seconds before now.

    Attributes:
        round: how many lock-outs there were since it was last quiet.
        left_s: how much of the present one is left; 0 when there is none.
        ages_s: how long ago each rejection was that still counts, oldest first.
        quiet_s: how long there was neither a rejection that counts nor a lock-out.
    """

    round: int = 0
    left_s: float = 0.0
    ages_s: tuple[float, ...] = ()
    quiet_s: float = 0.0

    def later(self, seconds: float) -> LockOutRecord:
        """What it is after some time, in which nothing happened."""
        quiet_s = self.quiet_s + max(0.0, seconds - self.left_s)
        ages_s = tuple(age + seconds for age in self.ages_s)
        return LockOutRecord(self.round, max(0.0, self.left_s - seconds), ages_s, quiet_s)


class LockOut:
    """The rejections at one door and what follows from them. Any thread may use it.

    Args:
        config: how many it takes, and for how long.
        state: where it is kept over restarts and power cuts.
        record: told of every lock-out and its end, for the audit trail.
        changed: told of the state to be published, `as_dict`, whenever it changes.
        clock: seconds that go on by one every second whatever happens, as `time.monotonic`.
        boot: what differs between two starts of the machine; empty when that is not known.
    """

    def __init__(
        self,
        config: LockOutConfig,
        state: ClockState,
        *,
        record: Callable[[Event], None],
        changed: Callable[[dict[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
        boot: str | None = None,
    ) -> None:
        self._config = config
        self._state = state
        self._tell = record
        self._changed = changed
        self._clock = clock
        self._boot = boot_id() if boot is None else boot
        self._lock = threading.RLock()
        self._at = self._written_at = clock()
        self._known = self._begin()
        self._writes = True
        self._unwritten = False
        self._was_locked = self.locked

    @property
    def locked(self) -> bool:
        """Whether nobody is let in."""
        return self.left_s > 0.0

    @property
    def left_s(self) -> float:
        """For how much longer nobody is let in, seconds; 0 when somebody may be."""
        with self._lock:
            return self._now().left_s if self._config.enabled else 0.0

    @property
    def round(self) -> int:
        """How many lock-outs there were since it was last quiet, the present one included."""
        with self._lock:
            return self._now().round

    def as_dict(self) -> dict[str, Any]:
        """What is published; `locked_out_until` is ISO 8601 in UTC, by the device's clock."""
        left_s = self.left_s
        until = datetime.fromtimestamp(time.time() + left_s, tz=timezone.utc)
        stamp = until.isoformat(timespec="seconds").replace("+00:00", "Z")
        return {
            "locked_out": left_s > 0.0,
            "locked_out_until": stamp if left_s > 0.0 else None,
            "lock_out_round": self.round,
        }

    def rejected(self, reason: ReasonCode) -> None:
        """Count a rejection, if it is of a kind that counts and nobody is locked out yet."""
        config = self._config
        if not config.enabled or not self._counts(reason):
            return
        with self._lock:
            now = self._now()
            if now.left_s > 0.0:
                return
            recent = tuple(age for age in now.ages_s if age < config.within_s)
            ages_s = (*recent, 0.0)[-config.rejections :]
            if len(ages_s) < config.rejections:
                self._set(replace(now, ages_s=ages_s, quiet_s=0.0))
                self._write()
                return
        self.begin(f"{config.rejections} rejections, the last one {reason.value}")

    def begin(self, by: str) -> bool:
        """Lock out from now on, for as long as the next round lasts.

        Args:
            by: who or what brought it about, for the audit trail.

        Returns:
            Whether it began; not where `lockout.enabled` is off.
        """
        if not self._config.enabled:
            return False
        with self._lock:
            number = min(self._now().round + 1, _MAX_ROUND)
            now = LockOutRecord(number, duration_s(self._config, number))
            self._was_locked = True
            self._set(now)
            self._write()
        _log.warning("nobody is let in for %.0f s, by %s (round %d)", now.left_s, by, now.round)
        detail: dict[str, Detail] = {"round": now.round, "seconds": now.left_s, "by": by}
        self._tell(Event(EventKind.LOCK_OUT, detail))
        self._changed(self.as_dict())
        return True

    def accepted(self) -> None:
        """Somebody was let in: earlier slips are forgiven, the rounds are not.

        Written down by the next `tick`, since the door is waiting.
        """
        with self._lock:
            now = self._now()
            if now.ages_s:
                self._set(replace(now, ages_s=()))
                self._unwritten = True

    def lift(self, by: str) -> bool:
        """End the lock-out and forget the rejections and rounds before it.

        Args:
            by: who does it, for the audit trail.

        Returns:
            Whether there was a lock-out.
        """
        with self._lock:
            was_locked = self.locked
            self._set(LockOutRecord())
            self._write()
        if was_locked:
            self._over(by)
        return was_locked

    def tick(self) -> None:
        """Notice the end, and what the command line asks for; to be called every second or so."""
        with self._lock:
            locked = self.locked
            over = self._was_locked and not locked
            wait_s = _WRITE_LOCKED_S if locked else _WRITE_QUIET_S
            if over or self._unwritten or self._clock() - self._written_at >= wait_s:
                self._write()
        if over:
            self._over("time")
        try:
            by = self._state.get(LIFT_KEY)
            if by is not None:
                self._state.put(LIFT_KEY, None)
                self.lift(by[:64])
        except StoreError as error:
            _log.debug("whether the lock-out is to be lifted cannot be read: %s", error)

    def close(self) -> None:
        """Write down what is left, before the service stops."""
        with self._lock:
            self._write()

    def _counts(self, reason: ReasonCode) -> bool:
        config = self._config
        return (
            reason in _ALWAYS_COUNT
            or (reason is ReasonCode.WRONG_PHRASE and config.count_wrong_phrase)
            or (reason is ReasonCode.UNKNOWN_SPEAKER and config.count_unknown_speaker)
            or (reason is ReasonCode.NO_MATCH and config.count_no_match)
        )

    def _over(self, by: str) -> None:
        self._was_locked = False
        _log.warning("people are let in again, by %s", by)
        self._tell(Event(EventKind.LOCK_OUT_OVER, {"by": by, "round": self.round}))
        self._changed(self.as_dict())

    def _now(self) -> LockOutRecord:
        known = self._known.later(max(0.0, self._clock() - self._at))
        return replace(known, round=0) if known.quiet_s >= self._config.forget_s else known

    def _set(self, record: LockOutRecord) -> None:
        self._known, self._at = record, self._clock()

    def _write(self) -> None:
        now = self._now()
        kept = replace(now, ages_s=tuple(a for a in now.ages_s if a < self._config.within_s))
        try:
            text = write_record(kept, self._clock(), self._boot) if _matters(kept) else None
            if text is not None or self._state.get(STATE_KEY) is not None:
                self._state.put(STATE_KEY, text)
        except StoreError as error:
            self._unwritten = True
            if self._writes:
                _log.warning("rejections are not kept over a restart: %s", error)
            self._writes = False
        else:
            self._unwritten, self._writes = False, True
        self._written_at = self._clock()

    def _begin(self) -> LockOutRecord:
        try:
            found = read_record(self._state.get(STATE_KEY), self._clock(), self._boot)
        except (StoreError, ValueError) as error:
            # Whoever can damage the file must not get rid of a lock-out that way.
            _log.warning("begun with a lock-out, since the last one cannot be read: %s", error)
            return LockOutRecord(1, duration_s(self._config, 1))
        # The longest may have been shortened in the configuration meanwhile.
        return replace(found, left_s=min(found.left_s, self._config.longest_s))


class LockOutGate:
    """The first check: while nobody is let in, everything said is denied and tells nothing.

    What was recognized is left out of such a decision: a guesser would learn from it.
    """

    def __init__(self, lockout: LockOut) -> None:
        self._lockout = lockout

    def review(self, judgment: Judgment) -> Judgment:
        """What becomes of a judgment: itself, or one that denies."""
        if not self._lockout.locked:
            return judgment
        shut = denied(judgment, ReasonCode.LOCKED_OUT)
        decision = replace(
            shut.decision,
            confidence=Confidence.HIGH,
            profile_id=None,
            name=None,
            phrase=None,
            scores={},
        )
        return replace(shut, decision=decision)


class LockOutCount:
    """The last check: counts what the others made of a judgment, and changes nothing."""

    def __init__(self, lockout: LockOut) -> None:
        self._lockout = lockout

    def review(self, judgment: Judgment) -> Judgment:
        """The judgment itself."""
        if judgment.decision.granted:
            self._lockout.accepted()
        else:
            self._lockout.rejected(judgment.decision.reason)
        return judgment


def duration_s(config: LockOutConfig, number: int) -> float:
    """How long the lock-out of a round lasts, seconds; the first is round 1."""
    grown = config.first_s * config.growth ** min(number - 1, 64)
    return min(config.longest_s, grown)


def boot_id() -> str:
    """What differs between two starts of this machine; empty when the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def write_record(record: LockOutRecord, clock_s: float, boot: str) -> str:
    """A record as one line of JSON, with the running clock by which it was true."""
    content = {
        "boot": boot,
        "clock_s": clock_s,
        "round": record.round,
        "left_s": record.left_s,
        "ages_s": record.ages_s,
        "quiet_s": record.quiet_s,
    }
    return json.dumps(content, separators=(",", ":"))


def read_record(text: str | None, clock_s: float, boot: str) -> LockOutRecord:
    """A record as `write_record` wrote it, brought up to now if the machine ran on meanwhile.

    Raises:
        ValueError: it is no such text.
    """
    if text is None:
        return LockOutRecord()
    try:
        found = json.loads(text)
        ages_s = tuple(_seconds(age) for age in found["ages_s"])[-100:]
        left_s, quiet_s = _seconds(found["left_s"]), _seconds(found["quiet_s"])
        number, written_s = int(_seconds(found["round"])), float(found["clock_s"])
        written_boot = found["boot"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"damaged record ({error})") from None
    record = LockOutRecord(min(number, _MAX_ROUND), left_s, ages_s, quiet_s)
    if boot and written_boot == boot and clock_s > written_s:
        return record.later(clock_s - written_s)
    return record


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("a figure that is none")  # noqa: TRY004 (damage, whatever it is)
    if not 0.0 <= value <= _MAX_SECONDS:  # nan neither
        raise ValueError("a figure out of range")
    return float(value)


def _matters(record: LockOutRecord) -> bool:
    return bool(record.round or record.left_s or record.ages_s)

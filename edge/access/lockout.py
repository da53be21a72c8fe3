"""The lock-out: after too many rejections the door stays shut for a while, longer each time.

Two counts cause it. One is of rejections in a short time. The other is a budget of attempts with an
enrolled phrase, a recording or wrong digits, which fills up again evenly over days: whoever spreads
attempts is stopped by that. A grant takes back the latest rejections of the same voice, so that
residents who have to say it twice do not use up the budget, and nobody else's.

It counts time with the power on, by the monotonic clock: after a power cut it goes on with what was
left when that was last stored, at most a minute before. So neither a power cut nor a wrong clock
makes it shorter, and it never takes longer than meant while the power is on. A restart of the
service alone does not stop the time.

A stranger at the door can lock out the residents: the price of slowing down a guesser. It is
bounded (`lockout.longest_s`), attempts during a lock-out do not prolong it, and a command ends it.
"""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from edge.access.checks import denied
from edge.access.decider import Judgment
from edge.config import Config, LockOutConfig
from edge.errors import StoreError
from edge.recognition.scoring import cosine
from edge.store.device_state import DeviceState
from edge.types import Confidence, Detail, Event, EventKind, FloatArray, ReasonCode, Utterance
from edge.types.decision import utc
from edge.uptime import boot_id

STATE_KEY = "lockout"
LIFT_KEY = f"{STATE_KEY}.lift"
_WRITE_LOCKED_S = 60.0
_WRITE_QUIET_S = 3600.0
_MAX_SECONDS = 1e8
_ROUNDING_S = 1e-3
_ROUNDING = 1e-6
"""Of the attempts that the budget has borne."""
_BUDGETED = (
    ReasonCode.UNKNOWN_SPEAKER,
    ReasonCode.REPLAY_SUSPECTED,
    ReasonCode.CHALLENGE_FAILED,
)
"""Not other talk, where that counts at all: residents would use up the budget by conversation."""
_OWN_SLIPS = (ReasonCode.UNKNOWN_SPEAKER, ReasonCode.WRONG_PHRASE, ReasonCode.NO_MATCH)
"""What a grant to the same voice takes back. Not a recording: its voice is that of a resident."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LockOutRecord:
    """The state of a lock-out, relative to now.

    Attributes:
        round: lock-outs since it was last quiet for long enough.
        left_s: what is left of the present one; 0 when there is none.
        ages_s: the ages of the rejections that count, oldest first.
        quiet_s: how long there was neither such a rejection nor a lock-out.
        debt_s: how long until the budget is whole again.
    """

    round: int = 0
    left_s: float = 0.0
    ages_s: tuple[float, ...] = ()
    quiet_s: float = 0.0
    debt_s: float = 0.0

    def later(self, seconds: float) -> LockOutRecord:
        """The state after some time without rejections."""
        quiet_s = self.quiet_s + max(0.0, seconds - self.left_s)
        ages_s = tuple(age + seconds for age in self.ages_s)
        left_s, debt_s = max(0.0, self.left_s - seconds), max(0.0, self.debt_s - seconds)
        return LockOutRecord(self.round, left_s, ages_s, quiet_s, debt_s)


@dataclass(frozen=True, eq=False)
class _Slip:
    """A rejection that a grant to the same voice takes back, with its share of the budget."""

    at: float
    voice: FloatArray
    cost_s: float


class LockOut:
    """Counts rejections and locks out; for any thread.

    Args:
        record: puts each lock-out and its end into the audit trail; must not wait.
        changed: publishes `as_dict` whenever it changes; must not wait.
        clock: as `time.monotonic`.
        boot: differs between two starts of the machine; empty if unknown.
        same_voice: cosine from which two utterances within minutes are of one voice.
        key: what it is kept under; a request to lift it, under the same with `.lift`.
    """

    def __init__(
        self,
        config: LockOutConfig,
        state: DeviceState,
        *,
        record: Callable[[Event], None],
        changed: Callable[[dict[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
        boot: str | None = None,
        same_voice: float = 0.5,
        key: str = STATE_KEY,
    ) -> None:
        self._config = config
        self._state = state
        self._record = record
        self._changed = changed
        self._clock = clock
        self._boot = boot_id() if boot is None else boot
        self._same_voice = same_voice
        self._key = key
        door = key.partition("/")[2]
        self._where = f"{door}: " if door else ""
        self._slips: list[_Slip] = []
        self._lock = threading.RLock()
        self._written_at = clock()
        self._known = self._begin(self._written_at), self._written_at
        self._writes = True
        self._unwritten = False
        self._was_locked = self.locked

    @property
    def locked(self) -> bool:
        """Whether nobody can open."""
        return self.left_s > 0.0

    @property
    def left_s(self) -> float:
        """How long it still lasts, seconds; 0 without a lock-out."""
        return self._now().left_s if self._config.enabled else 0.0

    @property
    def round(self) -> int:
        """Lock-outs since it was last quiet, the present one included."""
        return self._now().round

    def as_dict(self) -> dict[str, Any]:
        """What is published; `locked_out_until` is ISO 8601 in UTC, by the device's clock."""
        left_s = self.left_s
        return {
            "locked_out": left_s > 0.0,
            "locked_out_until": utc(round(time.time() + left_s)) if left_s > 0.0 else None,
            "lock_out_round": self.round,
        }

    def rejected(self, reason: ReasonCode, voice: FloatArray | None = None) -> None:
        """Count a rejection, unless its reason does not count or there is a lock-out already.

        `voice` is the embedding of who spoke, shape (e,), kept in memory for minutes.
        """
        config = self._config
        if not config.enabled or not self._counts(reason):
            return
        with self._lock:
            clock_s = self._clock()
            now = self._now(clock_s)
            if now.left_s > 0.0:
                return
            cost_s = self._cost_s if reason in _BUDGETED else 0.0
            debt_s = now.debt_s + cost_s
            if voice is not None and reason in _OWN_SLIPS:
                self._slips = [*self._recent_slips(), _Slip(clock_s, voice, cost_s)]
            recent = tuple(age for age in now.ages_s if age < config.within_s)
            ages_s = (*recent, 0.0)
            whole_s = config.budget_s + _ROUNDING_S
            counted = replace(now, ages_s=ages_s, quiet_s=0.0, debt_s=min(debt_s, whole_s))
            self._set(counted, clock_s)
            if len(ages_s) >= config.rejections:
                self.begin(f"{config.rejections} rejections, the last one {reason.value}")
            elif cost_s and debt_s > whole_s:
                self.begin(f"the budget of {config.budget} is used up, by {reason.value} at last")
            else:
                self._write()

    def begin(self, by: str) -> bool:
        """Begin the next round now; False if `lockout.enabled` is off."""
        if not self._config.enabled:
            return False
        with self._lock:
            clock_s = self._clock()
            before = self._now(clock_s)
            number = before.round + 1
            length_s = duration_s(self._config, number)
            now = LockOutRecord(number, length_s, debt_s=before.debt_s)
            self._was_locked = True
            self._set(now, clock_s)
            self._write()
            _log.warning(
                "%slocked out for %.0f s: %s (round %d)", self._where, now.left_s, by, now.round
            )
            detail: dict[str, Detail] = {"round": now.round, "lasts_s": now.left_s, "by": by}
            self._record(Event(EventKind.LOCK_OUT, detail))
            self._changed(self.as_dict())
        return True

    def granted(self, voice: FloatArray) -> None:
        """Take back the latest rejections of a voice that was let in; the rounds stay.

        The next `tick` stores it: the door is waiting.
        """
        with self._lock:
            recent = self._recent_slips()
            own = [slip for slip in recent if cosine(slip.voice, voice) >= self._same_voice]
            self._slips = [slip for slip in recent if slip not in own]
            if own:
                clock_s = self._clock()
                now = self._now(clock_s)
                ages_s = now.ages_s[: max(0, len(now.ages_s) - len(own))]
                debt_s = max(0.0, now.debt_s - sum(slip.cost_s for slip in own))
                self._set(replace(now, ages_s=ages_s, debt_s=debt_s), clock_s)
                self._unwritten = True

    def lift(self, by: str) -> bool:
        """End the lock-out and forget all rejections and rounds; False if there was none."""
        with self._lock:
            was_locked = self.locked
            self._slips = []
            self._set(LockOutRecord(), self._clock())
            self._write()
            if was_locked:
                self._over(by)
        return was_locked

    def tick(self) -> None:
        """Notice the end, and a request of the command line; to be called about every second."""
        with self._lock:
            locked = self.locked
            over = self._was_locked and not locked
            wait_s = _WRITE_LOCKED_S if locked else _WRITE_QUIET_S
            if over or self._unwritten or self._clock() - self._written_at >= wait_s:
                self._write()
            if over:
                self._over("time")
        try:
            by = self._state.get(f"{self._key}.lift")
            if by is not None:
                self._state.put(f"{self._key}.lift", None)
                self.lift(by[:64])
        except StoreError as error:
            _log.debug("a request to lift the lock-out cannot be read: %s", error)

    def close(self) -> None:
        """Store what is left, before the service stops."""
        with self._lock:
            self._write()

    def _counts(self, reason: ReasonCode) -> bool:
        return {
            ReasonCode.REPLAY_SUSPECTED: True,
            ReasonCode.CHALLENGE_FAILED: True,
            ReasonCode.WRONG_PHRASE: self._config.count_wrong_phrase,
            ReasonCode.UNKNOWN_SPEAKER: self._config.count_unknown_speaker,
            ReasonCode.NO_MATCH: self._config.count_no_match,
        }.get(reason, False)

    @property
    def _cost_s(self) -> float:
        return self._config.budget_s / self._config.budget

    def _recent_slips(self) -> list[_Slip]:
        since = self._clock() - self._config.within_s
        return [slip for slip in self._slips if slip.at > since]

    def _over(self, by: str) -> None:
        self._was_locked = False
        ended = "expired" if by == "time" else f"lifted by {by}"
        _log.warning("%slock-out %s", self._where, ended)
        self._record(Event(EventKind.LOCK_OUT_OVER, {"by": by, "round": self.round}))
        self._changed(self.as_dict())

    def _now(self, clock_s: float | None = None) -> LockOutRecord:
        record, at = self._known  # one tuple, so that who reads it needs no lock
        known = record.later((self._clock() if clock_s is None else clock_s) - at)
        return replace(known, round=0) if known.quiet_s >= self._config.forget_s else known

    def _set(self, record: LockOutRecord, clock_s: float) -> None:
        self._known = record, clock_s

    def _write(self) -> None:
        # Once: what is true at one moment must not be stored as true at a later one.
        clock_s = self._clock()
        now = self._now(clock_s)
        kept = replace(now, ages_s=tuple(a for a in now.ages_s if a < self._config.within_s))
        try:
            matters = bool(kept.round or kept.left_s or kept.ages_s or kept.debt_s)
            text = write_record(kept, clock_s, self._boot) if matters else None
            if text is not None or self._state.get(self._key) is not None:
                self._state.put(self._key, text)
        except StoreError as error:
            self._unwritten = True
            if self._writes:
                _log.warning("the lock-out cannot be stored, a restart would end it: %s", error)
            self._writes = False
        else:
            self._unwritten, self._writes = False, True
        self._written_at = clock_s

    def _begin(self, clock_s: float) -> LockOutRecord:
        try:
            found = read_record(self._state.get(self._key), clock_s, self._boot)
        except (StoreError, ValueError) as error:
            # Damaging the file must not end a lock-out.
            _log.warning("locked out, since the stored lock-out cannot be read: %s", error)
            return LockOutRecord(1, duration_s(self._config, 1))
        # They may have been shortened in the configuration meanwhile.
        left_s = min(found.left_s, self._config.longest_s)
        return replace(found, left_s=left_s, debt_s=min(found.debt_s, self._config.budget_s))


class LockOutGate:
    """Denies everything during a lock-out, with nothing in it that depends on what was said."""

    def __init__(self, lockout: LockOut) -> None:
        self._lockout = lockout

    def review(self, judgment: Judgment) -> Judgment:
        """The judgment, or a denial of it."""
        if not (self._lockout.locked or judgment.locked_out):
            return judgment
        shut = denied(judgment, ReasonCode.LOCKED_OUT, named=False)
        decision = replace(
            shut.decision,
            confidence=Confidence.HIGH,
            utterance_s=0.0,
            quality=None,
            timings_ms={},
        )
        return replace(shut, decision=decision)


class LockOutCount:
    """Counts what the other checks have decided, and changes nothing."""

    def __init__(self, lockout: LockOut) -> None:
        self._lockout = lockout
        self._counted: Utterance | None = None

    def review(self, judgment: Judgment) -> Judgment:
        """The judgment itself."""
        candidate, decision = judgment.candidate, judgment.decision
        voice = candidate.analysis.speaker_embedding if candidate is not None else None
        if decision.granted:
            if voice is not None:
                self._lockout.granted(voice)
        elif not self._counted_before(judgment):
            self._lockout.rejected(decision.reason, voice)
        return judgment

    def _counted_before(self, judgment: Judgment) -> bool:
        """Whether it is, or holds, the phrase inside running speech that was counted last."""
        said, before = judgment.utterance, self._counted
        if before is not None and said.shares(before):
            return True
        if not judgment.published:
            self._counted = said
        return False


def lockout_key(door: str | None = None) -> str:
    """What the lock-out of a door is kept under; None for the main one."""
    return STATE_KEY if door is None else f"{STATE_KEY}/{door}"


def lockout_keys(config: Config) -> list[str]:
    """What the lock-outs of all doors are kept under, the main one's first."""
    return [lockout_key(), *map(lockout_key, config.microphones)]


def duration_s(config: LockOutConfig, number: int) -> float:
    """How long a round lasts, seconds; the first is round 1."""
    grown = config.first_s * config.growth ** min(number - 1, 64)
    return min(config.longest_s, grown)


def write_record(record: LockOutRecord, clock_s: float, boot: str) -> str:
    """A record as one line of JSON, with the clock at which it was true."""
    content = {"boot": boot, "clock_s": clock_s, **asdict(record)}
    return json.dumps(content, separators=(",", ":"))


def read_record(text: str | None, clock_s: float, boot: str) -> LockOutRecord:
    """A record as `write_record` wrote it, brought up to now if the machine kept running.

    Raises:
        ValueError: it is damaged.
    """
    if text is None:
        return LockOutRecord()
    try:
        found = json.loads(text)
        ages_s = tuple(_seconds(age) for age in found["ages_s"])
        left_s, quiet_s = _seconds(found["left_s"]), _seconds(found["quiet_s"])
        debt_s = _seconds(found.get("debt_s", 0.0))  # older versions had no budget
        number, written_s = int(_seconds(found["round"])), float(found["clock_s"])
        written_boot = found["boot"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"damaged record ({error})") from None
    record = LockOutRecord(number, left_s, ages_s, quiet_s, debt_s)
    if boot and written_boot == boot:
        return record.later(max(0.0, clock_s - written_s))
    return record


def stored_record(state: DeviceState, key: str = STATE_KEY) -> LockOutRecord:
    """The lock-out of the door, or another one, as another process sees it.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return read_record(state.get(key), time.monotonic(), boot_id())
    except ValueError as error:
        raise StoreError(
            f"{state.path}: the lock-out record is damaged ({error}): reset it with 'edge-voice"
            " lockout lift'"
        ) from None


def as_shown(record: LockOutRecord, config: LockOutConfig) -> dict[str, Any]:
    """What a record means under these settings; `budget_used` is in attempts."""
    recent = [age for age in record.ages_s if age < config.within_s]
    locked = config.enabled and record.left_s > 0.0
    return {
        "locked_out": locked,
        "left_s": round(record.left_s, 1) if locked else 0.0,
        "round": record.round if record.quiet_s < config.forget_s else 0,
        "rejections": len(recent),
        "budget_used": math.ceil(record.debt_s * config.budget / config.budget_s - _ROUNDING),
    }


def request_lift(state: DeviceState, by: str, key: str = STATE_KEY) -> None:
    """Have the running service end a lock-out, within a second; `by` says who asked."""
    state.put(key, None)
    state.put(f"{key}.lift", by[:64])


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("not a number")  # noqa: TRY004 (damage, whatever it is)
    if not 0.0 <= value <= _MAX_SECONDS:  # nan neither
        raise ValueError("a number out of range")
    return float(value)

"""Commands waiting to be carried out, their answers, and the log of refused messages."""

from __future__ import annotations

import collections
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from edge.config import CommandsConfig
from edge.crypto.command_keys import Role, read_command_keys
from edge.errors import EdgeVoiceError, ProfileError, StoreError
from edge.mqtt.commands import (
    CHOOSE,
    COMMANDS,
    FILTERS,
    Command,
    CommandRefused,
    read_command,
    read_unsigned,
)
from edge.mqtt.link import Incoming
from edge.types import Detail, Event, EventKind
from edge.types.decision import utc

if TYPE_CHECKING:
    from edge.store.device_state import DeviceState

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
"""Carries a command out, given its arguments; its result is the `detail` of the answer."""

_Item = TypeVar("_Item")
_MOST_WAITING = 32
_MOST_AT_ONCE = 8
_MOST_ANSWERS = 8

_log = logging.getLogger(__name__)


class RateLimit:
    """A number at once, then a number a second; not thread-safe."""

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._left = burst
        self._at = time.monotonic()

    def allows(self) -> bool:
        """Whether one more is allowed now; if so it is counted."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class FloodLog:
    """Audit entries of what others send, also when thousands arrive a second; thread-safe.

    `burst` at once, and as many again in a day, have an entry of their own. The rest is counted by
    reason every `summary_s` seconds. So a flood of half a year leaves the trail's other entries
    where they are: whoever wants to be rid of them would send one.
    """

    def __init__(
        self,
        kind: EventKind = EventKind.COMMAND_REFUSED,
        *,
        burst: int = 120,
        per_s: float = 120 / 86400.0,
        summary_s: float = 3600.0,
    ) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._limit = RateLimit(burst, per_s)
        self._summary_s = summary_s
        self._single: list[Event] = []
        self._most = 4 * burst
        self._counts: collections.Counter[str] = collections.Counter()
        self._since, self._begun = time.time(), time.monotonic()

    def add(self, reason: str, detail: Mapping[str, Detail], profile_id: str | None = None) -> bool:
        """Add a message; returns whether it has an entry of its own."""
        with self._lock:
            if len(self._single) < self._most and self._limit.allows():
                content = {"reason": reason, **detail}
                self._single.append(Event(self._kind, content, profile_id))
                return True
            if not self._counts:
                self._since, self._begun = time.time(), time.monotonic()
            self._counts[reason] += 1
            return False

    def due(self, *, final: bool = False) -> list[Event]:
        """The entries to be made now; `final` also closes the counts that have just begun."""
        with self._lock:
            events, self._single = self._single, []
            over = time.monotonic() - self._begun >= self._summary_s
            if self._counts and (over or final):
                detail: dict[str, Detail] = {
                    "reason": "flood",
                    "messages": sum(self._counts.values()),
                    "since": utc(self._since),
                }
                detail.update(
                    (f"messages_{reason}", count) for reason, count in sorted(self._counts.items())
                )
                events.append(Event(self._kind, detail))
                self._counts.clear()
            return events


class CommandFailed(Exception):
    """A command could not be carried out: one word for the answer, and what to do about it."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message


class CommandQueue:
    """Receives commands in the publisher's thread, carries them out in that of `work`.

    `handlers` are by command; one without is answered `unsupported`, `ping` needs none. `record`
    writes an audit entry, from `work` and `close` only; `answer` publishes, from `work` only; by
    `now`, Unix time, a command is fresh; None for the clock's. Once `stopping`, nothing more is
    carried out.

    Raises:
        ConfigError: the file of keys cannot be used.
        StoreError: the counters cannot be read.
    """

    filters = FILTERS
    """For `MqttPublisher.listen`, together with `receive`."""

    def __init__(
        self,
        config: CommandsConfig,
        device_id: str,
        state: DeviceState,
        handlers: Mapping[str, Handler],
        *,
        record: Callable[[Event], None],
        answer: Callable[[Mapping[str, Any]], None] | None = None,
        refusals: FloodLog | None = None,
        stopping: Callable[[], bool] = lambda: False,
        now: Callable[[], float] | None = None,
    ) -> None:
        unknown = set(handlers) - {*COMMANDS, CHOOSE}
        if unknown:
            raise ValueError(f"no such command: {', '.join(sorted(unknown))}")
        self._config = config
        self._device_id = device_id
        self._state = state
        self._handlers: dict[str, Handler] = {"ping": lambda _: None, **handlers}
        self._record = record
        self._answer = answer
        self._stopping = stopping
        self._now = now or time.time
        self._keys = read_command_keys(config.keys_file)
        self._highest = {key_id: self._stored_counter(key_id) for key_id in self._keys}
        self._waiting: queue.Queue[tuple[Command, Incoming]] = queue.Queue(_MOST_WAITING)
        self._answers: queue.Queue[Mapping[str, Any]] = queue.Queue(_MOST_ANSWERS)
        self._refusals = refusals or FloodLog()
        self._done = FloodLog(EventKind.COMMAND)
        self._answered = RateLimit(burst=120, per_s=2.0)
        self._unsigned = RateLimit(burst=10, per_s=0.5)
        self._lock = threading.Lock()

    def receive(self, message: Incoming) -> None:
        """Check a message and queue its command; quick, and raises nothing, whatever it is."""
        try:
            self._accept(message)
        except CommandRefused as refused:
            self._refuse(refused, message.suffix, len(message.payload))

    def work(self) -> int:
        """Carry out waiting commands and record refusals; returns how many commands were done."""
        self._write_all([*self._refusals.due(), *self._done.due()])
        done = 0
        while done < _MOST_AT_ONCE and not self._stopping():
            commands = _drain(self._waiting, 1)
            if not commands:
                break
            self._perform(commands[0][0])
            done += 1
        for answer in _drain(self._answers, _MOST_ANSWERS):
            if self._answered.allows():
                self._send_answer(answer)
        return done

    def take_back(self) -> list[Incoming]:
        """The messages of commands that wait, for a service that carries them out instead."""
        return [message for _, message in _drain(self._waiting, _MOST_WAITING)]

    def close(self) -> None:
        """Record every refusal; commands that still wait are refused."""
        for command, _ in _drain(self._waiting, _MOST_WAITING):
            self._refuse(_refusal("busy", command), "command", 0)
        self._write_all([*self._refusals.due(final=True), *self._done.due(final=True)])

    def _accept(self, message: Incoming) -> None:
        if message.suffix.startswith("set/"):
            command = read_unsigned(message, self._config.unsigned)
            if not self._unsigned.allows():
                raise CommandRefused("too_many", command=command.name)
        elif message.suffix == "command":
            command = read_command(
                message,
                self._keys,
                device_id=self._device_id,
                now=self._now(),
                allowance_s=self._config.clock_allowance_s,
            )
        else:
            raise CommandRefused("unknown_command")
        with self._lock:
            self._queue(command, message)

    def _queue(self, command: Command, message: Incoming) -> None:
        if command.key_id is not None and command.counter <= self._highest[command.key_id]:
            raise _refusal("repeated", command)
        try:
            self._waiting.put_nowait((command, message))
        except queue.Full:
            raise _refusal("busy", command) from None
        if command.key_id is not None:
            self._highest[command.key_id] = command.counter

    def _perform(self, command: Command) -> None:
        if command.key_id is not None:
            try:
                # On the disk before it is carried out: a power cut may prevent it, never repeat it.
                # Another door of this device may have stored a higher one.
                self._state.change(
                    _counter_name(command.key_id),
                    lambda stored: str(max(command.counter, _number(stored, command.key_id))),
                )
            except StoreError as error:
                _log.warning("command %s was not carried out: %s", command.name, error)
                self._refuse(_refusal("not_stored", command), "command", 0)
                return
        reason, detail = self._carry_out(command)
        ok = reason == "done"
        _log.info(
            "command %s from %s: %s", command.name, command.key_id or "an unsigned message", reason
        )
        content: dict[str, Detail] = {
            "command": command.name,
            "ok": ok,
            "reason": reason,
            "key_id": command.key_id,
            "role": command.role.value if command.role else "unsigned",
            "counter": command.counter,
        }
        # No arguments: a person's name must not outlive them, and a phrase is private.
        profile_id = (detail or {}).get("profile_id")
        if command.role is Role.OWNER:
            self._write(Event(EventKind.COMMAND, content, profile_id))
        else:  # whose key, or none, must not displace what happened
            self._done.add(command.name, content, profile_id)
            self._write_all(self._done.due())
        if command.id:
            answer = {"id": command.id, "command": command.name, "ok": ok, "reason": reason}
            self._send_answer({**answer, "detail": dict(detail)} if detail else answer)

    def _carry_out(self, command: Command) -> tuple[str, Mapping[str, Any] | None]:
        handler = self._handlers.get(command.name)
        if handler is None:
            return "unsupported", None
        try:
            return "done", handler(command.arguments)
        except CommandFailed as failure:
            return failure.reason, {"message": failure.message} if failure.message else None
        except ProfileError as error:
            _log.info("command %s: %s", command.name, error)
            # Not the error's own text: it names the nearest profiles, also a duress phrase.
            return "no_such_person", {"message": "nobody has that name or id; see the command list"}
        except EdgeVoiceError as error:
            _log.warning("command %s failed: %s", command.name, error)
            return "failed", None
        except Exception:  # noqa: BLE001 (a command must not end the service)
            _log.exception("command %s failed", command.name)
            return "failed", None

    def _refuse(self, refused: CommandRefused, suffix: str, size: int) -> None:
        detail: dict[str, Detail] = {
            "command": refused.command,
            "key_id": refused.key_id,
            "topic": suffix[:64],
            "bytes": size,
        }
        self._refusals.add(refused.reason, detail)
        if refused.id:
            answer = {"id": refused.id, "ok": False, "reason": refused.reason}
            try:
                self._answers.put_nowait(answer)
            except queue.Full:
                _log.debug("a refused command is not answered: too many are waiting")

    def _send_answer(self, answer: Mapping[str, Any]) -> None:
        if self._answer is None:
            return
        try:
            self._answer(answer)
        except Exception as error:  # noqa: BLE001 (the command is done already)
            _log.warning("the answer to a command could not be sent: %s", error)

    def _write_all(self, events: Sequence[Event]) -> None:
        for event in events:
            self._write(event)

    def _write(self, event: Event) -> None:
        try:
            self._record(event)
        except EdgeVoiceError as error:
            _log.error("a command is missing from the audit trail: %s", error)

    def _stored_counter(self, key_id: str) -> int:
        return _number(self._state.get(_counter_name(key_id)), key_id)


def _number(text: str | None, key_id: str | None) -> int:
    text = text or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise StoreError(f"the counter of command key {key_id} is damaged: restore a backup")
    return int(text)


def _drain(waiting: queue.Queue[_Item], most: int) -> list[_Item]:
    """Up to `most` items of a queue, without waiting."""
    items: list[_Item] = []
    with contextlib.suppress(queue.Empty):
        while len(items) < most:
            items.append(waiting.get_nowait())
    return items


def _counter_name(key_id: str) -> str:
    return f"command/{key_id}"


def _refusal(reason: str, command: Command) -> CommandRefused:
    return CommandRefused(reason, id=command.id, key_id=command.key_id, command=command.name)

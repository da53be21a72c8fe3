"""Refused messages on their way into the audit trail, also when there are thousands a second.

Each refusal is accounted for. Up to two a second, and a hundred and twenty at once, have an entry
of their own; what comes faster is counted by reason, and the counts have one entry a minute. A
trail that took an entry for each message of a flood would push out everything else.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from edge.config import CommandsConfig
from edge.crypto.command_keys import read_command_keys
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


class Allowance:
    """So many at once, so many a second; not safe for several threads."""

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._left = burst
        self._at = time.monotonic()

    def take(self) -> bool:
        """Whether there is still one; it is taken."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Refusals:
    """Collects in one thread, hands out in another.

    Args:
        burst: entries of their own at once.
        per_s: entries of their own in the long run, a second.
        summary_s: how often the counts of the others are handed out, seconds.
    """

    def __init__(self, *, burst: int = 120, per_s: float = 2.0, summary_s: float = 60.0) -> None:
        self._lock = threading.Lock()
        self._allowance = Allowance(burst, per_s)
        self._summary_s = summary_s
        self._single: list[Event] = []
        self._most = 4 * burst
        self._counts: collections.Counter[str] = collections.Counter()
        self._since = 0.0
        self._begun = 0.0

    def add(self, reason: str, detail: Mapping[str, Detail]) -> bool:
        """Take one in; returns whether it has an entry of its own."""
        with self._lock:
            if len(self._single) < self._most and self._allowance.take():
                content = {"reason": reason, **detail}
                self._single.append(Event(EventKind.COMMAND_REFUSED, content))
                return True
            if not self._counts:
                self._since, self._begun = time.time(), time.monotonic()
            self._counts[reason] += 1
            return False

    def due(self, *, all_of_them: bool = False) -> list[Event]:
        """The entries to be made now; `all_of_them` also makes one of what is being counted."""
        with self._lock:
            events, self._single = self._single, []
            over = time.monotonic() - self._begun >= self._summary_s
            if self._counts and (over or all_of_them):
                detail: dict[str, Detail] = {
                    "reason": "flood",
                    "messages": sum(self._counts.values()),
                    "since": round(self._since, 3),
                }
                detail.update(
                    (f"messages_{reason}", count) for reason, count in sorted(self._counts.items())
                )
                events.append(Event(EventKind.COMMAND_REFUSED, detail))
                self._counts.clear()
            return events


Handler = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]
"""Carries a command out, given its arguments; what it returns is in the answer, as `detail`."""

_Item = TypeVar("_Item")
_MOST_WAITING = 32
_MOST_AT_ONCE = 8
_MOST_ANSWERS = 8

_log = logging.getLogger(__name__)


class Memory(Protocol):
    """Where the counters are kept; `edge.store.device_state.DeviceState` is one."""

    def get(self, name: str) -> str | None:
        """The text of that name."""
        ...

    def put(self, name: str, text: str | None) -> None:
        """Keep a text; it is on the disk when this returns."""
        ...


class CommandFailed(Exception):
    """A handler could not do it.

    Attributes:
        reason: why, one word for the answer.
        message: what to do about it, for people, in the answer's detail; empty for nothing.
    """

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message


class CommandQueue:
    """Takes commands in and has them carried out.

    Args:
        config: who may command.
        device_id: the device that commands must name.
        memory: keeps the highest counter of each key over a restart.
        handlers: who carries out what, by the command's name. A command without one is answered
            `unsupported`; `ping` needs none.
        record: takes the entries of the audit trail; called by `work` and `close` only.
        answer: publishes an answer; called by `work` only.
        refusals: collects what is refused.

    Raises:
        ConfigError: the file of keys cannot be used.
        StoreError: the counters cannot be read.
    """

    filters = FILTERS
    """For `MqttPublisher.listen`, beside `take`."""

    def __init__(
        self,
        config: CommandsConfig,
        device_id: str,
        memory: Memory,
        handlers: Mapping[str, Handler],
        *,
        record: Callable[[Event], None],
        answer: Callable[[Mapping[str, Any]], None] | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        unknown = set(handlers) - {*COMMANDS, CHOOSE}
        if unknown:
            raise ValueError(f"no such command: {', '.join(sorted(unknown))}")
        self._config = config
        self._device_id = device_id
        self._memory = memory
        self._handlers: dict[str, Handler] = {"ping": lambda _: None, **handlers}
        self._record = record
        self._answer = answer
        self._keys = read_command_keys(config.keys_file)
        self._highest = {key_id: self._recall(key_id) for key_id in self._keys}
        self._waiting: queue.Queue[Command] = queue.Queue(_MOST_WAITING)
        self._answers: queue.Queue[Mapping[str, Any]] = queue.Queue(_MOST_ANSWERS)
        self._refusals = refusals or Refusals()
        self._unsigned = Allowance(burst=10, per_s=0.5)
        self._lock = threading.Lock()

    def take(self, message: Incoming) -> None:
        """Look at a message that came in; quick, whatever it is, and raises nothing for it."""
        try:
            self._accept(message)
        except CommandRefused as refused:
            self._refuse(refused, message.suffix, len(message.payload))

    def work(self) -> int:
        """Carry out some of what waits, and bring refusals to the audit trail.

        Returns:
            How many commands were carried out or have failed.
        """
        for event in self._refusals.due():
            self._note(event)
        commands = _taken(self._waiting, _MOST_AT_ONCE)
        for command in commands:
            self._perform(command)
        for answer in _taken(self._answers, _MOST_ANSWERS):
            self._say(answer)
        return len(commands)

    def close(self) -> None:
        """Bring every refusal to the audit trail; commands that still wait are refused."""
        for command in _taken(self._waiting, _MOST_WAITING):
            self._refuse(_refusal("busy", command), "command", 0)
        for event in self._refusals.due(all_of_them=True):
            self._note(event)

    def _accept(self, message: Incoming) -> None:
        if message.suffix.startswith("set/"):
            command = read_unsigned(message, self._config.unsigned)
            if not self._unsigned.take():
                raise CommandRefused("too_many", command=command.name)
        elif message.suffix == "command":
            command = read_command(
                message,
                self._keys,
                device_id=self._device_id,
                now=time.time(),
                allowance_s=self._config.clock_allowance_s,
            )
        else:
            raise CommandRefused("unknown_command")
        with self._lock:
            self._queue(command)

    def _queue(self, command: Command) -> None:
        if command.key_id is not None and command.counter <= self._highest[command.key_id]:
            raise _refusal("repeated", command)
        try:
            self._waiting.put_nowait(command)
        except queue.Full:
            raise _refusal("busy", command) from None
        if command.key_id is not None:
            self._highest[command.key_id] = command.counter

    def _perform(self, command: Command) -> None:
        if command.key_id is not None:
            try:
                # On the disk before it is done: after a power cut it may be undone, never done
                # twice.
                self._memory.put(_place(command.key_id), str(command.counter))
            except StoreError as error:
                _log.warning("command %s was not carried out: %s", command.name, error)
                self._refuse(_refusal("not_stored", command), "command", 0)
                return
        reason, detail = self._carry_out(command)
        ok = reason == "done"
        _log.info(
            "command %s of %s: %s", command.name, command.key_id or "nobody (unsigned)", reason
        )
        content: dict[str, Detail] = {
            "command": command.name,
            "ok": ok,
            "reason": reason,
            "key_id": command.key_id,
            "role": command.role.value if command.role else "unsigned",
            "counter": command.counter,
        }
        # No argument: a person may be named by name, which is not to outlive them, and the id
        # tells enough; a phrase is nobody's business.
        self._note(Event(EventKind.COMMAND, content, (detail or {}).get("profile_id")))
        if command.id:
            answer = {"id": command.id, "command": command.name, "ok": ok, "reason": reason}
            self._say({**answer, "detail": dict(detail)} if detail else answer)

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
            # Not the error's own words: they name the nearest profiles, also a duress phrase.
            return "no_such_person", {"message": "nobody has that name or id: see list"}
        except EdgeVoiceError as error:
            _log.warning("command %s failed: %s", command.name, error)
            return "failed", None
        except Exception:  # noqa: BLE001 (a command must not end the daemon)
            _log.exception("command %s failed", command.name)
            return "failed", None

    def _refuse(self, refused: CommandRefused, suffix: str, size: int) -> None:
        detail: dict[str, Detail] = {
            "command": refused.command,
            "key_id": refused.key_id,
            "topic": suffix[:64],
            "bytes": size,
        }
        noticed = self._refusals.add(refused.reason, detail)
        if noticed and refused.id:
            answer = {"id": refused.id, "ok": False, "reason": refused.reason}
            try:
                self._answers.put_nowait(answer)
            except queue.Full:
                _log.debug("no answer to a refused command: too many wait")

    def _say(self, answer: Mapping[str, Any]) -> None:
        if self._answer is None:
            return
        try:
            self._answer(answer)
        except Exception as error:  # noqa: BLE001 (whatever it is, the command is done)
            _log.warning("the answer to a command could not be sent: %s", error)

    def _note(self, event: Event) -> None:
        try:
            self._record(event)
        except EdgeVoiceError as error:
            _log.error("a command is missing in the audit trail: %s", error)

    def _recall(self, key_id: str) -> int:
        text = self._memory.get(_place(key_id)) or "0"
        if not (text.isascii() and text.isdigit() and len(text) <= 16):
            raise StoreError(f"the counter of command key {key_id} is damaged: restore a backup")
        return int(text)


def _taken(waiting: queue.Queue[_Item], most: int) -> list[_Item]:
    """What a queue holds, its first `most` items at most."""
    items: list[_Item] = []
    with contextlib.suppress(queue.Empty):
        while len(items) < most:
            items.append(waiting.get_nowait())
    return items


def _place(key_id: str) -> str:
    return f"command/{key_id}"


def _refusal(reason: str, command: Command) -> CommandRefused:
    return CommandRefused(reason, id=command.id, key_id=command.key_id, command=command.name)

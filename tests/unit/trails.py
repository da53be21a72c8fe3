"""Audit trails, a clock of their own, and what happens in the midst of writing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.config import AuditConfig
from edge.store.audit import AuditTrail
from edge.store.audit_chain import Head
from edge.store.device_state import DeviceState
from edge.types import Detail, Event, EventKind

KEY = bytes(range(32))
NOON = float(int(time.time()) - 10_000)
"""Some while ago, but not long enough for retention."""


class Clock:
    """Stands for the module `time`; the trail is at `NOON`, until somebody moves the hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOON
        self.up = 100.0
        monkeypatch.setattr("edge.store.audit.time", self)
        monkeypatch.setattr("edge.uptime.time", self)

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.up

    def clock_gettime(self, _: int) -> float:
        return self.up


class Interrupted(DeviceState):
    """Calls what is set once, before a text is read or written."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.before_get: Callable[[], object] | None = None
        self.before_put: Callable[[], object] | None = None

    def get(self, name: str) -> str | None:
        call, self.before_get = self.before_get, None
        if call is not None:
            call()
        return super().get(name)

    def put(self, name: str, text: str | None) -> None:
        call, self.before_put = self.before_put, None
        if call is not None:
            call()
        super().put(name, text)


def open_trail(
    folder: Path, key: bytes = KEY, *, busy_s: float = 0.0, state: DeviceState | None = None,
    **limits: int,
) -> AuditTrail:  # fmt: skip
    state = state or DeviceState(folder)
    return AuditTrail(folder, key, state, AuditConfig(**limits), busy_s=busy_s)


def event(number: int, outcome: str = "granted", when: float | None = None) -> Event:
    detail: dict[str, Detail] = {"outcome": outcome, "number": number}
    when = NOON + number if when is None else when
    return Event(EventKind.DECISION, detail, f"profile-{number % 3}", when)


def record(trail: AuditTrail, *events: Event) -> None:
    for each in events:
        trail.record(each)
    trail.flush()


def write(folder: Path, *numbers: int) -> Head:
    with open_trail(folder) as trail:
        record(trail, *map(event, numbers))
        head = trail.head()
    assert head is not None
    return head


def numbers(trail: AuditTrail) -> list[Any]:
    """The numbers of the decisions, or the kind of another entry."""
    return [entry.details().get("number", entry.kind) for entry in trail.entries()]


def findings(folder: Path, expected: Head | None = None, key: bytes = KEY) -> tuple[str, ...]:
    with open_trail(folder, key) as trail:
        return trail.verify(expected).findings


def alter(folder: Path, statement: str, *values: Any, file: str = "audit.sqlite") -> int:
    with closing(sqlite3.connect(folder / file)) as database, database:
        return database.execute(statement, values).rowcount

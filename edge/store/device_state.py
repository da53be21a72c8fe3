"""What the device itself must not forget over a restart: counters and short texts, not people."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.errors import StoreError
from edge.store.sqlite import Database, FileKind, make_private

FILE_NAME = "device.sqlite"

_KIND = FileKind("memory of counters and lock-outs")
_PROBE = "probe"
_MAX_TEXT = 65536
_SCHEMA = "CREATE TABLE IF NOT EXISTS entry (name TEXT PRIMARY KEY NOT NULL, value NOT NULL)"


def microphone_kind_key(door: str | None = None) -> str:
    """What the kind of a door's last microphone is kept under; None for the main one."""
    return "microphone_kind" if door is None else f"microphone_kind/{door}"


class DeviceState:
    """Named counters and texts in one small SQLite file, each write durable when it returns.

    Any thread may use it. It waits up to `busy_s` seconds for another process that writes.

    Attributes:
        problem: why the latest write failed; None where it did not.

    Raises:
        StoreError: by every method: the file cannot be used, or is damaged.
    """

    problem: str | None = None

    def __init__(self, state_directory: Path, busy_s: float = 5.0) -> None:
        self.path = state_directory / FILE_NAME
        self._lock = threading.Lock()
        with _KIND.errors(self.path):
            make_private(self.path)  # before anything is in it
            self._database = Database(self.path, _KIND, busy_s)
            self._database.execute(_SCHEMA)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock:
            self._database.close()

    def reserve(self, name: str, count: int = 1, least: int = 1) -> int:
        """Take a counter's next `count` numbers, from `least`; the first. None is given again."""
        if count < 1:
            raise ValueError(f"cannot take {count} numbers")
        with self._lock, self._writing():
            first = max(self._last(name) + 1, least)
            self._set(name, first + count - 1)
            return first

    def last(self, name: str) -> int:
        """The last number of a counter that was taken, 0 for none."""
        with self._lock, _KIND.errors(self.path):
            return self._last(name)

    def get(self, name: str) -> str | None:
        """The text kept under a name, None where there is none."""
        with self._lock, _KIND.errors(self.path):
            value = self._value(name)
        return self._text(name, value)

    def change(self, name: str, changed: Callable[[str | None], str]) -> None:
        """Put in place of a text what it is `changed` to, with no other process in between."""
        with self._lock, self._writing():
            self._set(name, changed(self._text(name, self._value(name))))

    def put(self, name: str, text: str | None) -> None:
        """Keep a text of 64 KiB at most in place of an earlier one; None removes it."""
        if text is not None and len(text) > _MAX_TEXT:
            raise ValueError(f"{name}: longer than {_MAX_TEXT} characters")
        with self._lock, self._writing():
            if text is None:
                self._database.execute("DELETE FROM entry WHERE name = ?", (name,))
            else:
                self._set(name, text)

    def try_again(self) -> None:
        """Write something, if the latest write failed, to see whether it is possible again."""
        if self.problem is not None:
            with contextlib.suppress(StoreError):
                self.put(_PROBE, "")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._database.writing():
                yield
        except StoreError as error:
            self.problem = str(error)
            raise
        self.problem = None

    def _last(self, name: str) -> int:
        value = self._value(name)
        if value is None:
            return 0
        if not (isinstance(value, int) and value >= 0):
            raise _KIND.damaged(self.path, name)
        return value

    def _text(self, name: str, value: object) -> str | None:
        if value is None or isinstance(value, str):
            return value
        raise _KIND.damaged(self.path, name)

    def _value(self, name: str) -> object:
        row = self._database.execute("SELECT value FROM entry WHERE name = ?", (name,)).fetchone()
        (value,) = row or (None,)
        return value

    def _set(self, name: str, value: object) -> None:
        self._database.execute(
            "INSERT INTO entry VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

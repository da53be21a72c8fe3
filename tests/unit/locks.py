"""Locks that tell of their use."""

from __future__ import annotations

import threading

import pytest


class WatchedLock:
    """A lock that counts how often it was taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = 0

    def __enter__(self) -> None:
        self._lock.acquire()
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def locked(self) -> bool:
        return self._lock.locked()


def watch_locks(monkeypatch: pytest.MonkeyPatch, module: object) -> list[WatchedLock]:
    """Have a module make watched locks from now on; returns those that it made."""
    made: list[WatchedLock] = []

    def lock() -> WatchedLock:
        made.append(WatchedLock())
        return made[-1]

    class Threading:
        Lock = staticmethod(lock)

        def __getattr__(self, name: str) -> object:
            return getattr(threading, name)

    monkeypatch.setattr(module, "threading", Threading())
    return made

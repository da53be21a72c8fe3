"""Two threads in one module: the second acts at each point of the first in turn."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any, Literal

import pytest

Action = Callable[[], object]
_HANGS_S = 60.0


def interleaved(
    module: ModuleType,
    prepare: Callable[[], tuple[Action, Action, Action]],
    *,
    step: Literal["line", "opcode"] = "line",
) -> None:
    """Run two actions, the second in the midst of the first, before each step in a module.

    `prepare` makes everything anew and returns both actions, and a check of what then must hold.
    Whatever locks they share must be made by the module.
    """
    with pytest.MonkeyPatch.context() as patch:
        paused = threading.Event()
        patch.setattr(module, "threading", _Threading(paused))
        for at in itertools.count():
            first, second, check = prepare()
            paused.clear()
            if not _ran(module, first, second, paused, step, at):
                break
            check()
    assert at > 0


class _Threading:
    """The module `threading`, with locks that tell when a thread has to wait."""

    def __init__(self, paused: threading.Event) -> None:
        self._paused = paused

    def __getattr__(self, name: str) -> Any:
        found = getattr(threading, name)
        return (lambda: _Lock(found(), self._paused)) if name in ("Lock", "RLock") else found


class _Lock:
    def __init__(self, lock: Any, paused: threading.Event) -> None:
        self._lock = lock
        self._paused = paused

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._paused.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _ran(
    module: ModuleType,
    first: Action,
    second: Action,
    paused: threading.Event,
    step: str,
    at: int,
) -> bool:
    """Run `first`, and `second` before its step number `at`; False if it has not so many."""
    errors: list[BaseException] = []

    def act() -> None:
        try:
            second()
        except BaseException as error:  # noqa: BLE001 (raised by the test's own thread)
            errors.append(error)
        paused.set()

    other = threading.Thread(target=act, daemon=True)
    steps = itertools.count()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != module.__file__:
            return None
        frame.f_trace_opcodes = step == "opcode"
        if event == step and next(steps) == at:
            other.start()
            assert paused.wait(_HANGS_S)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        first()
    finally:
        sys.settrace(before)
    if other.ident is None:
        return False
    other.join(_HANGS_S)
    assert not other.is_alive()
    if errors:
        raise errors[0]
    return True

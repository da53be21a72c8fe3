"""One microphone for two: a command asks the running service for it, which goes on afterwards.

Many a sound card has one reader only, and what is said to a command is nothing to decide on. Both
hold a file in the state directory: the command while it wants the microphone, the service while it
listens. The kernel lets go for a process that dies.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from edge.errors import StoreError
from edge.private_files import hold, is_held

_WANTED, _USED = "microphone.wanted", "microphone.used"
_WAIT_S = 8.0
"""Longer than a sound system may take to open or close a microphone."""
_POLL_S = 0.02


class SharedMicrophone:
    """The service's side: whether a command wants the microphone, and when it is in use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def wanted(self) -> bool:
        """Whether a command wants it."""
        return is_held(self._folder / _WANTED)

    def used(self) -> contextlib.AbstractContextManager[None]:
        """The service uses it in this block; to be entered before `wanted` is looked at."""
        return _held(self._folder / _USED)


@contextlib.contextmanager
def asked_for(folder: Path) -> Iterator[bool | None]:
    """In this block the service with that state directory leaves the microphone alone.

    Yields whether it was listening; None where it does not stop.
    """
    with _held(folder / _WANTED):
        was_used = is_held(folder / _USED)
        deadline = time.monotonic() + _WAIT_S
        while is_held(folder / _USED) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        yield None if is_held(folder / _USED) else was_used


@contextlib.contextmanager
def _held(file: Path) -> Iterator[None]:
    """Hold a file in this block; where it cannot be made, nothing is held."""
    try:
        handle = hold(file, shared=True)
    except (OSError, StoreError):
        yield
        return
    try:
        yield
    finally:
        os.close(handle)

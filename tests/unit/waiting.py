"""A lock that tells when a thread has to wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable


class ContendedLock:
    """Like `threading.RLock`, except that any thread may release it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._depth = 0
        self.settled = threading.Event()
        """Set once a thread waits for the lock, or has ended without."""
        self.waited = False

    def __enter__(self) -> None:
        if not self.mine:
            if not self._lock.acquire(blocking=False):
                self.waited = True
                self.settled.set()
                self._lock.acquire()
            self._owner = threading.get_ident()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._lock.release()

    @property
    def mine(self) -> bool:
        """Whether this thread holds it."""
        return self._owner == threading.get_ident()

    def holds_up(self, action: Callable[[], object], check: Callable[[], object] = int) -> bool:
        """Whether another thread's action waits while it is held; `check` is called meanwhile."""

        def act() -> None:
            try:
                action()
            finally:
                self.settled.set()

        self.settled.clear()
        self.waited = False
        thread = threading.Thread(target=act, daemon=True)
        with self:
            thread.start()
            assert self.settled.wait(60.0)
            waited = self.waited
            check()
        thread.join()
        return waited

    def hold(self, until: Callable[[], object]) -> None:
        """Hold it in another thread until somebody waits for it, and that has been called."""
        held = threading.Event()

        def act() -> None:
            with self:
                held.set()
                assert self.settled.wait(60.0)
                until()

        self.settled.clear()
        threading.Thread(target=act, daemon=True).start()
        assert held.wait(60.0)

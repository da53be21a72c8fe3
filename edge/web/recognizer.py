"""The recognizer of a server: one thread, and its callers in turn."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from edge.recognition import Engine
from edge.web.refusal import Refused

T = TypeVar("T")

MOST_WAITING = 64
"""Works that wait, of all callers."""
MOST_OF_ONE = 16
"""Works of one caller that wait."""
_RETRY_S = 2.0

_log = logging.getLogger(__name__)

_Work = tuple["Future[Any]", Callable[[Engine], Any]]


class Recognizer:
    """Runs works on the engine, one at a time in a thread of its own.

    Of several callers each has its turn, however much one of them sends.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ready = threading.Condition()
        self._waiting: OrderedDict[str, deque[_Work]] = OrderedDict()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="recognizer", daemon=True)
        self._thread.start()

    async def run(self, caller: str, work: Callable[[Engine], T]) -> T:
        """The result of a work, once it was this caller's turn; raises what the work raises.

        Who stops waiting takes back what has not begun.

        Raises:
            Refused: 503 where too much waits.
        """
        future: Future[T] = Future()
        with self._ready:
            if self._closed:
                raise Refused(503, "Unavailable", "the server is stopping", _RETRY_S)
            own = self._waiting.get(caller, ())
            if len(own) >= MOST_OF_ONE or self.waiting >= MOST_WAITING:
                raise Refused(503, "Busy", "too much is waiting: send less at a time", _RETRY_S)
            self._waiting.setdefault(caller, deque()).append((future, work))
            self._ready.notify()
        return await asyncio.wrap_future(future)

    @property
    def waiting(self) -> int:
        """How many works wait."""
        return sum(len(works) for works in self._waiting.values())

    def close(self) -> None:
        """Drop what waits, and end after the present work; a second call does nothing."""
        with self._ready:
            self._closed = True
            for works in self._waiting.values():
                for future, _ in works:
                    future.cancel()
            self._waiting.clear()
            self._ready.notify()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            future, work = taken
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work(self._engine)
            except BaseException as error:  # noqa: BLE001 (it is the caller's)
                future.set_exception(error)
            else:
                future.set_result(result)
            # Not to keep a recording until the next one comes.
            del taken, future, work

    def _take(self) -> _Work | None:
        with self._ready:
            self._ready.wait_for(lambda: self._closed or self._waiting)
            if not self._waiting:
                return None
            caller, works = self._waiting.popitem(last=False)
            work = works.popleft()
            if works:
                self._waiting[caller] = works  # behind the others
            return work

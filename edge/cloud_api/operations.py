"""Operations: what goes on after its request was answered, and what came of it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from edge.cloud_api.faults import Fault

MOST = 500
"""Operations that are remembered; the oldest that is over makes room."""
MOST_RUNNING = 8
"""Operations of one key that are not over."""
KEPT_S = 24 * 3600.0
"""How long the result of one can be asked for, as it was in the cloud."""


@dataclass
class Operation:
    """Something that takes a while.

    Attributes:
        key_id: the key that began it, the only one that may see it.
        status: "notstarted", "running", "failed" or "succeeded".
        created_at, changed_at: Unix time.
        fault: why it failed.
        result: what came of it, under its JSON names.
    """

    id: str
    key_id: str
    created_at: float
    changed_at: float
    status: str = "notstarted"
    fault: Fault | None = None
    result: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ("failed", "succeeded")

    def change(self, status: str, at: float) -> None:
        """Note what it has come to."""
        self.status, self.changed_at = status, at


class Operations:
    """The operations of a server, in memory; for its event loop only."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: OrderedDict[str, Operation] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, key_id: str) -> Operation:
        """A new one, which has not started.

        Raises:
            Fault: too many of this key are not over, or of all together.
        """
        self._forget()
        going = sum(not each.over for each in self._known.values() if each.key_id == key_id)
        if going >= MOST_RUNNING or (len(self._known) >= MOST and not self._make_room()):
            raise Fault(
                429,
                "too_many_operations",
                "Rate limit is exceeded",
                "wait until an operation is over",
                retry_after_s=5.0,
            )
        now = self._clock()
        operation = Operation(str(uuid.uuid4()), key_id, now, now)
        self._known[operation.id] = operation
        return operation

    def carry_out(
        self, operation: Operation, work: Coroutine[Any, Any, dict[str, Any]]
    ) -> asyncio.Task[None]:
        """Wait for its result in the background; `work` raises a `Fault` where it fails."""
        task = asyncio.create_task(self._finish(operation, work))
        self._tasks.add(task)  # the loop itself keeps no reference
        task.add_done_callback(self._tasks.discard)
        return task

    def get(self, operation_id: str, key_id: str) -> Operation:
        """One that this key began. Raises `Fault`."""
        self._forget()
        found = self._known.get(operation_id)
        if found is None or found.key_id != key_id:
            raise Fault(
                404,
                "no_such_operation",
                "OperationNotFound",
                "no operation of this key has this id, or it is more than a day ago",
            )
        return found

    async def _finish(
        self, operation: Operation, work: Coroutine[Any, Any, dict[str, Any]]
    ) -> None:
        operation.change("running", self._clock())
        try:
            operation.result = await work
        except Fault as fault:
            operation.fault = fault
            operation.change("failed", self._clock())
        else:
            operation.change("succeeded", self._clock())

    def _forget(self) -> None:
        since = self._clock() - KEPT_S
        for operation in list(self._known.values()):
            if operation.created_at >= since:
                break
            del self._known[operation.id]

    def _make_room(self) -> bool:
        oldest = next((each.id for each in self._known.values() if each.over), None)
        if oldest is None:
            return False
        del self._known[oldest]
        return True

"""The audit trail: everything that happened, in a log that cannot be changed without a trace.

- Each entry is authenticated together with the one before it, by a key that is not in the file.
  `verify` finds an entry that was edited, moved or removed, a beginning or an end that was cut
  off, and a file that an older copy has replaced. Where the trail *and* `device.sqlite` were both
  replaced by older copies, of the same moment, only a head that was kept elsewhere shows it: that
  is what publishing `head` is for.
- `record` only queues; `work` writes. A power cut loses what was recorded since the last `work`.
- Where nothing can be written (a full disk) the device keeps working: being locked out of the
  house is the greater harm. Events wait as far as there is room; an `unwritten` entry counts those
  that were lost.
- Entries hold the ids of profiles, never a name, a phrase or an embedding.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.config import AuditConfig
from edge.errors import StoreError
from edge.store.ages import Ages
from edge.store.audit_chain import AuditVerdict, Entry, Head, check, read_anchor
from edge.store.audit_file import ANCHOR, FILE_NAME, TrailFile, reading
from edge.store.device_state import DeviceState
from edge.types import Detail, Event, EventKind
from edge.types.decision import utc

AUDIT_KEY = "audit"
"""What `ProfileStore.derive_key` makes the key of the trail for."""

__all__ = ["AUDIT_KEY", "FILE_NAME", "AuditTrail", "AuditVerdict", "Entry", "Head"]

_MOST_WAITING = 4096
_PRUNE_EVERY_S = 3600.0
_RETRY_EVERY_S = 5.0
_KEY_BYTES = 32

_log = logging.getLogger(__name__)


class AuditTrail:
    """The trail of one state directory, to be written by this process and others at once.

    `record`, `work` and `close` never raise: access matters more than its log. `flush` and what
    reads the trail raise `StoreError`.

    Args:
        key: what authenticates entries, 32 bytes.
        state: where the head is anchored; not closed here.
        busy_s: how long to wait for another process that writes, seconds.
        on_urgent: called after an event that should be written soon was recorded, in the thread
            that recorded it; to wake the thread that calls `work`.

    Attributes:
        problem: why nothing can be written at the moment, None if all is well.
        older: files that were found to be removed or older than another, by their names.
    """

    def __init__(
        self,
        state_directory: Path,
        key: bytes,
        state: DeviceState,
        settings: AuditConfig,
        *,
        busy_s: float = 5.0,
        on_urgent: Callable[[], object] | None = None,
    ) -> None:
        if len(key) != _KEY_BYTES:
            raise ValueError(f"a key of {len(key)} bytes")
        self.path = state_directory / FILE_NAME
        self.problem: str | None = None
        self.older: set[str] = set()
        self.key = key
        self._state = state
        self._settings = settings
        self._ages = Ages(state, "audit", settings.days)
        self._busy_s = busy_s
        self._on_urgent = on_urgent
        self._waiting: deque[Event] = deque()
        self._queue_lock = threading.Lock()
        self._lost = 0
        self._lost_since = 0.0
        self._file: TrailFile | None = None
        self._file_lock = threading.RLock()
        self._pruned_at = float("-inf")
        self._failed_at = float("-inf")

    def __enter__(self) -> AuditTrail:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def record(self, event: Event) -> None:
        """Queue an event and return at once; beyond 4,096 the least important are only counted."""
        urgent = _matters(event)
        with self._queue_lock:
            if len(self._waiting) < _MOST_WAITING or (urgent and self._evict()):
                self._waiting.append(event)
            else:
                self._lose(event)
        if urgent and self._on_urgent is not None:
            self._on_urgent()

    def work(self) -> None:
        """Write what waits, and keep to the limits of age and size; for every tick."""
        if self.problem is not None and time.monotonic() - self._failed_at < _RETRY_EVERY_S:
            return
        try:
            self.flush()
            if time.monotonic() - self._pruned_at >= _PRUNE_EVERY_S:
                self.prune()
        except StoreError as error:
            self._failed_at = time.monotonic()
            if self.problem != str(error):
                _log.error("cannot write the audit trail; access goes on without it: %s", error)
            self.problem = str(error)
        else:
            if self.problem is not None:
                _log.warning("the audit trail can be written again")
            self.problem = None

    def flush(self) -> None:
        """Write what waits, durable when it returns. Raises `StoreError`; it still waits then."""
        with self._file_lock:
            with self._queue_lock:
                events = list(self._waiting)
                lost, since = self._lost, self._lost_since
            if events or lost:
                written: Sequence[Event] = events
                if lost:
                    detail: dict[str, Detail] = {"count": lost, "since": utc(since)}
                    written = [*events, Event(EventKind.UNWRITTEN, detail)]
                file = self._opened()
                file.append(written)
                if file.older is not None:
                    self.older.add(file.older)
                with self._queue_lock:
                    for event in events:
                        if event in self._waiting:
                            self._waiting.remove(event)
                        else:  # it was evicted while it was being written
                            self._lost -= 1
                    self._lost -= lost
                    self._lost_since = time.time()
            if self._file is not None:
                self._file.anchor()

    def prune(self) -> int:
        """Remove what the settings no longer allow; how many entries. Raises `StoreError`."""
        with self._file_lock:
            self._pruned_at = time.monotonic()
            if self._file is None and not self.path.exists():
                return 0
            file = self._opened()
            removed = file.prune(
                expired=self._ages.expired(file.head().seq),
                most_entries=self._settings.most_entries,
                most_bytes=self._settings.most_mb * 1_000_000,
            )
            file.anchor()
        return removed

    def head(self) -> Head | None:
        """The newest entry, to be kept elsewhere (`str` of it is SEQ:HASH); None if unreadable."""
        try:
            with self._file_lock:
                return self._opened().head()
        except StoreError:
            return None

    def entries(self) -> list[Entry]:
        """Everything that is written, the oldest first; what waits is not. Raises `StoreError`."""
        with self._file_lock, reading(self.path) as found:
            return list(found)

    def verify(self, expected: Head | None = None) -> AuditVerdict:
        """Check the trail, also against a head that was kept elsewhere. Raises `StoreError`."""
        with self._file_lock:
            # In this order: the trail may grow in between, the anchor must not.
            anchor = read_anchor(self.key, self._state.get(ANCHOR))
            with reading(self.path) as found:
                return check(found, self.key, anchor=anchor, expected=expected)

    def close(self) -> None:
        """Write what waits, and close the file; a second call does nothing."""
        try:
            self.flush()
        except StoreError as error:
            _log.error("not in the audit trail: %d events: %s", len(self._waiting), error)
        with self._file_lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _opened(self) -> TrailFile:
        """The file; opened when it is needed, so that one that cannot be is no reason to stop."""
        if self._file is not None and self._file.replaced:
            self._file.close()
            self._file = None
        if self._file is None:
            self._file = TrailFile(self.path, self.key, self._state, self._busy_s)
        return self._file

    def _evict(self) -> bool:
        for index, event in enumerate(self._waiting):
            if not _matters(event):
                del self._waiting[index]
                self._lose(event)
                return True
        return False

    def _lose(self, event: Event) -> None:
        if not self._lost:
            self._lost_since = event.time
        self._lost += 1


def _matters(event: Event) -> bool:
    """Whether it is to be written soon, and kept longest: all but what a stranger can cause."""
    if event.kind is EventKind.DECISION:
        return event.detail.get("outcome") == "granted"
    return event.kind not in (EventKind.COMMAND_REFUSED, EventKind.VERIFICATION)

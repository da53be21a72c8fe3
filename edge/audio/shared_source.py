"""A source that goes on while whoever listens to it is exchanged.

A pipe cannot be opened twice, and what a reader has taken from it is gone. So one thread reads it
for as long as the process lives, and hands the blocks to one borrower after the other.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType

from edge.audio.sources import Source
from edge.types import AudioBlock

_MOST_WAITING = 4
"""Blocks that are read ahead; a pipe whose reader waits makes its writer wait."""
_POLL_S = 0.2

_Item = AudioBlock | BaseException | None


class Lender:
    """Reads a source once, for one borrower at a time.

    Args:
        source: what is read; it is entered and left by the thread that reads.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._items: queue.Queue[_Item] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._read, name="source", daemon=True)

    def lend(self) -> Lent:
        """The source for the next one who listens; close what was lent before."""
        return Lent(self)

    def begin(self) -> None:
        """Read from now on; does nothing when it is read already."""
        if self._thread.ident is None:
            self._thread.start()

    def next(self, wait_s: float) -> _Item:
        """The next block; None at the end of the source, or what it failed with.

        Raises:
            queue.Empty: nothing came within `wait_s`.
        """
        item = self._items.get(timeout=wait_s)
        if not isinstance(item, AudioBlock):
            self._items.put(item)  # it is the end for whoever comes later, too
        return item

    def _read(self) -> None:
        end: _Item = None
        try:
            with self._source:
                for block in self._source.blocks():
                    self._items.put(block)
        except BaseException as error:  # noqa: BLE001 (raised where the blocks are taken)
            end = error
        self._items.put(end)


class Lent:
    """A lent source, until it is closed."""

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self._closed = threading.Event()

    def __enter__(self) -> Lent:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Have `blocks` end within a moment; may be called from any thread."""
        self._closed.set()

    def blocks(self) -> Iterator[AudioBlock]:
        """Blocks until the source ends or `close` is called.

        Raises:
            EdgeVoiceError: the source failed.
        """
        self._lender.begin()
        while not self._closed.is_set():
            try:
                item = self._lender.next(_POLL_S)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

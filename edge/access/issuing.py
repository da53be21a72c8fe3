"""Adds to a message what a lock checks: a counter, times, an expiry and a signature.

Counters are reserved in the device's state in blocks, so that a decision never waits for a disk.
After a power cut the rest of a block is skipped; no number comes twice or out of order. Where the
time is known, a number is at least that of the present millisecond: a backup that is restored, or a
disk that cannot be written, makes none repeat.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from edge.config import SigningConfig
from edge.crypto.canonical import MessageProblem, wire
from edge.crypto.signing import (
    CHALLENGE,
    DECISION,
    DURESS,
    ENROLLMENT,
    RESULT,
    SigningKey,
    read_signing_key,
    signed,
)
from edge.errors import StoreError
from edge.store.device_state import DeviceState
from edge.types import AccessDecision
from edge.types.decision import utc

BLOCK = 1000
"""Numbers reserved at once; 2^53 last for 9e12 restarts."""
_KINDS = (DECISION, DURESS, CHALLENGE, RESULT, ENROLLMENT)

_log = logging.getLogger(__name__)


def signing_key(config: SigningConfig) -> SigningKey | None:
    """The key of the settings; None where nothing is signed.

    Raises:
        ConfigError: the key cannot be used.
    """
    if config.key_file is None:
        return None
    return read_signing_key(config.key_file, config.algorithm, "signing.key_file")


class Issuer:
    """Counts, dates and signs messages; for any thread.

    Each kind of message has a counter of its own: a gap in that of the decisions would reveal a
    silent alarm. Each of the `kinds` reserves its first block now. Without a key nothing is signed.

    Args:
        now: Unix time, seconds; None while the time is unknown.
    """

    def __init__(
        self,
        device_id: str,
        numbers: DeviceState,
        key: SigningKey | None = None,
        *,
        kinds: Sequence[str] = _KINDS,
        now: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._device_id = device_id
        self._key = key
        said: set[str] = set()
        self._counters = {kind: _Counter(numbers, kind, now, said) for kind in kinds}
        self.top_up()

    @property
    def key_id(self) -> str | None:
        """The id of the key; None without one."""
        return None if self._key is None else self._key.key_id

    def issue(self, decision: AccessDecision) -> AccessDecision:
        """The decision as it is published; `to_json()` is what was signed.

        It expires `lifetime_s` after the end of the speech.

        Raises:
            StoreError: there is no number; a decision without one must not open anything.
        """
        issued = replace(
            decision,
            device=self._device_id,
            counter=self._counters[DECISION].next(),
            issued_at=time.time(),
            signature=None,
        )
        if self._key is None:
            return issued
        try:
            content = signed(issued.as_dict(), DECISION, self._key)
        except MessageProblem as problem:  # a number that languages write differently
            _log.error("a decision is sent without its scores: %s", problem.reason)
            issued = replace(issued, scores={}, timings_ms={}, quality=None)
            content = signed(issued.as_dict(), DECISION, self._key)
        return replace(issued, signature=content["signature"])

    def sign_message(
        self, kind: str, fields: Mapping[str, Any], lifetime_s: float | None = None
    ) -> str:
        """Another message as it is published, one line of JSON.

        Without a lifetime it never expires. `edge.crypto.canonical` says what fields may hold.

        Raises:
            MessageProblem: the content cannot be signed.
            StoreError: there is no number.
        """
        now = time.time()
        message = {
            **fields,
            "device": self._device_id,
            "counter": self._counters[kind].next(),
            "issued_at": utc(now),
        }
        if lifetime_s is not None:
            message["expires_at"] = utc(now + lifetime_s)
        if self._key is not None:
            message = signed(message, kind, self._key)
        return wire(message)

    def top_up(self) -> None:
        """Reserve new blocks early, while nobody waits at the door; to be called now and then."""
        for counter in self._counters.values():
            with contextlib.suppress(StoreError):  # it says so, and tries again
                counter.top_up()


class _Counter:
    """Ascending numbers of one kind; `said` is what has been said of a disk that fails."""

    def __init__(
        self,
        numbers: DeviceState,
        kind: str,
        now: Callable[[], float | None],
        said: set[str],
    ) -> None:
        self._numbers = numbers
        self._name = f"counter/{kind}"
        self._now = now
        self._said = said
        self._lock = threading.Lock()
        self._left: deque[int] = deque()
        self._end = 0
        self._dated = False
        """Whether what is left is as high as the time."""

    def next(self) -> int:
        with self._lock:
            if not self._left:
                self._add(*self._reserve())
            return self._left.popleft()

    def top_up(self) -> None:
        if len(self._left) > BLOCK // 2 and (self._dated or self._now() is None):
            return
        block = self._reserve()  # a slow disk holds nobody up
        with self._lock:
            self._add(*block)

    def _reserve(self) -> tuple[range, bool]:
        """New numbers, and whether they are as high as the time."""
        now = self._now()
        least = max(1, self._end, 0 if now is None else int(now * 1000))
        try:
            first = self._numbers.reserve(self._name, BLOCK, least)
            self._said.clear()
        except StoreError as error:
            if str(error) not in self._said:
                _log.warning("no counters could be reserved: %s", error)
            self._said.add(str(error))
            if self._left:
                raise
            # The door goes on. At worst, without a clock, the next start gives these out again.
            first = least if now is not None else max(least, self._numbers.last(self._name) + 1)
        return range(first, first + BLOCK), now is not None

    def _add(self, block: range, dated: bool) -> None:
        # Another thread may have reserved a later one, and even used it up; numbers must ascend.
        if block.start < self._end:
            return
        if dated and not self._dated:
            self._left.clear()
        self._left.extend(block)
        self._end, self._dated = block.stop, self._dated or dated

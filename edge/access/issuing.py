"""What makes a message one that a door can be opened on: a number, a time, an end, a signature.

Numbers are taken from the device's state in blocks, so that a decision waits for no disk: what a
power cut leaves unused of a block is skipped, and no number comes twice or out of order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

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
from edge.types import AccessDecision, Event, EventKind
from edge.types.decision import utc


def audit_event_of(decision: AccessDecision, *, sent: bool = True) -> Event:
    """The event of a decision. The id in its detail is the one that was published.

    Args:
        decision: as it was issued.
        sent: whether it was; False for one that came too late, or could not be numbered.
    """
    return Event(
        EventKind.DECISION,
        {
            "outcome": decision.outcome.value,
            "reason": decision.reason.value,
            "confidence": decision.confidence.value,
            "utterance_s": round(decision.utterance_s, 2),
            "id": decision.id,
            "counter": decision.counter,
            "sent": sent,
        },
        decision.profile_id,
        decision.time,
    )


BLOCK = 1000
"""Numbers taken at once; 2^53 of them last for 9e12 restarts."""
_KINDS = (DECISION, DURESS, CHALLENGE, RESULT, ENROLLMENT)

_log = logging.getLogger(__name__)


class Numbers(Protocol):
    """Where numbers are kept; `edge.store.device_state.DeviceState` is one."""

    def reserve(self, name: str, count: int = 1) -> int:
        """Take the next `count` numbers for good; returns the first."""
        ...


def signing_key(config: SigningConfig) -> SigningKey | None:
    """The key that the settings name; None where nothing is signed.

    Raises:
        ConfigError: the key cannot be used.
    """
    if config.key_file is None:
        return None
    return read_signing_key(config.key_file, config.algorithm, "signing.key_file")


class Issuer:
    """Numbers, dates and signs what leaves the device; any thread may use it.

    Each kind of message has numbers of its own: a gap in those of the decisions would tell that a
    silent alarm was raised.

    Args:
        device_id: the device that speaks.
        numbers: where the numbers are kept.
        key: signs; None issues without a signature.
        kinds: the kinds whose first block is taken now, so that none waits for it later.

    Raises:
        StoreError: no numbers can be had.
    """

    def __init__(
        self,
        device_id: str,
        numbers: Numbers,
        key: SigningKey | None = None,
        *,
        kinds: Sequence[str] = _KINDS,
    ) -> None:
        self._device_id = device_id
        self._key = key
        self._counters = {kind: _Counter(numbers, kind) for kind in kinds}

    @property
    def key_id(self) -> str | None:
        """Which key signs; None where none does."""
        return None if self._key is None else self._key.key_id

    def issue(self, decision: AccessDecision) -> AccessDecision:
        """The decision as it is published: `to_json()` is what was signed.

        It ends `lifetime_s` after the speech ended, however long deciding and sending took.

        Raises:
            StoreError: no number can be had; a decision without one must not open anything.
        """
        issued = replace(
            decision,
            device=self._device_id,
            counter=self._counters[DECISION].take(),
            issued_at=time.time(),
            signature=None,
        )
        if self._key is None:
            return issued
        try:
            content = signed(issued.as_dict(), DECISION, self._key)
        except MessageProblem as problem:  # a figure outside of what every language writes alike
            _log.error("a decision is sent without its figures: %s", problem.reason)
            issued = replace(issued, scores={}, timings_ms={}, quality=None)
            content = signed(issued.as_dict(), DECISION, self._key)
        return replace(issued, signature=content["signature"])

    def sign_message(
        self, kind: str, fields: Mapping[str, Any], lifetime_s: float | None = None
    ) -> str:
        """Another message as it is published, one line of JSON.

        Args:
            kind: one of `edge.crypto.signing.DOMAINS` that this issuer was made for.
            fields: its content; see edge/crypto/canonical.py for what it may hold.
            lifetime_s: seconds from now after which it means nothing any more; None for no end.

        Raises:
            MessageProblem: the content cannot be signed.
            StoreError: no number can be had.
        """
        now = time.time()
        message = {
            **fields,
            "device": self._device_id,
            "counter": self._counters[kind].take(),
            "issued_at": utc(now),
        }
        if lifetime_s is not None:
            message["expires_at"] = utc(now + lifetime_s)
        if self._key is not None:
            message = signed(message, kind, self._key)
        return wire(message)

    def top_up(self) -> None:
        """Take new blocks early, away from the moment at which somebody waits at the door.

        Call it every now and then; it does nothing while half of each block is left. A disk that
        cannot be written is logged, and tried again the next time.
        """
        try:
            for counter in self._counters.values():
                counter.top_up()
        except StoreError as error:
            _log.warning("no new numbers for messages: %s", error)


class _Counter:
    """Numbers of one kind, in ascending order."""

    def __init__(self, numbers: Numbers, kind: str) -> None:
        self._numbers = numbers
        self._name = f"counter/{kind}"
        self._lock = threading.Lock()
        self._blocks = [self._reserve()]

    def take(self) -> int:
        with self._lock:
            if not self._blocks:
                self._blocks.append(self._reserve())
            block = self._blocks[0]
            number = block.start
            if len(block) == 1:
                self._blocks.pop(0)
            else:
                self._blocks[0] = range(number + 1, block.stop)
            return number

    def top_up(self) -> None:
        with self._lock:
            if sum(map(len, self._blocks)) > BLOCK // 2:
                return
        block = self._reserve()  # a slow disk holds nobody up
        with self._lock:
            # Another may have taken a block meanwhile; lower numbers go first, or not at all.
            if not self._blocks or block.start >= self._blocks[-1].stop:
                self._blocks.append(block)

    def _reserve(self) -> range:
        first = self._numbers.reserve(self._name, BLOCK)
        return range(first, first + BLOCK)

"""Who calls: the key of a request, and what happens to those who try wrong ones."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.errors import StoreError
from edge.store.api_keys import ApiKey, ApiKeys, ApiRole
from edge.store.device_state import DeviceState
from edge.types import Detail, Event, EventKind
from edge.uptime import boot_id, uptime
from edge.web.addresses import network_of
from edge.web.refusal import Refused

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

__all__ = ["HEADER", "Callers", "Refused"]

HEADER = "Ocp-Apim-Subscription-Key"
STATE_KEY = "http.callers"
LIFT_KEY = "http.callers.lift"
WRONG_AT_ONCE = 5
"""Wrong keys of one address after which it is locked out."""
WRONG_IN_ALL = 100
"""Wrong keys of all addresses after which each further one locks its address out."""
FORGET_S = 60.0
"""A wrong key is forgotten in this time; several one after another."""
FIRST_S = 60.0
LONGEST_S = 3600.0
MOST_ADDRESSES = 1024
_MOST_KEPT = 256

_log = logging.getLogger(__name__)


@dataclass
class _Caller:
    """What is known of an address; times are of the clock.

    Attributes:
        wrong: wrong keys, fading.
        at: when they were that many.
        round: lock-outs since it was quiet for `LONGEST_S`.
        until: when the present one ends.
    """

    wrong: float = 0.0
    at: float = 0.0
    round: int = 0
    until: float = 0.0

    def add(self, now: float) -> None:
        """Count a wrong key."""
        if now >= self.until + LONGEST_S:
            self.round = 0
        self.wrong = max(0.0, self.wrong - (now - self.at) / FORGET_S) + 1.0
        self.at = now


class Callers:
    """Checks keys; for any thread.

    After some wrong keys everything from their address is refused for a minute, the next time for
    two, then four, up to an hour. Other addresses are served meanwhile.

    Args:
        record: puts each lock-out into the audit trail; must not wait.
        clock: seconds, going on over a restart of the process.
        boot: differs between two starts of the machine; empty if unknown.
    """

    def __init__(
        self,
        keys: ApiKeys,
        state: DeviceState,
        record: Callable[[Event], None],
        *,
        clock: Callable[[], float] = uptime,
        boot: str | None = None,
    ) -> None:
        self._keys = keys
        self._state = state
        self._record = record
        self._clock = clock
        self._boot = boot_id() if boot is None else boot
        self._lock = threading.Lock()
        self._all = _Caller()
        self._unwritten = False
        self._known = self._restore()

    def check(self, request: HTTPConnection, role: ApiRole) -> ApiKey:
        """The key of a request that needs this role.

        Raises:
            Refused: 401 without a key or with a wrong one, 403 for one that may not, 429 while the
                address is locked out.
        """
        return self.check_text(request, request.headers.get(HEADER, ""), role)

    def check_text(self, request: HTTPConnection, text: str, role: ApiRole) -> ApiKey:
        """The same for a key that did not come in the header."""
        address = network_of(request.client.host if request.client else "")
        self._refuse_locked(address)
        if not text.strip():
            raise Refused(401, "Unauthorized", f"no key: send one in the header {HEADER}")
        key = self._keys.find(text)
        if key is None:
            self._wrong(address)
            raise Refused(
                401, "Unauthorized", "no key of this device: 'edge-voice keys api new' makes one"
            )
        if not key.role.may(role):
            raise Refused(
                403,
                "Forbidden",
                f"the key {key.name!r} has the role {key.role.value}, this needs {role.value}",
            )
        return key

    def tick(self) -> None:
        """Store lock-outs, and notice a request to lift them; to be called about every second."""
        try:
            if self._state.get(LIFT_KEY) is not None:
                self._state.put(LIFT_KEY, None)
                with self._lock:
                    self._known.clear()
                    self._all = _Caller()
                    self._unwritten = True
            if self._unwritten:
                self._unwritten = False
                self._state.put(STATE_KEY, self._as_text())
        except StoreError as error:
            self._unwritten = True
            _log.debug("lock-outs of addresses are not stored: %s", error)

    def _refuse_locked(self, address: str) -> None:
        with self._lock:
            known = self._known.get(address)
            left_s = known.until - self._clock() if known is not None else 0.0
        if left_s > 0.0:
            raise Refused(
                429,
                "TooManyRequests",
                f"too many wrong keys from this address: wait {math.ceil(left_s)} s",
                left_s,
            )

    def _wrong(self, address: str) -> None:
        with self._lock:
            now = self._clock()
            caller = self._known.pop(address, None) or _Caller(at=now)
            self._known[address] = caller  # the newest is the last one
            while len(self._known) > MOST_ADDRESSES:
                self._known.popitem(last=False)
            caller.add(now)
            self._all.add(now)
            if now < caller.until:  # several came at once
                return
            # Rounded up: a moment after the first, five are a little less than five.
            many = math.ceil(self._all.wrong) > WRONG_IN_ALL
            if math.ceil(caller.wrong) < (1 if many else WRONG_AT_ONCE):
                return
            length_s = min(LONGEST_S, FIRST_S * 2.0 ** min(caller.round, 16))
            caller.wrong, caller.round, caller.until = 0.0, caller.round + 1, now + length_s
            self._unwritten = True
        if not many:  # else an attack from many addresses would fill the log
            _log.warning("wrong keys from %s: locked out for %.0f s", address, length_s)
            detail: dict[str, Detail] = {"by": "http", "reason": "wrong_keys", "from": address}
            self._record(Event(EventKind.COMMAND_REFUSED, {**detail, "seconds": length_s}))

    def _as_text(self) -> str | None:
        with self._lock:
            now = self._clock()
            locked = {
                address: [caller.round, caller.until - now]
                for address, caller in self._known.items()
                if caller.until > now
            }
        if not locked:
            return None
        worst = sorted(locked, key=lambda address: locked[address][1])[-_MOST_KEPT:]
        content = {address: locked[address] for address in worst}
        return json.dumps({"boot": self._boot, "clock_s": now, "locked": content})

    def _restore(self) -> OrderedDict[str, _Caller]:
        known: OrderedDict[str, _Caller] = OrderedDict()
        now = self._clock()
        try:
            text = self._state.get(STATE_KEY)
            if text is None:
                return known
            found = json.loads(text)
            gone_s = 0.0
            if self._boot and found["boot"] == self._boot:
                gone_s = max(0.0, now - float(found["clock_s"]))
            for address, (number, left_s) in found["locked"].items():
                until = now + min(float(left_s) - gone_s, LONGEST_S)
                known[str(address)] = _Caller(round=int(number), until=until, at=now)
        except (StoreError, ValueError, KeyError, TypeError, AttributeError) as error:
            # It is about a minute or an hour, and keys cannot be guessed.
            _log.warning("stored lock-outs of addresses cannot be read: %s", error)
        return known


def waiting_as(request: HTTPConnection, key: ApiKey) -> str:
    """Whose turn it is for `Recognizer.run`: one key may be in use on several machines."""
    return f"{key.id} {network_of(request.client.host if request.client else '')}"

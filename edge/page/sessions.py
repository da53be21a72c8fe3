"""Who is signed in: in memory, so that a restart of the server ends every session."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge.store.api_keys import ApiKey, ApiKeys, ApiRole
from edge.uptime import uptime

IDLE_S = 900.0
"""Without a request for this long a session ends."""
LONGEST_S = 43200.0
MOST = 32
"""Sessions at once; of more, the one that was idle for longest ends."""
_RANDOM_BYTES = 32


@dataclass
class BrowserSession:
    """A browser that is signed in.

    Attributes:
        key: the key that it signed in with.
        forgery_token: has to come with every change; no other site can read it.
        began_at, seen_at: on the sessions' clock, seconds.
        notice: what the next page says once.
        plan: what is about to be enrolled.
    """

    key: ApiKey
    forgery_token: str
    began_at: float
    seen_at: float
    notice: str = ""
    plan: object = None

    def knows(self, token: str) -> bool:
        """Whether a request has this session's token."""
        return hmac.compare_digest(token.encode(), self.forgery_token.encode())


class Sessions:
    """The sessions of a server, by the hash of their cookie; for any thread.

    Args:
        clock: seconds, also while the machine sleeps.
    """

    def __init__(self, clock: Callable[[], float] = uptime) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[str, BrowserSession] = {}

    def begin(self, key: ApiKey) -> str:
        """Sign in; the cookie, which is kept nowhere."""
        cookie = secrets.token_urlsafe(_RANDOM_BYTES)
        now = self._clock()
        session = BrowserSession(key, secrets.token_urlsafe(_RANDOM_BYTES), now, now)
        with self._lock:
            self._forget_old(now)
            while len(self._sessions) >= MOST:
                idle = min(self._sessions, key=lambda each: self._sessions[each].seen_at)
                del self._sessions[idle]
            self._sessions[_hash(cookie)] = session
        return cookie

    def find(self, cookie: str, keys: ApiKeys, *, touch: bool = True) -> BrowserSession | None:
        """The session of a cookie; None where there is none, it is over, or its key is revoked.

        Args:
            touch: whether somebody is there; not where a page only stays open.

        Raises:
            StoreError: the keys cannot be read.
        """
        now = self._clock()
        with self._lock:
            self._forget_old(now)
            session = self._sessions.get(_hash(cookie))
        if session is None:
            return None
        if not any(
            key.id == session.key.id and key.role.may(ApiRole.MANAGE) for key in keys.list()
        ):
            self.end(cookie)
            return None
        if touch:
            session.seen_at = now
        return session

    def end(self, cookie: str) -> None:
        """Sign out; a cookie that is none does nothing."""
        with self._lock:
            self._sessions.pop(_hash(cookie), None)

    def _forget_old(self, now: float) -> None:
        over = [
            name
            for name, session in self._sessions.items()
            if now - session.seen_at >= IDLE_S or now - session.began_at >= LONGEST_S
        ]
        for name in over:
            del self._sessions[name]


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()

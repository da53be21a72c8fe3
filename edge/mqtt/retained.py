"""The messages that the broker keeps, brought up to date on one connection."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from edge.mqtt.link import Link
from edge.mqtt.outbox import now
from edge.mqtt.topics import Topics

_GAP_S = 0.25
"""A text that changes all the time is sent so often at most, in its latest version."""
_AGAIN_S = 5.0
"""Whoever asks for everything to be said again, however often, is heard once in this time."""
_MOST = 16
_MOST_ANNOUNCED = 128

_log = logging.getLogger(__name__)


class Retained:
    """What the broker should keep of this device; any thread may use it.

    Args:
        topics: the device's.
        status: what the status says to begin with.
    """

    def __init__(self, topics: Topics, status: Mapping[str, Any]) -> None:
        self._topics = topics
        self._lock = threading.Lock()
        self._status = dict(status)
        self._texts: dict[str, str] = {}
        self._announced: dict[str, str] = {}

    @property
    def status(self) -> dict[str, Any]:
        """What `set_status` has made of the status so far."""
        with self._lock:
            return dict(self._status)

    def set_status(self, fields: Mapping[str, Any]) -> None:
        """Change fields of the status; None takes one out.

        Raises:
            TypeError: a value that JSON cannot hold.
            ValueError: a value that JSON cannot hold (NaN), or the field `state`.
        """
        if "state" in fields:
            raise ValueError("the state is online while the connection stands; it cannot be set")
        json.dumps(fields, allow_nan=False)
        with self._lock:
            self._status.update(fields)
            for name in [name for name, value in self._status.items() if value is None]:
                del self._status[name]

    def put(self, suffix: str, text: str) -> None:
        """Keep a text on one of the device's own topics.

        Raises:
            ValueError: too many topics.
        """
        with self._lock:
            if suffix not in self._texts and len(self._texts) >= _MOST:
                raise ValueError("too many retained topics")
            self._texts[suffix] = text

    def announce(self, texts: Mapping[str, str]) -> None:
        """Keep these texts on topics that are not the device's own.

        Raises:
            ValueError: too many topics, or one that nobody can publish on.
        """
        if len(texts) > _MOST_ANNOUNCED:
            raise ValueError("too many topics to announce on")
        for topic in texts:
            if not topic or any(sign in topic for sign in "+#\0") or topic.startswith("$"):
                raise ValueError(f"{topic!r} is no topic to publish on")
        with self._lock:
            self._announced = dict(texts)

    def current(self, dropped_decisions: int) -> dict[str, str]:
        """The texts as they should be, by topic; the status first."""
        with self._lock:
            fields = {"state": "online", **self._status, "dropped_decisions": dropped_decisions}
            status = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
            texts = {self._topics.status: status}
            texts.update((self._topics.below(name), text) for name, text in self._texts.items())
            texts.update(self._announced)
        return texts


class Announcer:
    """Sends each text when it is new on this connection or has changed, one at a time.

    Args:
        link: the connection.
        current: the texts as they should be, by topic.

    Attributes:
        complete: whether the broker has answered to all of them as they were last looked at.
    """

    def __init__(self, link: Link, current: Callable[[], Mapping[str, str]]) -> None:
        self.complete = False
        self._link = link
        self._current = current
        self._said: dict[str, tuple[str, float]] = {}
        self._asked: tuple[int, str] | None = None
        self._began = now()
        self._again = False
        self._complained = False

    def again(self) -> None:
        """Say everything once more, but no sooner than some seconds after the last time."""
        self._again = True

    def step(self) -> float:
        """Send what is due.

        Returns:
            Seconds until the next one is due, if nothing happens before.

        Raises:
            LinkLost: the line broke.
        """
        if self._asked is not None and not self._answered(*self._asked):
            return 1.0
        wait = 1.0
        if self._again:
            wait = min(wait, self._began + _AGAIN_S - now())
            if wait <= 0:
                self._again = False
                self._began = now()
                self._said.clear()
        complete = True
        for topic, text in self._current().items():
            said, at = self._said.get(topic, (None, 0.0))
            if text == said:
                continue
            complete = self.complete = False
            due = at + _GAP_S - now()
            if due <= 0:
                self._asked = (self._link.publish(topic, text, retain=True), topic)
                self._said[topic] = (text, now())
                return 1.0
            wait = min(wait, due)
        self.complete = complete
        return max(0.0, wait)

    def _answered(self, number: int, topic: str) -> bool:
        answer = self._link.answers.pop(number, None)
        if answer is None:
            return False
        self._asked = None
        if answer.is_failure and not self._complained:
            self._complained = True
            _log.warning(
                "the broker refused what is to be kept on %s (%s); check its access list",
                topic,
                answer.getName(),
            )
        return True

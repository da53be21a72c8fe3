"""The messages that the broker keeps for later subscribers."""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

from edge.mqtt.link import Link
from edge.mqtt.outbox import now
from edge.mqtt.topics import Topics

_GAP_S = 0.25
"""A topic whose text keeps changing is published this often at most, with its latest text."""
_RESEND_S = 5.0
"""Everything is sent again this often at most, however often somebody asks for it."""
_MOST = 16
_MOST_ANNOUNCED = 2048
"""More than are withdrawn at once, after sixteen microphones were given up."""

_log = logging.getLogger(__name__)


class Retained:
    """What the broker should keep of this device; any thread may use it."""

    def __init__(self, topics: Topics, status: Mapping[str, Any]) -> None:
        self._topics = topics
        self._lock = threading.Lock()
        self._status = dict(status)
        self._texts: dict[str, str] = {}
        self._announced: dict[str, str] = {}

    @property
    def status(self) -> dict[str, Any]:
        """The fields of the status, as `set_status` has left them."""
        with self._lock:
            return dict(self._status)

    def set_status(self, fields: Mapping[str, Any]) -> None:
        """Change fields of the status; None removes one.

        Raises:
            TypeError: a value that JSON cannot hold.
            ValueError: NaN or infinity, or the field `state`.
        """
        if "state" in fields:
            raise ValueError("the state is online while the connection stands; it cannot be set")
        json.dumps(fields, allow_nan=False)
        with self._lock:
            self._status.update(fields)
            for name in [name for name, value in self._status.items() if value is None]:
                del self._status[name]

    def put(self, suffix: str, text: str) -> None:
        """Keep a text on a topic below BASE/DEVICE. Raises `ValueError` for too many topics."""
        with self._lock:
            if suffix not in self._texts and len(self._texts) >= _MOST:
                raise ValueError("too many retained topics")
            self._texts[suffix] = text

    def announce(self, texts: Mapping[str, str]) -> None:
        """Keep texts on topics outside BASE/DEVICE. Raises `ValueError` for bad or too many."""
        if len(texts) > _MOST_ANNOUNCED:
            raise ValueError("too many topics to announce on")
        for topic in texts:
            if not topic or any(sign in topic for sign in "+#\0") or topic.startswith("$"):
                raise ValueError(f"cannot publish on {topic!r}")
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


class RetainedSync:
    """Publishes new or changed texts, one at a time; `complete` once the broker answered to all."""

    def __init__(self, link: Link, current: Callable[[], Mapping[str, str]]) -> None:
        self.complete = False
        self._link = link
        self._current = current
        self._sent: dict[str, tuple[str, float]] = {}
        self._in_flight: tuple[int, str] | None = None
        self._sent_all_at = now()
        self._resend = False
        self._warned = False

    def resend(self) -> None:
        """Publish everything again, but no sooner than `_RESEND_S` after the last time."""
        self._resend = True

    def step(self) -> float:
        """Publish what is due; returns seconds until the next text is due. Raises `LinkLost`."""
        if self._in_flight is not None and not self._settled(*self._in_flight):
            return math.inf
        wait = math.inf
        if self._resend:
            wait = self._sent_all_at + _RESEND_S - now()
            if wait <= 0:
                self._resend = False
                self._sent_all_at = now()
                self._sent.clear()
        complete = True
        for topic, text in self._current().items():
            sent, at = self._sent.get(topic, (None, -math.inf))
            if text == sent:
                continue
            complete = self.complete = False
            due = at + _GAP_S - now()
            if due <= 0:
                self._in_flight = (self._link.publish(topic, text, retain=True), topic)
                self._sent[topic] = (text, now())
                return math.inf
            wait = min(wait, due)
        self.complete = complete
        return wait

    def _settled(self, number: int, topic: str) -> bool:
        answer = self._link.answers.pop(number, None)
        if answer is None:
            return False
        self._in_flight = None
        if answer.is_failure and not self._warned:
            self._warned = True
            _log.warning(
                "the broker refused a retained message on %s (%s); check its access list",
                topic,
                answer.getName(),
            )
        return True

"""The messages that the broker keeps, brought up to date on one connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable, Optional

from edge.mqtt.link import Link
from edge.mqtt.outbox import now

_GAP_S = 0.25
"""A text that changes all the time is sent so often at most, in its latest version."""


class Announcer:
    """Sends each text when it is new on this connection or has changed, one at a time.

    Args:
        link: the connection.
        current: the texts as they should be, by topic.
    """

    def __init__(self, link: Link, current: Callable[[], Mapping[str, str]]) -> None:
        self._link = link
        self._current = current
        self._said: dict[str, tuple[str, float]] = {}
        self._asked: Optional[int] = None

    def step(self) -> float:
        """Send what is due.

        Returns:
            Seconds until the next one is due, if nothing happens before.

        Raises:
            LinkLost: the line broke.
        """
        if self._asked is not None:
            if self._link.answers.pop(self._asked, None) is None:
                return 1.0
            self._asked = None
        wait = 1.0
        for topic, text in self._current().items():
            said, at = self._said.get(topic, (None, 0.0))
            if text == said:
                continue
            due = at + _GAP_S - now()
            if due <= 0:
                self._asked = self._link.publish(topic, text, retain=True)
                self._said[topic] = (text, now())
                return 1.0
            wait = min(wait, due)
        return wait

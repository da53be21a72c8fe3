"""Hands messages to one connection, one at a time, so that no decision can arrive late.

Three things keep a decision from being delivered after its lifetime:

- It leaves the outbox only over a line that answered a moment ago. Where nothing was heard for a
  while, the broker is asked for a sign of life first; a decision written to a frozen broker would
  lie in its socket buffer and be read whenever it wakes.
- The next one waits until the broker has confirmed the one before. When the confirmation does not
  come, the connection is aborted, which throws away what this machine has not sent yet; the
  decision is offered again on the next connection while it lives.
- A broker that speaks MQTT 5 is told how long it may keep the decision for an absent receiver.

What remains is a broker that freezes in the moment after it has answered: the decision is in its
hands then, and it publishes it when it wakes. A decision carries its time and its lifetime for this
case; a receiver that opens a door should compare them with its own clock.

A broker that speaks MQTT 5 also says when nobody was there to receive: right after its restart the
lock may come back later than this device. The decision is then offered again while it lives.
"""

from __future__ import annotations

import logging

from edge.mqtt.link import Link, LinkLost
from edge.mqtt.outbox import Outbox, Outgoing, now
from edge.mqtt.topics import Topics

_FRESH_S = 0.05
_IDLE_WAIT_S = 1.0
_UNHEARD_WAIT_S = 0.25

_log = logging.getLogger(__name__)


class Delivery:
    """What is under way on one connection.

    Attributes:
        confirmed: decisions that the broker has taken on this connection.
    """

    def __init__(self, link: Link, outbox: Outbox, topics: Topics) -> None:
        self.confirmed = 0
        self._link = link
        self._outbox = outbox
        self._topics = topics
        self._flight: tuple[Outgoing, int] | None = None
        self._asked_at: float | None = None
        self._told: set[str] = set()

    def step(self) -> float:
        """Do what can be done now.

        Returns:
            Seconds until the next step is due, if nothing happens before.

        Raises:
            LinkLost: the line can no longer be trusted, or broke.
        """
        if self._flight is not None and not self._landed(*self._flight):
            return max(0.0, self._flight[0].remaining_s)
        entry = self._outbox.head()
        if entry is None:
            self._asked_at = None
            due = self._outbox.next_s()
            return _IDLE_WAIT_S if due is None else min(due, _IDLE_WAIT_S)
        if not self._line_is_fresh():
            return entry.remaining_s
        lifetime = entry.remaining_s
        topic = self._topics.below(entry.suffix)
        number = self._link.publish(topic, entry.payload, retain=False, lifetime_s=lifetime)
        self._flight = (entry, number)
        return lifetime

    def _line_is_fresh(self) -> bool:
        if now() - self._link.heard_at <= _FRESH_S:
            self._asked_at = None
            return True
        if self._asked_at is None:
            self._asked_at = now()
            self._link.probe()
        return False

    def _landed(self, entry: Outgoing, number: int) -> bool:
        answer = self._link.answers.pop(number, None)
        if answer is None:
            if entry.remaining_s <= 0:
                raise LinkLost("the broker did not confirm a message in time")
            return False
        self._flight = None
        if answer.is_failure:
            why = f"the broker refused it ({answer.getName()}); check its access list"
            self._outbox.refuse(entry, why)
        elif answer.getName() == "No matching subscribers" and not entry.expendable:
            self._unheard(entry)
        else:
            self._outbox.remove(entry)
            self.confirmed += entry.is_decision
        return True

    def _unheard(self, entry: Outgoing) -> None:
        topic = self._topics.below(entry.suffix)
        self._outbox.blame(entry, f"nobody subscribes to {topic}")
        self._outbox.hold(entry, _UNHEARD_WAIT_S)
        if topic not in self._told:
            self._told.add(topic)
            what = "decisions reach" if entry.is_decision else "its messages reach"
            _log.warning("nobody subscribes to %s; %s nobody", topic, what)

"""A subscriber like any other in the home: hears the device's status and its decisions."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.errors import EnvironmentFault
from edge.mqtt.topics import Topics

_CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Arrival:
    """A decision as it came over MQTT.

    Attributes:
        decision: the payload.
        at: `time.monotonic()` when it was there.
        clock: `time.time()` then.
    """

    decision: dict[str, Any]
    at: float
    clock: float


class DecisionSubscriber:
    """Subscribed while used as a context manager.

    Raises:
        EnvironmentFault: the broker does not answer.
    """

    def __init__(self, host: str, port: int, topics: Topics) -> None:
        self._host, self._port, self._topics = host, port, topics
        self._arrivals: queue.Queue[Arrival] = queue.Queue()
        self._subscribed = threading.Event()
        self._changed = threading.Condition()
        self._status: dict[str, Any] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="edge-voice-demo")
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message

    def __enter__(self) -> DecisionSubscriber:
        try:
            self._client.connect(self._host, self._port)
        except OSError as error:
            raise EnvironmentFault(f"the demo's MQTT broker does not answer: {error}") from error
        self._client.loop_start()
        if not self._subscribed.wait(_CONNECT_TIMEOUT_S):
            self.__exit__()
            raise EnvironmentFault("the demo's MQTT broker does not answer")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_for(
        self,
        condition: Callable[[dict[str, Any]], bool],
        timeout_s: float,
        worth_it: Callable[[], bool],
    ) -> bool:
        """Wait until what the device says of itself fulfills a condition.

        Args:
            condition: given the latest status; empty until there is one.
            timeout_s: how long at most.
            worth_it: asked every now and then; false ends the wait.

        Returns:
            Whether it does.
        """
        give_up = time.monotonic() + timeout_s
        with self._changed:
            while not condition(self._status):
                if time.monotonic() >= give_up or not worth_it():
                    return False
                self._changed.wait(0.1)
        return True

    def next_decision(self, timeout_s: float) -> Arrival | None:
        """Wait for the next decision; None when none came in time."""
        try:
            return self._arrivals.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None

    def rest(self) -> list[Arrival]:
        """The decisions that have come and were not asked for."""
        return list(iter(lambda: self.next_decision(0.0), None))

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(self._topics.status, 1), (self._topics.decision, 1)])

    def _on_subscribe(self, *_: Any) -> None:
        self._subscribed.set()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        at, clock = time.monotonic(), time.time()
        try:
            content = json.loads(message.payload)
        except ValueError:
            return
        if not isinstance(content, dict):
            return
        if message.topic == self._topics.decision:
            self._arrivals.put(Arrival(content, at, clock))
        else:
            with self._changed:
                self._status = content
                self._changed.notify_all()


def is_online(status: dict[str, Any]) -> bool:
    """Whether a status says that the device is there."""
    return status.get("state") == "online"

"""The demo's MQTT broker, amqtt on a free port of the loopback interface, and its subscriber.

amqtt speaks MQTT 3.1.1 only: a client that connects with version 5 is not answered.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from paho.mqtt.client import MQTTMessage

from edge.config import Config
from edge.errors import EnvironmentFault
from edge.mqtt.session import Session, json_object
from edge.mqtt.topics import Topics

_HOST = "127.0.0.1"
_START_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 10.0


class DemoBroker:
    """A broker in its own thread, for anyone on this machine, without a password.

    Use it as a context manager; `host` and `port` are valid inside.

    Raises:
        EnvironmentFault: amqtt is not installed, or could not start.
    """

    def __init__(self) -> None:
        self.host = _HOST
        self.port = 0
        self._thread = threading.Thread(target=self._run, name="demo-broker", daemon=True)
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> DemoBroker:
        # amqtt logs every connection, and every client that leaves without a DISCONNECT.
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._thread.start()
        if not self._started.wait(_START_TIMEOUT_S):
            raise EnvironmentFault(
                f"the demo's MQTT broker did not start in {_START_TIMEOUT_S:.0f} s"
            )
        if isinstance(self._failure, ImportError):
            raise EnvironmentFault(
                f"the demo's MQTT broker is not installed ({self._failure}): pip install"
                " 'edge-voice[demo]', or run tools/demo in a checkout"
            )
        if self._failure is not None:
            raise EnvironmentFault(f"the demo's MQTT broker did not start: {self._failure}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._stop is not None:
            # The loop may have ended by itself, and closed.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter  # noqa: PLC0415
        from amqtt.broker import Broker  # noqa: PLC0415

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        configuration: dict[str, Any] = {
            # Listening is done here because amqtt does not report the port it was given.
            "listeners": {"default": {"type": "external"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
        broker = Broker(configuration)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await broker.external_connected(
                StreamReaderAdapter(reader), StreamWriterAdapter(writer), "default"
            )

        await broker.start()
        server = await asyncio.start_server(connected, _HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        await broker.shutdown()


class DecisionSubscriber(Session):
    """Receives the status and the decisions of one device."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.mqtt, "demo")
        self._topics = Topics(config.mqtt.base_topic, config.device.id)

    def __enter__(self) -> DecisionSubscriber:
        super().__enter__()
        self.subscribe([self._topics.status, self._topics.decision])
        return self

    def wait_for_status(
        self,
        condition: Callable[[dict[str, Any]], bool],
        timeout_s: float,
        running: Callable[[], bool],
    ) -> bool:
        """Wait for a status that meets a condition; false once time is over or `running` is."""

        def meets(message: MQTTMessage) -> bool | None:
            status = message.topic == self._topics.status
            return (status and condition(json_object(message.payload))) or None

        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and running():
            if self.wait(meets, 0.1):
                return True
        return False

    def next_decision(self, timeout_s: float) -> tuple[MQTTMessage, dict[str, Any]] | None:
        """The next decision, as a message and as JSON; None when none came in time."""
        topic = self._topics.decision
        return self.wait(
            lambda each: (each.topic == topic and json_object(each.payload)) or None, timeout_s
        )

    def skip_decisions(self) -> int:
        """Drop the decisions that have arrived; returns how many."""
        return sum(1 for _ in iter(lambda: self.next_decision(0.0), None))


def is_online(status: dict[str, Any]) -> bool:
    """Whether a status says that the device is online."""
    return status.get("state") == "online"

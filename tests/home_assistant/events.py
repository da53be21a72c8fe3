"""What happens inside Home Assistant: its event bus, as it streams it over HTTP."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any

from tests.integration.waiting import PATIENCE


class Bus:
    """Keeps every event from now on, until Home Assistant stops and ends the stream itself."""

    def __init__(self, port: int, token: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.arrived = threading.Condition()
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/api/stream", headers={"Authorization": f"Bearer {token}"})
        self._answer = connection.getresponse()
        assert self._answer.status == 200
        self._answer.readline()  # the first is sent once it listens
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._answer:
            text = line.decode().strip().removeprefix("data: ")
            if text.startswith("{"):
                with self.arrived:
                    self.events.append(json.loads(text))
                    self.arrived.notify_all()


class Watch:
    """The data of the events of one type from now on."""

    def __init__(self, bus: Bus, event: str) -> None:
        self._bus = bus
        self._event = event
        with bus.arrived:
            self._first = len(bus.events)

    def of(self, **wanted: Any) -> list[dict[str, Any]]:
        """Those in which these members are such."""
        with self._bus.arrived:
            return [
                each["data"]
                for each in self._bus.events[self._first :]
                if each["event_type"] == self._event
                and all(each["data"].get(name) == value for name, value in wanted.items())
            ]

    def wait_for(self, **wanted: Any) -> dict[str, Any]:
        """The first one in which these members are such."""
        with self._bus.arrived:
            came = self._bus.arrived.wait_for(lambda: self.of(**wanted), PATIENCE)
        assert came, f"no {wanted}: {self.of()}"
        return came[0]

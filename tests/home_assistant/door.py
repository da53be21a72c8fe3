"""A door as Home Assistant shows it: its entities by what they are for, and what is said at it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.home_assistant.home_assistant import HomeAssistant
from tests.integration.broker import Broker, Subscriber
from tests.integration.house import feed, speak, stop
from tests.integration.test_signed_service import SignedHouse

SHOWN = {
    "access": "event",
    "last_person": "sensor",
    "confidence": "sensor",
    "enrolled": "sensor",
    "enrollment": "sensor",
    "sound_level": "sensor",
    "microphone": "sensor",
    "problem": "binary_sensor",
    "lockout": "binary_sensor",
}
"""Entities that only show something, and the kind of each."""
COMMANDING = {
    "listening": "switch",
    "enroll_person": "text",
    "enroll": "button",
    "enroll_cancel": "button",
    "enroll_confirm": "button",
    "lift_lockout": "button",
    "lock_out": "button",
}
"""Entities that tell the device something; each is there once its command is allowed."""


class Door(SignedHouse):
    """A device of a name of its own, announced to Home Assistant, with Ada enrolled.

    Args:
        folder: where everything of it goes.
        broker: the one that Home Assistant is connected to.
        home: Home Assistant.
        device: the device's id.
        allowed: the plain commands that are allowed; all of them if None.
        sections: other sections of the configuration.
    """

    def __init__(
        self,
        folder: Path,
        broker: Broker,
        home: HomeAssistant,
        device: str,
        *,
        allowed: Iterable[str] | None = None,
        **sections: Any,
    ) -> None:
        super().__init__(folder, broker, **sections)
        self.home = home
        self.device = device
        self.service: subprocess.Popen[bytes] | None = None
        settings = yaml.safe_load(self.config.read_text())
        settings["device"] = {"id": device, "name": device.replace("-", " ").capitalize()}
        settings["homeassistant"] = {"discovery": True, "sound_interval_s": 1.0}
        self.config.write_text(yaml.safe_dump(settings))
        self.allow(COMMANDING if allowed is None else allowed)

    @property
    def name(self) -> str:
        """What people call it."""
        return str(yaml.safe_load(self.config.read_text())["device"]["name"])

    def allow(self, names: Iterable[str]) -> None:
        """Allow these plain commands and no other, from the next start on."""
        settings = yaml.safe_load(self.config.read_text())
        settings["commands"]["unsigned"] = dict.fromkeys(names, True)
        self.config.write_text(yaml.safe_dump(settings))

    def entity(self, purpose: str) -> str:
        """What Home Assistant calls the entity."""
        kind = SHOWN.get(purpose) or COMMANDING[purpose]
        return f"{kind}.edge_voice_{self.device.replace('-', '_')}_{purpose}"

    def open(self) -> None:
        """Start the service and wait until Home Assistant shows that it listens."""
        self.service = self.start("--input", "-")
        feed(self.service, np.zeros(16_000))
        self.home.wait_for(self.entity("microphone"), "listening")

    def close(self) -> None:
        """Stop the service, where it runs."""
        if self.service is not None:
            stop(self.service)
            self.service = None

    def cut_power(self) -> None:
        """SIGKILL: no farewell."""
        assert self.service is not None
        self.service.kill()
        self.service.wait()
        self.service = None

    def hear(self, recording: str) -> dict[str, Any]:
        """Say a recording of the demo and wait for Home Assistant's event.

        Returns:
            The attributes of the event.
        """
        before = self.home.state(self.entity("access"))
        assert self.service is not None
        assert before is not None
        speak(self.service, recording)
        event = self.home.wait_for(
            self.entity("access"), lambda now: now["state"] != before["state"]
        )
        return dict(event["attributes"])

    def wait_for(self, purpose: str, wanted: Any) -> dict[str, Any]:
        """The entity once its state is as wanted."""
        return self.home.wait_for(self.entity(purpose), wanted)

    def tap(self, service: str, purpose: str, **content: Any) -> None:
        """Do what a tap on the entity does."""
        self.home.call(service, self.entity(purpose), **content)

    def shown(self) -> dict[str, str]:
        """State by entity id, of all of this device's entities that Home Assistant has."""
        start = f".edge_voice_{self.device.replace('-', '_')}_"
        states = {str(got["entity_id"]): str(got["state"]) for got in self.home.get("states")}
        return {name: state for name, state in states.items() if start in name}


def announced(listener: Subscriber, device: str) -> set[str]:
    """On which topics the device is announced by now."""
    latest = {
        message.topic: message.text
        for message in listener.on("/config")
        if f"/edge_voice_{device}/" in message.topic
    }
    return {topic for topic, text in latest.items() if text}

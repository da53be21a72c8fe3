"""The MQTT topics of a device.

BASE/DEVICE/status    retained; JSON with "state": "online" or "offline" and the device's condition
BASE/DEVICE/decision  never retained; one `AccessDecision` as JSON
BASE/DEVICE/command   signed commands to the device; see edge/mqtt/commands.py
BASE/DEVICE/command/result  never retained; the answer to each
BASE/DEVICE/set/+     unsigned commands, each only if the configuration allows it
BASE/DEVICE/sound     never retained; the sound level, where Home Assistant discovery is on
BASE/DEVICE/speaker   never retained, QoS 0; who speaks, where identification is on
BASE/DEVICE/utterance never retained, QoS 0; who spoke, once it is over
"""

from __future__ import annotations

from dataclasses import dataclass

OFFLINE = '{"state":"offline"}'
"""The retained status of a device that is offline: its will, and its last message on stopping."""


@dataclass(frozen=True)
class Topics:
    """The topics of one device; `base` is the first levels of all, such as `edge-voice`."""

    base: str
    device_id: str

    @property
    def status(self) -> str:
        """Whether the device is online, and its condition; retained."""
        return self.below("status")

    @property
    def decision(self) -> str:
        """Decisions; never retained."""
        return self.below("decision")

    def below(self, suffix: str) -> str:
        """A topic below BASE/DEVICE; the suffix may have several levels."""
        return f"{self.base}/{self.device_id}/{suffix}"

    def suffix(self, topic: str) -> str:
        """The part of a topic below BASE/DEVICE; empty for one outside it."""
        start = self.below("")
        return topic[len(start) :] if topic.startswith(start) else ""

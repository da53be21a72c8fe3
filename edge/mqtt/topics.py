"""Where in the broker's tree what is published.

BASE/DEVICE/status    retained; JSON with "state": "online" or "offline" and how the device is
BASE/DEVICE/decision  never retained; one `AccessDecision` as JSON
BASE/DEVICE/command   what the device is told, signed; see edge/mqtt/commands.py
BASE/DEVICE/command/result  never retained; what became of it
BASE/DEVICE/set/+     what the device is told unsigned, each only if the configuration allows it
BASE/DEVICE/sound     never retained; how loud it is, where Home Assistant is told of the device

Other parts of the device publish below BASE/DEVICE under names of their own, and
what Home Assistant is told is elsewhere; see edge/mqtt/discovery.py.
"""

from __future__ import annotations

from dataclasses import dataclass

OFFLINE = '{"state":"offline"}'
"""The retained status of a device that is not there: its will, and its word when it stops."""


@dataclass(frozen=True)
class Topics:
    """The topics of one device.

    Attributes:
        base: first levels of every topic, such as `edge-voice`.
        device_id: the level that tells devices apart.
    """

    base: str
    device_id: str

    @property
    def status(self) -> str:
        """Whether the device is there and how it is; retained."""
        return self.below("status")

    @property
    def decision(self) -> str:
        """What was decided; never retained."""
        return self.below("decision")

    def below(self, suffix: str) -> str:
        """The device's topic of that name, which may have several levels."""
        return f"{self.base}/{self.device_id}/{suffix}"

    def suffix(self, topic: str) -> str:
        """What stands below the device in a topic; empty for one of another device."""
        start = self.below("")
        return topic[len(start) :] if topic.startswith(start) else ""

"""Where in the broker's tree what is published.

BASE/DEVICE/status    retained; JSON with "state": "online" or "offline" and how the device is
BASE/DEVICE/decision  never retained; one `AccessDecision` as JSON
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
        return f"{self.base}/{self.device_id}/status"

    @property
    def decision(self) -> str:
        """What was decided; never retained."""
        return f"{self.base}/{self.device_id}/decision"

"""The settings of Home Assistant's discovery."""

from __future__ import annotations

from dataclasses import dataclass

from edge.config.broker import TOPIC
from edge.config.rules import setting


@dataclass(frozen=True)
class HomeAssistantConfig:
    """Whether Home Assistant finds this device by itself, over the same broker."""

    discovery: bool = setting(
        False,
        "Whether to announce the device to Home Assistant. It then has entities for its decisions,"
        " for how the device is, and for each plain command that `commands.unsigned` allows.",
    )
    prefix: str = setting(
        "homeassistant",
        "First part of the topics that Home Assistant looks for devices on; the one in its own MQTT"
        " settings.",
        pattern=TOPIC,
        pattern_doc="topic levels between single slashes, without + and #, not starting with $",
    )
    sound_interval_s: float = setting(
        10.0,
        "How often the sound level is published while `discovery` is on.",
        unit="s",
        least=1.0,
        most=3600.0,
    )

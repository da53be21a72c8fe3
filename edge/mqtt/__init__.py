"""How the home is told."""

from edge.mqtt.client import MqttPublisher, PublisherCounters
from edge.mqtt.desk import CommandDesk, CommandFailed
from edge.mqtt.topics import OFFLINE, Topics

__all__ = [
    "OFFLINE",
    "CommandDesk",
    "CommandFailed",
    "MqttPublisher",
    "PublisherCounters",
    "Topics",
]

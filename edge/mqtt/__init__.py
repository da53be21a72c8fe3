"""MQTT: publishes decisions and status, receives commands."""

from edge.mqtt.command_queue import CommandFailed, CommandQueue
from edge.mqtt.publisher import MqttPublisher, PublisherCounters
from edge.mqtt.topics import OFFLINE, Topics

__all__ = [
    "OFFLINE",
    "CommandFailed",
    "CommandQueue",
    "MqttPublisher",
    "PublisherCounters",
    "Topics",
]

"""How the home is told."""

from edge.mqtt.client import MqttPublisher, PublisherCounters
from edge.mqtt.topics import OFFLINE, Topics

__all__ = ["OFFLINE", "MqttPublisher", "PublisherCounters", "Topics"]

"""Settings: one commented YAML file in, frozen dataclasses out."""

from edge.config.audit import AuditConfig
from edge.config.broker import MqttConfig, TlsConfig
from edge.config.loading import find_config, load_config, parse_config
from edge.config.rules import Rule
from edge.config.settings import (
    AccessConfig,
    AudioConfig,
    Config,
    DeviceConfig,
    EnrolmentConfig,
    RecognitionConfig,
    SecurityConfig,
    Setting,
    all_settings,
)

__all__ = [
    "AccessConfig",
    "AudioConfig",
    "AuditConfig",
    "Config",
    "DeviceConfig",
    "EnrolmentConfig",
    "MqttConfig",
    "RecognitionConfig",
    "Rule",
    "SecurityConfig",
    "Setting",
    "TlsConfig",
    "all_settings",
    "find_config",
    "load_config",
    "parse_config",
]

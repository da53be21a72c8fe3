"""Settings: one commented YAML file in, frozen dataclasses out."""

from edge.config.audit import AuditConfig
from edge.config.broker import MqttConfig, TlsConfig
from edge.config.challenge import ChallengeConfig
from edge.config.commands import CommandsConfig, UnsignedConfig
from edge.config.homeassistant import HomeAssistantConfig
from edge.config.loading import find_config, load_config, parse_config
from edge.config.lockout import LockOutConfig
from edge.config.metrics import MetricsConfig
from edge.config.replay import ReplayConfig
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
from edge.config.signing import SigningConfig
from edge.config.store import StoreConfig

__all__ = [
    "AccessConfig",
    "AudioConfig",
    "AuditConfig",
    "ChallengeConfig",
    "CommandsConfig",
    "Config",
    "DeviceConfig",
    "EnrolmentConfig",
    "HomeAssistantConfig",
    "LockOutConfig",
    "MetricsConfig",
    "MqttConfig",
    "RecognitionConfig",
    "ReplayConfig",
    "Rule",
    "SecurityConfig",
    "Setting",
    "SigningConfig",
    "StoreConfig",
    "TlsConfig",
    "UnsignedConfig",
    "all_settings",
    "find_config",
    "load_config",
    "parse_config",
]

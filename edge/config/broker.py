"""The settings of the connection to the broker."""

# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.config.rules import section, setting

TOPIC = r"(?!\$)[^+#/]+(/[^+#/]+)*"
"""Levels of a topic that somebody may publish to."""


@dataclass(frozen=True)
class TlsConfig:
    """Encryption of the connection to the broker."""

    enabled: bool = setting(
        False, "Whether to encrypt. The broker's certificate is always verified."
    )
    ca_file: Path | None = setting(
        None,
        "PEM file with the certificate authority that signed the broker's certificate.",
        empty="the system's certificate authorities",
    )
    cert_file: Path | None = setting(
        None, "PEM file with this device's own certificate.", empty="none is shown to the broker"
    )
    key_file: Path | None = setting(
        None, "PEM file with the key of `cert_file`.", empty="no certificate is shown"
    )


@dataclass(frozen=True)
class MqttConfig:
    """The broker that decisions are published to."""

    enabled: bool = setting(True, "Whether to publish at all.")
    host: str = setting(
        "localhost",
        "Name or address of the broker.",
        pattern=r"[^\s/@]{1,253}",
        pattern_doc="a host name or an address, without mqtt:// and without a port",
    )
    port: int | None = setting(
        None, "Port of the broker.", least=1, most=65535, empty="1883, or 8883 with TLS"
    )
    username: str | None = setting(
        None,
        "User name at the broker.",
        pattern=r".{1,256}",
        pattern_doc="1 to 256 characters",
        empty="no user name is sent",
    )
    password_file: Path | None = setting(
        None,
        "File whose only line is the password; others must not be able to read it. A bare name"
        " is first looked for among the service's systemd credentials.",
        empty="no password is sent",
    )
    tls: TlsConfig = section(TlsConfig, "Encryption of the connection to the broker.")
    base_topic: str = setting(
        "edge-voice",
        "First part of every topic: BASE/DEVICE/status and BASE/DEVICE/decision.",
        pattern=TOPIC,
        pattern_doc="topic levels between single slashes, without + and #, not starting with $",
    )
    keepalive_s: int = setting(
        30,
        "How often the connection proves that it is alive. A silent one is given up, and the"
        " broker tells the home that the device is offline, after one and a half times this.",
        unit="s",
        least=5,
        most=3600,
    )
    protocol: str = setting(
        "auto",
        "Version of MQTT. With 5 a broker also drops decisions that a receiver was not there for"
        " in time; auto falls back to 3.1.1 for a broker that does not answer to 5.",
        choices=("auto", "5", "3.1.1"),
    )
    client_id: str | None = setting(
        None,
        "Name of the connection at the broker; two clients with one name throw each other out.",
        pattern=r"[A-Za-z0-9_.:-]{1,128}",
        pattern_doc="1 to 128 letters, digits, or one of - _ . :",
        empty="edge-voice-DEVICE",
    )
    reconnect_max_s: float = setting(
        10.0,
        "Longest wait between two attempts to reach the broker; it starts at half a second and"
        " doubles.",
        unit="s",
        least=1.0,
        most=600.0,
    )

    @property
    def broker_port(self) -> int:
        """The port to connect to, default filled in."""
        if self.port is not None:
            return self.port
        return 8883 if self.tls.enabled else 1883

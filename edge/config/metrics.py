"""The settings of the figures for Prometheus."""

# The helpers called as defaults return dataclasses.field(...), which the rule cannot see.

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from edge.config.rules import setting


@dataclass(frozen=True)
class MetricsConfig:
    """Figures of the running service for Prometheus."""

    enabled: bool = setting(
        False,
        "Whether to serve them at http://ADDRESS:PORT/metrics. Whoever has an account on this"
        " machine can read them: how often somebody came to the door, and when.",
    )
    address: str = setting(
        "127.0.0.1",
        "Address that they are served at; only this machine's own, 127.0.0.1 or ::1.",
        pattern=r"[0-9A-Fa-f.:]{2,45}",
        pattern_doc="127.0.0.1 or ::1",
    )
    port: int = setting(9789, "Port that they are served at.", least=1, most=65535)

    @property
    def stays_here(self) -> bool:
        """Whether the address is one that no other machine can reach."""
        try:
            return ipaddress.ip_address(self.address).is_loopback
        except ValueError:
            return False

"""The settings of the audit trail."""

from __future__ import annotations

from dataclasses import dataclass

from edge.config.rules import setting


@dataclass(frozen=True)
class AuditConfig:
    """How long what happened is kept; whichever limit is reached first."""

    days: int = setting(
        365, "Entries older than this are removed.", unit="days", least=1, most=3650
    )
    most_entries: int = setting(
        100_000, "Most entries; the oldest go first.", unit="entries", least=1000, most=500_000
    )
    most_mb: int = setting(32, "Most space they take.", unit="MB", least=1, most=1024)

"""Checks everything the service depends on; each module declares its texts at its top."""

from edge.doctor.examination import examine
from edge.doctor.finding import Finding, FindingKind, State

__all__ = ["Finding", "FindingKind", "State", "examine"]

"""Checks everything the service depends on, and says what to do where something is wrong.

Each module checks one subject and declares its findings at its top as `FindingKind`s, so that the
texts are in one place, each with a code of its own.
"""

from edge.doctor.examination import examine
from edge.doctor.finding import Finding, FindingKind, State

__all__ = ["Finding", "FindingKind", "State", "examine"]

"""What a setting may be, kept with the field that holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Rule:
    """What a setting may be, and what it is for.

    Attributes:
        doc: its meaning, in sentences for the person who sets it.
        unit: the unit of a number, empty for others.
        least: the smallest number allowed; None for no limit.
        most: the largest number allowed; None for no limit.
        choices: the words allowed; empty for any.
        pattern: a regular expression that the whole text must match; empty for any text.
        pattern_doc: the pattern in words.
        empty: what leaving it out (or null) means, for a setting whose default is None.
    """

    doc: str
    unit: str = ""
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    pattern_doc: str = ""
    empty: str = ""


def setting(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    pattern: str = "",
    pattern_doc: str = "",
    empty: str = "",
) -> Any:
    """A field of a settings dataclass, to be its default; the arguments are those of `Rule`."""
    rule = Rule(doc, unit, least, most, choices, pattern, pattern_doc, empty)
    return field(default=default, metadata={"rule": rule})


def section(kind: type, doc: str) -> Any:
    """A field that holds other settings, all of them at their defaults."""
    return field(default_factory=kind, metadata={"rule": Rule(doc)})

"""Findings, and the kinds of findings that a check declares."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class State(str, enum.Enum):
    """How something is."""

    RED = "red"
    """It does not work, or must be fixed."""
    YELLOW = "yellow"
    """It works, but not as well or as safely as it could."""
    GREEN = "green"
    """All is well."""
    SKIPPED = "skipped"
    """Not checked; the text says why."""


@dataclass(frozen=True)
class Finding:
    """One row; its fields are stable names in JSON, and hold nothing secret.

    `name` is what was checked (`broker_login`), `code` what was found (`broker_login.refused`); the
    remedy is empty if nothing has to be done.
    """

    name: str
    state: State
    found: str
    remedy: str
    code: str


@dataclass(frozen=True)
class FindingKind:
    """A kind of finding; call it to make one, with the fields of the two `str.format` templates."""

    code: str
    state: State
    found: str
    remedy: str = ""

    def __call__(self, **values: Any) -> Finding:
        """A finding with the templates filled in."""
        return Finding(
            self.code.partition(".")[0],
            self.state,
            self.found.format(**values),
            self.remedy.format(**values),
            self.code,
        )


def green(code: str, found: str) -> FindingKind:
    """All is well."""
    return FindingKind(code, State.GREEN, found)


def yellow(code: str, found: str, remedy: str) -> FindingKind:
    """Something should be done."""
    return FindingKind(code, State.YELLOW, found, remedy)


def red(code: str, found: str = "{found}", remedy: str = "{remedy}") -> FindingKind:
    """Something must be done; without texts, a kind for `from_error`."""
    return FindingKind(code, State.RED, found, remedy)


def skipped(code: str, found: str, remedy: str = "") -> FindingKind:
    """Not checked."""
    return FindingKind(code, State.SKIPPED, found, remedy)


def from_error(kind: FindingKind, error: Exception | str, prefix: str = "") -> Finding:
    """A finding of a kind without texts of its own, from an error message."""
    found, remedy = split_message(error)
    return kind(found=prefix + found, remedy=remedy)


def split_message(error: Exception | str) -> tuple[str, str]:
    """A message's `what is wrong; what to do` or `what is wrong: do this`, in two parts."""
    text = " ".join(str(error).split())
    for separator in ("; ", ": run ", ": put ", ": move ", ": try ", ": start "):
        wrong, found, remedy = text.rpartition(separator)
        if found:
            return wrong, (separator.strip(":; ") + " " + remedy).strip()
    return text, "fix that and check again"

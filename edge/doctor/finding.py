"""What was found, and what can be."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class State(str, enum.Enum):
    """How something is."""

    RED = "red"
    """It does not work, or must not stay so."""
    YELLOW = "yellow"
    """It works, but not as well or as safely as it could."""
    GREEN = "green"
    """As it must be."""
    SKIPPED = "skipped"
    """Not looked at; the text says why."""


@dataclass(frozen=True)
class Finding:
    """One row.

    Attributes:
        name: what was looked at, such as `broker_login`; several rows may have one name.
        state: how it is.
        found: what was found, for people; nothing secret.
        remedy: what to do; empty where nothing is to be done.
        code: which of the possible findings it is, such as `broker_login.refused`.
    """

    name: str
    state: State
    found: str
    remedy: str
    code: str

    def as_dict(self) -> dict[str, str]:
        """The row for programs; the keys stay as they are."""
        return {
            "name": self.name,
            "state": self.state.value,
            "found": self.found,
            "remedy": self.remedy,
            "code": self.code,
        }


@dataclass(frozen=True)
class Verdict:
    """A finding that is possible.

    Attributes:
        code: NAME.WHAT, in small letters.
        state: how it is then.
        found: the text, with places for what varies as in `str.format`.
        remedy: what to do then, with the same places.
    """

    code: str
    state: State
    found: str
    remedy: str = ""

    def __call__(self, **values: Any) -> Finding:
        """The finding, with what varies filled in."""
        return Finding(
            self.code.partition(".")[0],
            self.state,
            self.found.format(**values),
            self.remedy.format(**values),
            self.code,
        )


def green(code: str, found: str) -> Verdict:
    """A verdict by which nothing is to be done."""
    return Verdict(code, State.GREEN, found)


def yellow(code: str, found: str, remedy: str) -> Verdict:
    """A verdict by which something should be done."""
    return Verdict(code, State.YELLOW, found, remedy)


def red(code: str, found: str, remedy: str) -> Verdict:
    """A verdict by which something must be done."""
    return Verdict(code, State.RED, found, remedy)


def skipped(code: str, found: str, remedy: str = "") -> Verdict:
    """A verdict that there is none, and why."""
    return Verdict(code, State.SKIPPED, found, remedy)


def parted(error: Exception) -> tuple[str, str]:
    """What an error says is wrong, and what it says to do about it.

    Errors of this software are one line, `what is wrong; what to do` or `what is wrong: do this`;
    a few leave it at what is wrong.
    """
    text = " ".join(str(error).split())
    for separator in ("; ", ": run ", ": put ", ": move ", ": try ", ": start "):
        wrong, found, remedy = text.rpartition(separator)
        if found:
            return wrong, (separator.strip(":; ") + " " + remedy).strip()
    return text, "set that right, then look again"

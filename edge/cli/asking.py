"""Questions at the terminal, each with the answer that Enter gives."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from typing import TypeVar

from edge.cli.output import one_line
from edge.errors import InputError

_Answer = TypeVar("_Answer")


def ask(question: str, default: str, read: Callable[[str], _Answer]) -> _Answer:
    """Ask until the answer can be used.

    Args:
        question: a few words.
        default: what Enter answers; it is shown.
        read: turns the answer into what is wanted; raises `InputError` for one that cannot be used.

    Raises:
        InputError: the terminal was closed.
    """
    while True:
        sys.stderr.write(f"{question} [{one_line(default)}]: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise InputError("nobody answers any more; nothing was changed")
        try:
            return read(line.strip() or default)
        except InputError as error:
            say(f"  {error}")


def ask_whether(question: str, *, default: bool) -> bool:
    """Ask for yes or no. Raises as `ask` does."""

    def read(text: str) -> bool:
        if text.lower() in ("y", "yes"):
            return True
        if text.lower() in ("n", "no"):
            return False
        raise InputError("answer y or n")

    return ask(question, "y" if default else "n", read)


def ask_secret(question: str) -> str | None:
    """Ask for something that is not shown; None for no answer. Raises as `ask` does."""
    try:
        return getpass.getpass(f"{question}: ", stream=sys.stderr) or None
    except EOFError:
        raise InputError("nobody answers any more; nothing was changed") from None


def say(text: str) -> None:
    """A line beside the questions."""
    sys.stderr.write(one_line(text) + "\n")

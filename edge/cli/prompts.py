"""Questions at the terminal, each with the answer that Enter gives."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edge.cli.output import one_line, wrapped
from edge.errors import InputError, KeyFault

_Answer = TypeVar("_Answer")
_MAX_BYTES = 4096
_NO_ANSWER = "no answer; nothing was changed"


def ask(question: str, default: str, read: Callable[[str], _Answer]) -> _Answer:
    """Ask until `read` accepts; Enter gives the default. Raises `InputError` without a terminal."""
    while True:
        sys.stderr.write(wrapped(f"{question} [{one_line(default)}]:", sys.stderr) + " ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise InputError(_NO_ANSWER)
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
        prompt = wrapped(f"{question}:", sys.stderr) + " "
        return getpass.getpass(prompt, stream=sys.stderr) or None
    except EOFError:
        raise InputError(_NO_ANSWER) from None


def say(text: str) -> None:
    """Print a line beside the questions."""
    sys.stderr.write(wrapped(one_line(text), sys.stderr) + "\n")


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the person agrees, or `yes` was given. Raises `InputError` without a terminal."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError(f"{question} Not a terminal; use --yes")
    sys.stderr.write(wrapped(f"{question} [y/N]", sys.stderr) + " ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    sys.stderr.write("Nothing was changed.\n")
    return False


def add_passphrase_file(parser: argparse.ArgumentParser) -> None:
    """Add `--passphrase-file`."""
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        type=Path,
        help="read the passphrase from the first line of this file; - for standard input",
    )


def given_passphrase(file: Path | None, question: str, *, new: bool) -> str:
    """The passphrase in a file (`-` for standard input), or asked for; a new one is asked twice.

    Raises `InputError`, also without a terminal to ask at.
    """
    from edge.crypto.keys import ask_at_terminal

    if file is not None:
        return secret_line(file, "passphrase")
    try:
        passphrase = ask_at_terminal(question)
        again = ask_at_terminal("Repeat it") if new else passphrase
    except KeyFault as error:
        raise InputError(f"{error}; use --passphrase-file") from None
    if passphrase != again:
        raise InputError("the two passphrases differ: nothing was changed")
    return passphrase


def secret_line(file: Path, what: str, *, alone: bool = False) -> str:
    """The first line of a file, `-` for standard input; `alone` demands no other.

    Raises `InputError` if the file cannot be read, or holds no such line.
    """
    try:
        if str(file) == "-":
            content = sys.stdin.buffer.readline(_MAX_BYTES + 1)
        else:
            with file.open("rb") as handle:
                content = handle.read(_MAX_BYTES + 1) if alone else handle.readline(_MAX_BYTES + 1)
        text = content.decode("utf-8-sig").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{file}: cannot read the {what} ({reason})") from None
    if not text or len(content) > _MAX_BYTES or "\n" in text or "\0" in text:
        where = "as its only line" if alone else "in its first line"
        raise InputError(f"{file}: must hold the {what} {where}")
    return text

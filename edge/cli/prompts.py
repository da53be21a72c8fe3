"""Questions at the terminal, each with the answer that Enter gives."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
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


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the person at the terminal agrees.

    Args:
        question: what is about to be done.
        yes: they have agreed already, on the command line.

    Raises:
        InputError: nobody is there to be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError(f"{question} Nobody is there to answer: add --yes to do it")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    sys.stderr.write("Nothing was changed.\n")
    return False


_MAX_BYTES = 4096


def add_passphrase_file(parser: argparse.ArgumentParser) -> None:
    """Add `--passphrase-file`."""
    parser.add_argument(
        "--passphrase-file",
        metavar="FILE",
        type=Path,
        help="take the passphrase from the first line of this file; - is standard input",
    )


def given_passphrase(file: Path | None, question: str, *, new: bool) -> str:
    """The passphrase from a file, or from the person at the terminal.

    Args:
        file: the file, `-` for standard input; None asks.
        question: what it is for.
        new: whether it is a new one, which is asked for twice.

    Raises:
        InputError: the file cannot be read, or the two answers differ.
        KeyFault: nobody is there to be asked.
    """
    from edge.crypto.keys import ask_at_terminal

    if file is not None:
        return _first_line(file)
    passphrase = ask_at_terminal(question)
    if new and passphrase != ask_at_terminal("The same again"):
        raise InputError("the two passphrases differ: nothing was done")
    return passphrase


def _first_line(file: Path) -> str:
    try:
        if str(file) == "-":
            content = sys.stdin.buffer.readline(_MAX_BYTES + 1)
        else:
            with file.open("rb") as handle:
                content = handle.readline(_MAX_BYTES + 1)
        text = content.decode().rstrip("\r\n")
    except OSError as error:
        raise InputError(f"cannot read the passphrase from {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"the passphrase in {file} is not UTF-8 text") from None
    if not text or len(content) > _MAX_BYTES:
        raise InputError(f"the first line of {file} holds no passphrase")
    return text

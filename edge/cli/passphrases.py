"""Passphrases on the command line: asked for at the terminal, or from a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.errors import InputError

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
    from edge.crypto.passphrase import ask_at_terminal

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

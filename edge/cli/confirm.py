"""Asking before something is changed that cannot be had back by trying again."""

from __future__ import annotations

import sys

from edge.errors import InputError


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

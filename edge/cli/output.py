"""What a command says: text for people on standard output, one line of JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from edge.errors import EXIT_ENVIRONMENT, ConfigError, EdgeVoiceError, EnrolmentRejected

if TYPE_CHECKING:
    from rich.console import Console

PROGRAM = "edge-voice"
_PIPE_WIDTH = 200


def show(text: str) -> None:
    """Print a line for people."""
    sys.stdout.write(text + "\n")


def show_json(value: Mapping[str, Any]) -> None:
    """Print a result for programs: one line of JSON."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def console(stream: TextIO) -> Console:
    """A terminal to draw on; what is drawn may hold names, so no markup is read from text.

    Args:
        stream: standard output or error. Where it is no terminal, lines are wide and plain.
    """
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 (called while handling it; rich itself would exit with 1)

    return Plain(
        file=stream,
        markup=False,
        emoji=False,
        highlight=False,
        width=None if stream.isatty() else _PIPE_WIDTH,
    )


def report(error: Exception, *, as_json: bool) -> int:
    """Say what went wrong: a line on standard error, with `--json` also an object.

    Returns:
        The exit code: the error's own, or 3 for one that nobody foresaw.
    """
    if isinstance(error, EdgeVoiceError):
        message, exit_code = str(error), error.exit_code
    else:
        message = f"unexpected {type(error).__name__}: {error} (-v shows where)"
        exit_code = EXIT_ENVIRONMENT
    if as_json:
        content: dict[str, Any] = {"type": type(error).__name__, "message": message}
        if isinstance(error, EnrolmentRejected):
            content["reason"] = error.reason
        if isinstance(error, ConfigError):
            content["problems"] = list(error.problems)
        show_json({"error": {**content, "exit_code": exit_code}})
    complain(message, kind="error")
    return exit_code


def complain(message: str, *, kind: str = "warning") -> None:
    """Print a line on standard error, whatever the message has in it."""
    sys.stderr.write(f"{PROGRAM}: {kind}: {one_line(message)}\n")


def one_line(text: str) -> str:
    """The text with line breaks and control characters written out: file names hold anything."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )

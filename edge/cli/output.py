"""Output of a command: text for people on standard output, one line of JSON for programs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from edge.errors import (
    EXIT_ENVIRONMENT,
    EXIT_OK,
    ConfigError,
    EdgeVoiceError,
    EnrollmentRejected,
    EnvironmentFault,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from edge.types import PhraseMatch, Quality, SpeakerMatch

PROGRAM = "edge-voice"
NOBODY_ENROLLED = "Nobody is enrolled yet: run 'edge-voice enroll NAME'."
_JOINERS = "\u200c\u200d"
"""Persian and several Indic scripts need these two inside a word."""
_PIPE_WIDTH = 200
_TERMINAL_WIDTH = 80
"""Of a terminal that does not say its own."""


class OutputError(EnvironmentFault):
    """Standard output cannot be written."""


def show(text: str) -> None:
    """Print a line for people, `wrapped`.

    Raises `OutputError`, or `BrokenPipeError` without a reader.
    """
    show_as_is(wrapped(text, sys.stdout))


def show_as_is(text: str) -> None:
    """Print a line for programs, or one to copy; nothing in it reaches a terminal as a command.

    Raises as `show` does.
    """
    with printing():
        sys.stdout.write("\n".join(map(one_line, text.split("\n"))) + "\n")


def wrapped(text: str, stream: TextIO | None) -> str:
    """The text, broken between words where the stream is a terminal that is narrower."""
    if stream is None or not stream.isatty():
        return text
    width = shutil.get_terminal_size((0, 0)).columns
    if width == 0:  # standard output is not at the terminal
        with contextlib.suppress(OSError, ValueError):
            width = os.get_terminal_size(stream.fileno()).columns
    lines = []
    for line in text.split("\n"):
        indent = " " * (len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            line,
            width or _TERMINAL_WIDTH,
            subsequent_indent=indent and indent + "  ",
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def show_json(value: Mapping[str, Any]) -> None:
    """Print a result for programs: one line of JSON. Raises as `show` does."""
    show_as_is(json_text(value))


def json_text(value: object, indent: int | None = None) -> str:
    """JSON in which what a terminal would obey is escaped: it is the same to a program."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(
        character if character.isprintable() or character == "\n" else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    """As JSON writes it: four hexadecimal digits, twice outside the basic plane."""
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def show_result(args: argparse.Namespace, value: Mapping[str, Any], *lines: str) -> int:
    """Print a result as JSON, or as lines for people, and return exit code 0. Raises as `show`."""
    if args.json:
        show_json(value)
    else:
        for line in lines:
            show(line)
    return EXIT_OK


def local_time(seconds: float) -> str:
    """A Unix time as people read it, in the system's time zone."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def new_table(*titles: str) -> Table:
    """A table without lines between its cells, which may be long."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def show_table(table: Table) -> None:
    """Print a table. Raises as `show` does."""
    with printing():
        console(sys.stdout).print(table)


def flush() -> None:
    """Flush standard output. Raises as `show` does."""
    if sys.stdout is not None:  # as after the shell's >&-; show() has complained if need be
        with printing():
            sys.stdout.flush()


def discard(stream: TextIO | None) -> None:
    """Send the rest of a broken stream nowhere; else Python's last flush exits with 120."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """For code that writes to standard output by other means. Raises as `show` does."""
    if sys.stdout is None:
        raise OutputError("standard output is closed; leave it open, or send it to /dev/null")
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"standard output cannot be written ({reason})") from None


def console(stream: TextIO) -> Console:
    """A terminal to draw on, or wide plain lines; text, which may hold names, is no markup."""
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
    """Report an error: a line on standard error, with `--json` also an object.

    Raises nothing where neither can be written. Returns the error's exit code, 3 if unexpected.
    """
    if isinstance(error, EdgeVoiceError):
        message, exit_code = str(error), error.exit_code
    else:
        message = f"unexpected {type(error).__name__}: {error} (-v shows where)"
        exit_code = EXIT_ENVIRONMENT
    if as_json:
        content: dict[str, Any] = {"type": type(error).__name__, "message": message}
        if isinstance(error, EnrollmentRejected):
            content["reason"] = error.reason
        if isinstance(error, ConfigError):
            content["problems"] = list(error.problems)
        try:
            show_json({"error": {**content, "exit_code": exit_code}})
            flush()
        except (OSError, ValueError, AttributeError, OutputError):
            discard(sys.stdout)  # the line below still says it
    complain(message, kind="error")
    return exit_code


def complain(message: str, *, kind: str = "warning") -> None:
    """Print a line on standard error, whatever is in the message; nowhere if that is gone."""
    try:
        sys.stderr.write(f"{PROGRAM}: {kind}: {one_line(message)}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        discard(sys.stderr)


def one_line(text: str) -> str:
    """The text with line breaks and control characters escaped: file names hold anything."""
    return "".join(
        character
        if character.isprintable() or character in _JOINERS
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def speaker_line(match: SpeakerMatch) -> str:
    """How well the voice matched."""
    return f"{_score(match)} (similarity {match.similarity:.2f})"


def phrase_line(match: PhraseMatch) -> str:
    """How well the phrase matched."""
    return f"{_score(match)} (distance {match.distance:.2f})"


def _score(match: SpeakerMatch | PhraseMatch) -> str:
    verdict = "ok" if match.accepted else "too low"
    return f"score {match.score:.1f}, at least {match.threshold:.1f}: {verdict}"


def quality_line(quality: Quality) -> str:
    """The quality of the recording."""
    return (
        f"{quality.net_speech_s:.1f} s of speech at {quality.level_dbfs:.0f} dB,"
        f" {quality.snr_db:.0f} dB above the noise"
    )

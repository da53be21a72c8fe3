"""What a command says: text for people on standard output, one line of JSON for programs."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from edge.errors import (
    EXIT_ENVIRONMENT,
    ConfigError,
    EdgeVoiceError,
    EnrollmentRejected,
    EnvironmentFault,
)
from edge.types import PhraseMatch, Quality, SpeakerMatch

if TYPE_CHECKING:
    from rich.console import Console


def speaker_line(match: SpeakerMatch) -> str:
    """How near the voice came."""
    verdict = "ok" if match.accepted else "too far"
    return (
        f"score {match.score:.1f}, at least {match.threshold:.1f}: {verdict}"
        f" (similarity {match.similarity:.2f})"
    )


def phrase_line(match: PhraseMatch) -> str:
    """How near the phrase came."""
    verdict = "ok" if match.accepted else "too far"
    return (
        f"score {match.score:.1f}, at least {match.threshold:.1f}: {verdict}"
        f" (distance {match.distance:.2f})"
    )


def quality_line(quality: Quality) -> str:
    """What the recording was worth."""
    return (
        f"{quality.net_speech_s:.1f} s of speech at {quality.level_dbfs:.0f} dB,"
        f" {quality.snr_db:.0f} dB above the noise"
    )


PROGRAM = "edge-voice"
_PIPE_WIDTH = 200


class OutputError(EnvironmentFault):
    """Standard output cannot be written."""


def show(text: str) -> None:
    """Print a line for people.

    Raises:
        OutputError: standard output cannot be written.
        BrokenPipeError: whoever read it has left.
    """
    with printing():
        sys.stdout.write(text + "\n")


def show_json(value: Mapping[str, Any]) -> None:
    """Print a result for programs: one line of JSON. Raises as `show` does."""
    show(json.dumps(value, ensure_ascii=False))


def flush() -> None:
    """Bring out what was printed so far. Raises as `show` does."""
    if sys.stdout is not None:  # as after the shell's >&-; show() has complained if need be
        with printing():
            sys.stdout.flush()


def discard(stream: TextIO | None) -> None:
    """Let everything that is still to be written to a broken stream go nowhere.

    The interpreter flushes once more at its end, and would complain and exit with 120.
    """
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Inside, standard output is written to by whatever means. Raises as `show` does."""
    if sys.stdout is None:
        raise OutputError("standard output is closed; leave it open, or send it to /dev/null")
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        text = f"standard output cannot be written ({reason}); check where it goes"
        raise OutputError(text) from None


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

    Where neither can be written, the exit code alone says it; nothing is raised.

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
    """Print a line on standard error, whatever the message has in it; if it is gone, nowhere."""
    try:
        sys.stderr.write(f"{PROGRAM}: {kind}: {one_line(message)}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        discard(sys.stderr)


def one_line(text: str) -> str:
    """The text with line breaks and control characters written out: file names hold anything."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )

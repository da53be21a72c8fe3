"""The `edge-voice` command: finds the subcommand, runs it, and turns errors into exit codes.

A subcommand is a module named in `COMMANDS` with `HELP` (its line in the list),
`add_arguments(parser)`, and `run(args) -> int`, which returns the exit code. Only the one that is
asked for is imported, and its `run` imports what is slow, so that the others start fast.

Exit codes: 0 done or accepted, 1 rejected, 2 usage or bad input, 3 environment; 130 and 141 as
shells give them for an interrupt and a closed pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import itertools
import logging
import os
import re
import resource
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TextIO, cast

from edge import __version__
from edge.cli import options
from edge.cli.output import PROGRAM, OutputError, discard, flush, one_line, report, show_as_is
from edge.errors import InputError

COMMANDS = (
    "setup",
    "run",
    "serve",
    "wyoming",
    "demo",
    "monitor",
    "enroll",
    "verify",
    "identify",
    "profiles",
    "keys",
    "access",
    "lockout",
    "evaluate",
    "calibrate",
    "audit",
    "devices",
    "doctor",
    "config",
    "signing",
    "command",
    "discovery",
)

_INDENT = " " * 13
_NO_VALUE = re.compile(r"--[a-z-]+=--")
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141


class UsageError(InputError):
    """The command line is invalid."""


class Parser(argparse.ArgumentParser):
    """A parser that raises `UsageError` instead of printing half a screen and exiting."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self._has_actions = False

    def add_subparsers(self, **kwargs: Any) -> Any:
        """Note that this command has actions of its own."""
        self._has_actions = True
        return super().add_subparsers(**kwargs)

    def parse(self, arguments: list[str], namespace: argparse.Namespace) -> argparse.Namespace:
        """Parse a command's arguments, with options between or after its files too."""
        if self._has_actions:  # which argparse cannot mix
            return self.parse_args(arguments, namespace)
        return self.parse_intermixed_args(arguments, namespace)

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse itself passes over help that could not be written.
        if file is None or file is sys.stdout:
            show_as_is(message.rstrip("\n"))
        else:
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` with a pointer to the help."""
        raise UsageError(f"{message}; see '{self.prog} --help'")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, the process's own for None, and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in arguments
    verbose = False
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal cannot encode must not stop a command halfway.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            args = _parse(arguments)
            as_json, verbose = args.json, args.verbose > 0
            _log_to_stderr(args.verbose)
            run = cast("Callable[[argparse.Namespace], int]", args.run)
            code = run(args)
        except SystemExit as error:  # argparse, after --help and --version
            code = error.code if isinstance(error.code, int) else 0
        flush()
    except KeyboardInterrupt:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"\n{PROGRAM}: interrupted\n")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of the output has gone
        discard(sys.stdout)
        return EXIT_PIPE_CLOSED
    except OutputError as error:
        discard(sys.stdout)
        return report(error, as_json=False)
    except Exception as error:  # noqa: BLE001 (the last resort of a program used at a door)
        if verbose:
            with contextlib.suppress(OSError, ValueError):
                traceback.print_exc()
        return report(error, as_json=as_json)
    return code


def entry_point() -> NoReturn:
    """Run the process's command line and exit."""
    # A core dump would hold keys, signatures and sound.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Before NumPy is imported: threads that share products as small as ours spend more time on
    # waiting for each other than on the products, and each has a buffer of its own.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())


def _parse(arguments: list[str]) -> argparse.Namespace:
    for argument in itertools.takewhile(lambda each: each != "--", arguments):
        # argparse takes such a value for the end of options, and returns a list.
        if _NO_VALUE.fullmatch(argument):
            raise UsageError(f"{argument[:40]} has no usable value")
    parser = _top_parser()
    args = parser.parse_args(arguments, options.defaults())
    if args.command == "help":
        parser.print_help()
        parser.exit()
    if args.command not in COMMANDS:
        near = difflib.get_close_matches(args.command, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
        raise UsageError(f"unknown command {args.command!r}: {hint}")
    module: Any = importlib.import_module(f"edge.cli.{args.command}")
    command = Parser(prog=f"{PROGRAM} {args.command}", description=module.HELP)
    module.add_arguments(command)
    options.add_common(command)
    command.set_defaults(run=module.run)
    rest = args.rest
    del args.rest
    return command.parse(rest, args)


class _TopParser(Parser):
    def error(self, message: str) -> NoReturn:
        if "COMMAND" in message:
            message = f"name a command ({', '.join(COMMANDS)})"
        super().error(message)

    def format_help(self) -> str:
        # Imports every command, so only here.
        width = max(40, shutil.get_terminal_size().columns - 2)  # as argparse has it
        lines = [
            textwrap.fill(
                importlib.import_module(f"edge.cli.{name}").HELP,
                width,
                initial_indent=f"  {name:<10} ",
                subsequent_indent=_INDENT,
            )
            for name in COMMANDS
        ]
        self.epilog = "\n".join(
            ["commands:", *lines, "", f"See '{PROGRAM} COMMAND --help' for a command's options."]
        )
        return super().format_help()


def _top_parser() -> Parser:
    parser = _TopParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [options] COMMAND ...",
        description="Voice access control on the device.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options.add_common(parser)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


class _LogFormatter(logging.Formatter):
    """Escapes what a terminal would obey: microphones and files may be called anything."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as text."""
        return "\n".join(map(one_line, super().format(record).split("\n")))


class _LogHandler(logging.StreamHandler[TextIO]):
    """Writes to what standard error is now: a display puts lines above what it draws."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _log_to_stderr(verbose: int) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = _LogHandler(sys.stderr)
    form = f"{PROGRAM}: %(levelname)s: %(message)s"
    if sys.stderr is not None and sys.stderr.isatty():  # the journal has the time
        form = f"%(asctime)s {form}"
    handler.setFormatter(_LogFormatter(form, "%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler], force=True)

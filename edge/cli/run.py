"""`edge-voice run`: the daemon."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from edge.cli import options
from edge.cli.output import OutputError, flush, show
from edge.errors import EXIT_ENVIRONMENT, EXIT_OK

if TYPE_CHECKING:
    from edge.audio.sources import Source
    from edge.types import AccessDecision

_log = logging.getLogger(__name__)

NAME = "run"
HELP = "listen, decide and publish, until told to stop"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own options."""
    parser.add_argument(
        "--device", metavar="NAME", help="microphone: its number, or a part of its name"
    )
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="listen to a WAV or FLAC file, or with - to standard input (a WAV stream, or raw "
        "16-bit mono at 16 kHz), in place of the microphone; ends with it",
    )
    parser.add_argument(
        "--realtime", action="store_true", help="take a file in no faster than it would be spoken"
    )


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM, SIGINT or the end of the input.

    Returns:
        0 when it ended as it should, 3 when decisions that `--json` asked for were not printed.
    """
    from edge.daemon import Daemon

    config = options.config_of(args)
    if args.device is not None:
        device = int(args.device) if args.device.isdecimal() else args.device
        config = replace(config, audio=replace(config.audio, device=device))
    if not args.verbose:
        # A service says what it does; the systemd journal keeps it.
        logging.getLogger().setLevel(config.log_level.upper())
    printer = _Printer()
    daemon = Daemon(
        config,
        source=_source(args.input, args.realtime),
        on_decision=printer if args.json else None,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: daemon.stop())
    daemon.run()
    return EXIT_ENVIRONMENT if printer.failed else EXIT_OK


def _source(name: Optional[str], realtime: bool) -> Optional[Source]:
    from edge.audio.sources import FileSource, StandardInputSource

    if name is None:
        return None
    if name == "-":
        # Unbuffered: the buffer's lock, held by a thread that waits for sound, would make the
        # interpreter abort at its end.
        raw = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
        return StandardInputSource(raw)
    return FileSource(Path(name), realtime=realtime)


class _Printer:
    """Prints decisions. Where they cannot be written, the door goes on being watched."""

    def __init__(self) -> None:
        self.failed = False

    def __call__(self, decision: AccessDecision) -> None:
        try:
            show(decision.to_json())
            flush()
        except OutputError as error:
            if not self.failed:
                _log.error("%s; decisions are still made and published", error)
            self.failed = True

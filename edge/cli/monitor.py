"""`edge-voice monitor`: what the device hears and decides, as it happens."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.keyboard import Keys
from edge.cli.monitor_words import counts, sentence, state_words
from edge.cli.output import console, flush, show, show_json
from edge.errors import EXIT_OK, InputError

if TYPE_CHECKING:
    from edge.monitor.messages import Message
    from edge.monitor.recent import Recent
    from edge.monitor.stream import Stream

NAME = "monitor"
HELP = "watch live what is heard and decided"

_REFRESH_S = 0.15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own options."""
    parser.description = (
        "Shows what the running service hears and decides: the level now and over the last"
        " minutes, every utterance, scores against the threshold, decisions. 'q' or Ctrl-C ends it."
        " Watching changes nothing."
    )
    parser.add_argument(
        "--listen",
        action="store_true",
        help="listen right here, without a service: nothing is published or stored, and no access"
        " rule, lock-out or challenge applies",
    )
    parser.add_argument(
        "--device",
        metavar="DEVICE",
        help="with --listen: microphone, by number or part of its name",
    )
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="with --listen: a WAV or FLAC file, or - for standard input, in place of it",
    )
    parser.add_argument(
        "--realtime", action="store_true", help="take a file in no faster than it would be spoken"
    )


def run(args: argparse.Namespace) -> int:
    """Watch until told to stop."""
    from edge.monitor.recent import Recent

    recent = Recent()
    with contextlib.suppress(KeyboardInterrupt), _stream(args) as stream:
        if args.json:
            for message in _messages(stream):
                show_json(message)
                flush()
        else:
            terminal = console(sys.stdout)
            if terminal.is_terminal and not terminal.is_dumb_terminal:
                _draw(stream, recent)
                show(counts(recent))
            else:
                _print(stream, recent)
    return EXIT_OK


@contextlib.contextmanager
def _stream(args: argparse.Namespace) -> Iterator[Stream]:
    config = options.config_of(args)
    if args.listen:
        from edge.cli.monitor_listen import listening

        with listening(config, args.device, args.input, realtime=args.realtime) as stream:
            yield stream
        return
    for name in ("device", "input", "realtime"):
        if getattr(args, name):
            raise InputError(f"--{name} goes with --listen: the service has its own microphone")
    from edge.monitor.place import candidates
    from edge.monitor.stream import Stream, connect

    paths = candidates(config)
    stream = Stream(connect(paths), lambda: connect(paths))
    try:
        yield stream
    finally:
        stream.close()


def _messages(stream: Stream) -> Iterator[Message]:
    while not stream.ended:
        yield from stream.wait(1.0)


def _print(stream: Stream, recent: Recent) -> None:
    """Lines for whoever has no terminal: what changes, and what was decided."""
    said: str | None = None
    for message in _messages(stream):
        recent.take(message)
        kind = message["type"]
        if kind in {"state", "gone"}:
            words = state_words(recent, time.time())[0]
            if words != said:
                show(f"{recent.device}: {words}")
            said = words
        elif kind == "decision":
            show(sentence(recent.row(message)))
        flush()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _draw(stream: Stream, recent: Recent) -> None:
    """The moving view."""
    from rich.live import Live

    from edge.cli.monitor_view import frame

    terminal = console(sys.stdout)

    def drawn() -> object:
        size, only = terminal.size, terminal.options.ascii_only
        return frame(recent, size.width, size.height, ascii_only=only)

    # Ended by the system, it has to leave the terminal as it was, too.
    signal.signal(signal.SIGTERM, _interrupt)
    with Keys() as keys, Live(console=terminal, screen=True, auto_refresh=False) as live:
        drawn_at = 0.0
        while not stream.ended:
            for message in stream.wait(_REFRESH_S, keys.files):
                recent.take(message)
            if "q" in keys.pressed():
                return
            if time.monotonic() - drawn_at >= _REFRESH_S:
                drawn_at = time.monotonic()
                live.update(drawn(), refresh=True)  # type: ignore[arg-type]
    # What is left of a file that came to its end is worth reading.
    terminal.print(drawn())

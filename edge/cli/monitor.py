"""`edge-voice monitor`: what the device hears and decides, live."""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.display import Keys, log_afterwards
from edge.cli.monitor_view import counts, elsewhere, sentence, state_words
from edge.cli.output import console, flush, show, show_json
from edge.cli.run import input_source, with_device
from edge.errors import EXIT_OK, InputError

if TYPE_CHECKING:
    from edge.audio.sources import Source
    from edge.config import Config
    from edge.monitor.client import Recent, Stream
    from edge.monitor.messages import Message

HELP = "watch live what is heard and decided"

_REFRESH_S = 0.15


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own options."""
    parser.description = (
        "Shows what the running service hears and decides: the sound level, every utterance, its"
        " scores against the threshold, and the decisions. 'q' or Ctrl-C quits. Watching changes"
        " nothing."
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
        help="with --listen: a WAV or FLAC file, or - for standard input, instead of"
        " the microphone",
    )
    parser.add_argument("--realtime", action="store_true", help="play a file in real time")


def run(args: argparse.Namespace) -> int:
    """Watch until stopped."""
    from edge.monitor.client import Recent

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
    from edge.monitor.client import Stream, candidates, connect

    config = options.config_of(args)
    worker = None
    if args.listen:
        from edge.service.monitoring import LocalMonitor

        config = with_device(config, args.device)
        ours, theirs = socket.socketpair()
        worker = LocalMonitor(config, _source(config, args), theirs)
        stream = Stream(ours)
        worker.start()
    else:
        for name in ("device", "input", "realtime"):
            if getattr(args, name):
                raise InputError(f"--{name} requires --listen: the service has its own microphone")
        paths = candidates(config)
        stream = Stream(connect(paths), lambda: connect(paths))
    try:
        yield stream
    finally:
        stream.close()
        if worker is not None:
            worker.end()
    if worker is not None and worker.failure is not None:
        raise worker.failure


def _source(config: Config, args: argparse.Namespace) -> Source:
    from edge.audio.microphone import live_source

    if args.input is None:
        audio = config.audio
        return live_source(audio.source, audio.device, audio.ring_s)
    return input_source(args.input, realtime=args.realtime)


def _messages(stream: Stream) -> Iterator[Message]:
    while not stream.ended:
        yield from stream.wait(1.0)


def _print(stream: Stream, recent: Recent) -> None:
    """Print changes of state and decisions as lines, without a terminal."""
    printed: str | None = None
    for message in _messages(stream):
        recent.add(message)
        kind = message["type"]
        if kind == "hello" and recent.further:
            show(f"{recent.device}: {elsewhere(recent)}")
        elif kind in {"state", "gone"}:
            words = state_words(recent, time.time())[0]
            if words != printed:
                show(f"{recent.device}: {words}")
            printed = words
        elif kind == "decision":
            show(sentence(recent.row(message)))
        flush()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _draw(stream: Stream, recent: Recent) -> None:
    from rich.live import Live

    from edge.cli.monitor_view import frame

    terminal = console(sys.stdout)

    def drawn() -> object:
        size, only = terminal.size, terminal.options.ascii_only
        return frame(recent, size.width, size.height, ascii_only=only)

    # The terminal is restored also when the system ends it.
    signal.signal(signal.SIGTERM, _interrupt)
    picture = Live(console=terminal, screen=True, auto_refresh=False, redirect_stderr=False)
    with log_afterwards(), Keys() as keys, picture as live:
        drawn_at = 0.0
        while not stream.ended:
            for message in stream.wait(_REFRESH_S, keys.files):
                recent.add(message)
            if "q" in keys.pressed():
                return
            if time.monotonic() - drawn_at >= _REFRESH_S:
                drawn_at = time.monotonic()
                live.update(drawn(), refresh=True)  # type: ignore[arg-type]
    # At the end of a file the last view stays.
    terminal.print(drawn())

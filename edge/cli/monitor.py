"""`edge-voice monitor`: what the device hears and decides, as it happens."""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edge.access.decider import Decider
from edge.access.duress import DuressCheck
from edge.access.listener import Listener
from edge.audio.blocks import level_db
from edge.audio.end_pointing import EndPointer, EndPointSettings
from edge.cli import options
from edge.cli.display import Keys
from edge.cli.monitor_view import counts, sentence, state_words
from edge.cli.output import console, flush, show, show_json
from edge.errors import EXIT_OK, EdgeVoiceError, InputError
from edge.monitor.messages import (
    Levels,
    Message,
    decision_message,
    encode,
    state_message,
    utterance_message,
)
from edge.monitor.server import History
from edge.monitor.stream import Stream
from edge.recognition import Engine
from edge.store import FILE_NAME, open_store

if TYPE_CHECKING:
    from edge.access.decider import Judgment
    from edge.audio.sources import Source
    from edge.config import Config
    from edge.monitor.recent import Recent
    from edge.types import Profile

HELP = "watch live what is heard and decided"

_END_S = 1.0
_REFRESH_S = 0.15


@contextlib.contextmanager
def listening(
    config: Config, device: str | None, file: str | None, *, realtime: bool
) -> Iterator[Stream]:
    """Messages of what is heard from now on, as a service would send them.

    Raises:
        EdgeVoiceError: something that it stands on cannot be used; when the stream ends, also what
            ended it.
    """
    config = options.with_microphone(config, device)
    profiles: list[Profile] = []
    if (config.state_path / FILE_NAME).exists():  # opening it would make one
        with open_store(config.state_path, settings=config.store) as store:
            profiles = store.list()
    source = options.sound_of(file, realtime=realtime)
    if source is None:
        from edge.audio.microphone import Microphone

        source = Microphone(config.audio.device, config.audio.ring_s)
    ours, theirs = socket.socketpair()
    worker = _Worker(config, Engine.open(config), profiles, source, theirs)
    stream = Stream(ours)
    try:
        worker.start()
        yield stream
    finally:
        stream.close()
        worker.end()
    if worker.failure is not None:
        raise worker.failure


class _Worker:
    """Listens, decides, and writes messages to one end of a pair of sockets.

    `failure` is what ended it; None while it runs, and if the source came to its end.
    """

    def __init__(
        self,
        config: Config,
        engine: Engine,
        profiles: list[Profile],
        source: Source,
        line: socket.socket,
    ) -> None:
        self.failure: Exception | None = None
        self._device = config.device
        self._source = source
        self._line = line
        self._pointer = EndPointer(EndPointSettings.of(config.audio, rolling=True))
        decider = Decider(engine, config)
        self._enrolled = sum(each.duress_of is None for each in decider.eligible(profiles))
        self._listener = Listener(
            self._pointer, engine, decider, inside=config.access.in_running_speech
        )
        self._listener.use(profiles)
        # Nobody is alarmed by it; nobody must see that it was the duress phrase, either.
        self._duress = DuressCheck(lambda: profiles, engine.scorer, lambda _: None)
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def start(self) -> None:
        """Begin listening."""
        self._thread.start()

    def end(self) -> None:
        """Wait for the end, which closing the other end of the line brings about."""
        self._thread.join(_END_S)

    def _run(self) -> None:
        try:
            for message in History(self._device.id, self._device.name).replay():
                self._send(message)
            self._listen()
        except EdgeVoiceError as error:
            self.failure = error
        except OSError:  # nobody is watching any more
            pass
        except Exception as error:  # noqa: BLE001 (raised by `listening`)
            self.failure = error
        finally:
            self._line.close()

    def _listen(self) -> None:
        levels = Levels()
        with self._source:
            self._send(state_message("listening", enrolled=self._enrolled))
            for block in self._source.blocks():
                level = levels.take(
                    block,
                    level_db(block.samples),
                    hearing=self._pointer.speaking,
                    watched=True,
                )
                if level is not None:
                    self._send(level)
                for judgment in self._listener.feed(block):
                    self._show(judgment)
            for judgment in self._listener.flush():
                self._show(judgment)

    def _show(self, judgment: Judgment) -> None:
        judgment = self._duress.review(judgment)
        heard = utterance_message(judgment)
        if heard is not None:
            self._send(heard)
        self._send(decision_message(judgment.decision))

    def _send(self, message: Message) -> None:
        self._line.sendall(encode(message))


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
    options.add_realtime(parser)


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
        with listening(config, args.device, args.input, realtime=args.realtime) as stream:
            yield stream
        return
    for name in ("device", "input", "realtime"):
        if getattr(args, name):
            raise InputError(f"--{name} goes with --listen: the service has its own microphone")
    from edge.monitor.socket import candidates
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

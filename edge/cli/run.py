"""`edge-voice run`: the daemon."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.cli import options
from edge.cli.output import OutputError, flush, show
from edge.errors import EXIT_ENVIRONMENT, EXIT_OK, EdgeVoiceError

if TYPE_CHECKING:
    from edge.audio.shared_source import Lender
    from edge.config import Config
    from edge.service import Service
    from edge.types import AccessDecision

_log = logging.getLogger(__name__)

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
    options.add_realtime(parser)


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM, SIGINT or the end of the input; SIGHUP reloads the configuration."""
    printer = _Printer()
    service = _Service(args, printer if args.json else None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    if _is_service():
        signal.signal(signal.SIGHUP, lambda *_: service.reload())
    service.run()
    return EXIT_ENVIRONMENT if printer.failed else EXIT_OK


def _is_service() -> bool:
    """Whether SIGHUP is a wish to reload, and not the end of the terminal that it was typed at."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
        return False
    return sys.stdin is None or not sys.stdin.isatty()


class _Service:
    """One daemon after another, each with the configuration as it was when it began."""

    def __init__(
        self, args: argparse.Namespace, on_decision: Callable[[AccessDecision], None] | None
    ) -> None:
        self._args = args
        self._on_decision = on_decision
        self._lender: Lender | None = None
        source = options.sound_of(args.input, realtime=args.realtime)
        if source is not None:
            from edge.audio.shared_source import Lender

            self._lender = Lender(source)
        self._daemon: Service | None = None
        self._stopped = self._reload_asked = False

    def run(self) -> None:
        """Return once it was told to stop, or the sound is over."""
        config, before, listening = self._read(), None, True
        while not self._stopped:
            try:
                daemon = self._made(config, listening)
            except EdgeVoiceError as error:
                if before is None:
                    raise
                _log.error("%s; going on with the configuration as it was", error)
                config, before = before, None
                continue
            self._daemon = daemon
            # What came while there was none to tell.
            if self._stopped:
                daemon.stop()
            if self._reload_asked:
                daemon.reload()
            daemon.run()
            if daemon.successor is None:
                return
            before, config, listening = config, daemon.successor, daemon.listening
            # Its parts know each other, so that nothing of it goes by itself: 40 MB of models.
            self._daemon = None
            del daemon
            gc.collect()

    def stop(self) -> None:
        """Have `run` return; may be called from a signal handler."""
        self._stopped = True
        if self._daemon is not None:
            self._daemon.stop()

    def reload(self) -> None:
        """Go on with the configuration as it is now; may be called from a signal handler."""
        self._reload_asked = True
        if self._daemon is not None:
            self._daemon.reload()

    def _made(self, config: Config, listening: bool) -> Service:
        from edge.service import Service

        if not self._args.verbose:
            # A service says what it does; the systemd journal keeps it.
            logging.getLogger().setLevel(config.log_level.upper())
        return Service(
            config,
            source=None if self._lender is None else self._lender.lend(),
            on_decision=self._on_decision,
            reread=self._reread,
            listening=listening,
        )

    def _read(self) -> Config:
        self._reload_asked = False
        return options.with_microphone(options.config_of(self._args), self._args.device)

    def _reread(self) -> Config:
        from edge.service.build import preflight

        config = self._read()
        preflight(config)
        return config


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

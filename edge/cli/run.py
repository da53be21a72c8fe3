"""`edge-voice run`: the service."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli import options
from edge.cli.output import OutputError, flush, show_as_is
from edge.errors import (
    EXIT_ENVIRONMENT,
    EXIT_OK,
    EdgeVoiceError,
    EnvironmentFault,
    StoreError,
)
from edge.private_files import hold, make_folder

if TYPE_CHECKING:
    from edge.audio.sources import Source
    from edge.config import Config
    from edge.service import Service
    from edge.service.context import Handover
    from edge.types import AccessDecision

_log = logging.getLogger(__name__)

_LOCK = "run.lock"
"""Held in the state directory while a service runs."""

HELP = "listen, decide and publish until stopped"

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
_LARGE = 1 << 18
"""Bytes from which a block is given back at once."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's own options."""
    parser.add_argument(
        "--device", metavar="NAME", help="microphone: its number or a part of its name"
    )
    parser.add_argument(
        "--input",
        metavar="FILE",
        help="instead of the microphone, listen to a WAV or FLAC file, or with - to standard input"
        " (a WAV stream, or raw 16-bit mono at 16 kHz), and to no other microphone; stop at its"
        " end",
    )
    parser.add_argument("--realtime", action="store_true", help="play a file in real time")


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM, SIGINT or the end of the input; SIGHUP reloads the configuration."""
    give_back_memory()
    printer = _Printer()
    runner = _Runner(args, printer if args.json else None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: runner.stop())
    if _hangup_reloads():
        signal.signal(signal.SIGHUP, lambda *_: runner.reload())
    runner.run()
    return EXIT_ENVIRONMENT if printer.failed else EXIT_OK


def give_back_memory() -> None:
    """Have the C library give back what is freed.

    By itself glibc keeps blocks of up to 32 MiB for the next time, in a heap for each thread: what
    the longest utterance of the day took.
    """
    with contextlib.suppress(AttributeError):  # musl gives it back anyway
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, 1)
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, 2 * _LARGE)


def with_device(config: Config, device: str | None) -> Config:
    """The configuration with the microphone that `--device` names."""
    if device is None:
        return config
    chosen = int(device) if device.isdecimal() else device
    return replace(config, audio=replace(config.audio, device=chosen))


def input_source(name: str, *, realtime: bool = False, longest_s: float = 300.0) -> Source:
    """What `--input` names: a recording of at most `longest_s`, or with - standard input."""
    from edge.audio.sources import FileSource, StandardInputSource

    if name == "-":
        # Unbuffered: the buffer's lock, held by a thread that waits for sound, would make the
        # interpreter abort at its end.
        raw = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
        return StandardInputSource(raw)
    return FileSource(Path(name), realtime=realtime, max_s=longest_s)


def _hangup_reloads() -> bool:
    """Whether SIGHUP means reload, and not the end of the terminal that started this."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup
        return False
    return sys.stdin is None or not sys.stdin.isatty()


class _Runner:
    """Runs one service after another, each with the configuration as it is then."""

    def __init__(
        self, args: argparse.Namespace, on_decision: Callable[[AccessDecision], None] | None
    ) -> None:
        self._args = args
        self._on_decision = on_decision
        self._source: Source | None = None
        if args.input is not None:
            self._source = input_source(args.input, realtime=args.realtime)
        self._service: Service | None = None
        self._held: dict[Path, int | None] = {}
        self._stopped = self._reload_requested = False

    def run(self) -> None:
        """Return once stopped, or at the end of the input."""
        try:
            self._run()
        finally:
            for handle in filter(None, self._held.values()):
                os.close(handle)

    def _run(self) -> None:
        config, previous = self._read(), None
        before: Mapping[str, Handover] | None = None
        while not self._stopped:
            try:
                service = self._build(config, before)
            except EdgeVoiceError as error:
                if before is None:
                    raise
                if previous is None:
                    _close(before)
                    raise
                _log.error("%s; keeping the previous configuration", error)
                config, previous = previous, None
                before = {
                    door: replace(left, answers=[_after_failure(each) for each in left.answers])
                    for door, left in before.items()
                }
                continue
            self._service = service
            # Requests that came while there was no service.
            if self._stopped:
                service.control.stop()
            if self._reload_requested:
                service.control.request_reload()
            service.run()
            if service.control.successor is None:
                return
            previous, config = config, service.control.successor
            before = service.hand_over()
            # Its parts refer to each other: 40 MB of models that only a collection frees.
            self._service = None
            del service
            gc.collect()
        if before is not None:
            _close(before)

    def stop(self) -> None:
        """Have `run` return; may be called from a signal handler."""
        self._stopped = True
        if self._service is not None:
            self._service.control.stop()

    def reload(self) -> None:
        """Go on with the present configuration; may be called from a signal handler."""
        self._reload_requested = True
        if self._service is not None:
            self._service.control.request_reload()

    def _build(self, config: Config, before: Mapping[str, Handover] | None) -> Service:
        from edge.service import build_service

        self._hold(config.state_path)
        if not self._args.verbose:
            # A service's log goes to the systemd journal.
            logging.getLogger().setLevel(config.log_level.upper())
        return build_service(
            config,
            source=self._source,
            on_decision=self._on_decision,
            reread=self._reread,
            before=before,
        )

    def _hold(self, folder: Path) -> None:
        """Let no other service use the state: the two would take the broker from each other."""
        if folder in self._held:
            return
        try:
            make_folder(folder)
            self._held[folder] = hold(folder / _LOCK)
        except BlockingIOError:
            raise EnvironmentFault(
                f"{folder}: another 'edge-voice run' is using it; stop that one, or give this one"
                " its own state_directory and device.id"
            ) from None
        except (OSError, StoreError) as error:  # the door comes first
            _log.debug("%s cannot be locked: %s", folder, error)
            self._held[folder] = None

    def _read(self) -> Config:
        self._reload_requested = False
        return with_device(options.config_of(self._args), self._args.device)

    def _reread(self) -> Config:
        from edge.service.build import preflight

        config = self._read()
        preflight(config)
        return config


def _close(before: Mapping[str, Handover]) -> None:
    for left in before.values():
        left.close()


def _after_failure(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """An answer, once it is known that the new configuration does not run."""
    if answer.get("command") != "reload" or not answer["ok"]:
        return answer
    failed = {**answer, "ok": False, "reason": "failed"}
    failed.pop("detail", None)  # it says that the configuration is being reloaded
    return failed


class _Printer:
    """Prints decisions, one at a time; where that fails, they are still made and published."""

    def __init__(self) -> None:
        self.failed = False
        self._lock = threading.Lock()

    def __call__(self, decision: AccessDecision) -> None:
        try:
            with self._lock:
                show_as_is(decision.to_json())
                flush()
        except OutputError as error:
            if not self.failed:
                _log.error("%s; decisions are still made and published", error)
            self.failed = True

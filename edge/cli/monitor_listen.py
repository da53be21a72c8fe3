"""`edge-voice monitor --listen`: hears and decides in this process, and tells nobody else."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.access.decider import Decider
from edge.access.duress import DuressCheck
from edge.access.listener import Listener
from edge.audio.endpoint import EndPointer, EndPointSettings
from edge.audio.frames import level_db
from edge.audio.sources import FileSource, Source, StandardInputSource
from edge.errors import EdgeVoiceError
from edge.monitor.history import History
from edge.monitor.levels import Levels
from edge.monitor.messages import (
    Message,
    decision_message,
    encode,
    state_message,
    utterance_message,
)
from edge.monitor.stream import Stream
from edge.recognition import Engine
from edge.store import FILE_NAME, open_store

if TYPE_CHECKING:
    from edge.access.decider import Judgement
    from edge.config import Config
    from edge.types import Profile

_END_S = 1.0


@contextlib.contextmanager
def listening(
    config: Config, device: str | None, file: str | None, *, realtime: bool
) -> Iterator[Stream]:
    """Messages of what is heard from now on, as a service would send them.

    Args:
        config: all settings.
        device: the microphone; None for the configured one.
        file: a recording, or `-` for standard input, in place of it.
        realtime: whether to take a recording in at the pace at which it would be spoken.

    Raises:
        EdgeVoiceError: something that it stands on cannot be used; when the stream ends, also what
            ended it.
    """
    if device is not None:
        chosen = int(device) if device.isdecimal() else device
        config = replace(config, audio=replace(config.audio, device=chosen))
    profiles: list[Profile] = []
    if (config.state_path / FILE_NAME).exists():  # opening it would make one
        with open_store(config.state_path, settings=config.store) as store:
            profiles = store.list()
    source = _source(config, file, realtime)
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


def _source(config: Config, file: str | None, realtime: bool) -> Source:
    if file is None:
        from edge.audio.microphone import Microphone

        return Microphone(config.audio.device, config.audio.ring_s)
    if file == "-":
        # Unbuffered, as for `edge-voice run`.
        raw = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
        return StandardInputSource(raw)
    return FileSource(Path(file), realtime=realtime)


class _Worker:
    """Hears, decides, and writes messages to one end of a pair of sockets.

    Attributes:
        failure: what ended it; None while it runs, and where the source came to its end.
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
        self._thread = threading.Thread(target=self._run, name="monitor-ear", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """To be called once the other end of the line is closed, by which it notices."""
        self._thread.join(_END_S)

    def _run(self) -> None:
        try:
            for message in History(self._device.id, self._device.name).replay():
                self._tell(message)
            self._listen()
        except EdgeVoiceError as error:
            self.failure = error
        except OSError:  # nobody looks any more
            pass
        except Exception as error:  # noqa: BLE001 (told by whoever started it)
            self.failure = error
        finally:
            self._line.close()

    def _listen(self) -> None:
        levels = Levels()
        with self._source:
            self._tell(state_message("listening", enrolled=self._enrolled))
            for block in self._source.blocks():
                level = levels.take(
                    block,
                    level_db(block.samples),
                    hearing=self._pointer.speaking,
                    watched=True,
                )
                if level is not None:
                    self._tell(level)
                for judgement in self._listener.feed(block):
                    self._decided(judgement)
            for judgement in self._listener.flush():
                self._decided(judgement)

    def _decided(self, judgement: Judgement) -> None:
        judgement = self._duress.review(judgement)
        heard = utterance_message(judgement)
        if heard is not None:
            self._tell(heard)
        self._tell(decision_message(judgement.decision))

    def _tell(self, message: Message) -> None:
        self._line.sendall(encode(message))

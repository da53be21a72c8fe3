"""Shows a running service to `edge-voice monitor`, or what a service here would decide."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from edge.access.checks import DuressCheck
from edge.access.decider import Judgment
from edge.audio.end_pointing import EndPointer
from edge.audio.sources import Source
from edge.challenge.challenge import Challenge
from edge.config import Config
from edge.errors import EdgeVoiceError, EnvironmentFault
from edge.monitor.messages import (
    Message,
    encode,
    enrollment_message,
    judgment_messages,
    level_message,
    state_message,
)
from edge.monitor.server import History, MonitorServer, address_of
from edge.mqtt import MqttPublisher
from edge.mqtt.discovery import PROBLEMS
from edge.recognition import Engine
from edge.service.decisions import DecisionPipeline
from edge.service.enrollment import RemoteEnrollment
from edge.service.observers import LIVE_S, Observer, SoundLevel, sound_level
from edge.store import FILE_NAME, open_store
from edge.types import AudioBlock, Profile

_ENROLLING = {"started", "accepted", "refused"}
"""States of an enrollment that goes on."""
_END_S = 1.0

_log = logging.getLogger(__name__)


class Monitoring(Observer):
    """An observer that serves the monitor's socket; the MQTT status says what the device does."""

    def __init__(
        self,
        config: Config,
        publisher: MqttPublisher,
        endpointer: EndPointer,
        challenge: Challenge,
        enrollment: RemoteEnrollment,
    ) -> None:
        self._enrollment = enrollment
        self._config = config
        self._publisher = publisher
        self._endpointer = endpointer
        self._challenge = challenge
        self._server: MonitorServer | None = None
        self._complained = False

    def level(self, level: SoundLevel) -> None:
        """Send the level."""
        if self._server is not None:
            self._server.post(
                level_message(
                    level.loudest_dbfs, level.peak_dbfs, hearing=self._endpointer.speaking
                )
            )

    def decided(self, judgment: Judgment) -> None:
        """Send the utterance and the decision."""
        if self._server is not None:
            for message in judgment_messages(judgment):
                self._server.post(message)

    def tick(self) -> None:
        """Open the socket as soon as that is possible, and send what the device does."""
        if self._server is None:
            self._open()
        if self._server is not None:
            while self._enrollment.told:
                self._server.post(enrollment_message(self._enrollment.told.popleft()))
            self._server.post(state_of(self._publisher.status, asking=self._challenge.pending))
            self.live = self._server.watched

    def close(self) -> None:
        """Remove the socket."""
        if self._server is not None:
            self._server.close()

    def _open(self) -> None:
        device = self._config.device
        try:
            history = History(device.id, device.name, self._config.microphones)
            self._server = MonitorServer(address_of(self._config), history)
        except EnvironmentFault as error:
            # Tried again: another service may hold the socket for now, as before a reload.
            if not self._complained:
                _log.warning("edge-voice monitor cannot watch this service: %s", error)
            self._complained = True


def state_of(status: Mapping[str, Any], *, asking: bool) -> Message:
    """What the device does by its MQTT status, and while digits are asked for, as a message."""
    fields: dict[str, Any] = {
        "enrolled": status.get("enrolled"),
        "problem": next((status[name] for name in PROBLEMS if status.get(name)), None),
    }
    enrollment = status.get("enrollment")
    if status.get("microphone") == "lost":
        state = "no_microphone"
        fields["detail"] = status.get("reason")
    elif isinstance(enrollment, Mapping) and (
        status.get("enrolling") or enrollment.get("state") in _ENROLLING
    ):
        state = "enrolling"
        fields["detail"] = enrollment.get("message")
        fields.update({key: enrollment.get(key) for key in ("person", "done", "required")})
    elif status.get("listening") is False:
        state = "off"
    elif status.get("locked_out"):
        state = "locked_out"
        fields["until"] = status.get("locked_out_until")
    elif asking:
        state = "asking"
    else:
        state = "listening" if status.get("microphone") == "listening" else "starting"
    return state_message(state, **fields)


class LocalMonitor:
    """Hears and decides as a service does, and writes its messages to a socket.

    Attributes:
        failure: what ended it; None while it runs, and at the end of the source.

    Raises:
        EdgeVoiceError: the store or a model cannot be used.
    """

    def __init__(self, config: Config, source: Source, line: socket.socket) -> None:
        self.failure: Exception | None = None
        self._device = config.device
        self._source = source
        self._line = line
        self._profiles: list[Profile] = []
        if (config.state_path / FILE_NAME).exists():  # opening it would make one
            with open_store(config.state_path, settings=config.store) as store:
                self._profiles = store.list()
        engine = Engine.open(config)
        self._pipeline = DecisionPipeline(config, engine)
        self._pipeline.listener.use(self._profiles)
        # It raises no alarm, but a duress phrase must not show as one.
        self._duress = DuressCheck(lambda: self._profiles, engine.scorer, lambda _: None)
        self._blocks: list[AudioBlock] = []
        self._level_due = 0.0
        self._thread = threading.Thread(target=self._run, name="local-monitor", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def end(self) -> None:
        """Wait for the end, once the other end of the line is closed."""
        self._thread.join(_END_S)

    def _run(self) -> None:
        try:
            for message in History(self._device.id, self._device.name).replay():
                self._send(message)
            self._listen()
        except EdgeVoiceError as error:
            self.failure = error
        except OSError:  # nobody is watching
            pass
        except Exception as error:  # noqa: BLE001 (for who started it)
            self.failure = error
        finally:
            self._line.close()

    def _listen(self) -> None:
        with self._source:
            enrolled = self._pipeline.enrolled(self._profiles)
            self._send(state_message("listening", enrolled=enrolled))
            for block in self._source.blocks():
                self._measure(block)
                for judgment in self._pipeline.listener.feed(block):
                    self._decided(judgment)
            for judgment in self._pipeline.listener.flush():
                self._decided(judgment)

    def _measure(self, block: AudioBlock) -> None:
        self._blocks.append(block)
        if time.monotonic() < self._level_due:
            return
        self._level_due = time.monotonic() + LIVE_S
        level = sound_level(self._blocks)
        self._blocks = []
        if level is not None:
            speaking = self._pipeline.endpointer.speaking
            self._send(level_message(level.loudest_dbfs, level.peak_dbfs, hearing=speaking))

    def _decided(self, judgment: Judgment) -> None:
        if not judgment.published:
            return
        for message in judgment_messages(self._duress.review(judgment)):
            self._send(message)

    def _send(self, message: Message) -> None:
        self._line.sendall(encode(message))

"""Shows the daemon at work to `edge-voice monitor`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edge.access.decider import Judgment
from edge.audio.blocks import level_db
from edge.audio.end_pointing import EndPointer
from edge.challenge.challenge import Challenge
from edge.config import Config
from edge.errors import EnvironmentFault
from edge.monitor.messages import (
    Levels,
    Message,
    decision_message,
    state_message,
    utterance_message,
)
from edge.monitor.server import History, MonitorServer
from edge.monitor.socket import place_of
from edge.mqtt import MqttPublisher
from edge.recognition import Engine
from edge.service.home_assistant import HomeAssistant
from edge.service.metrics import Metrics
from edge.service.profile_cache import ProfileCache
from edge.types import AudioBlock

_GOES_ON = {"started", "accepted", "refused"}
"""States of an enrollment that is not over."""

_log = logging.getLogger(__name__)


class Monitoring:
    """An observer that tells the monitor's socket.

    Args:
        config: where the socket is to be.
        status: what the device says of itself, by the names of the MQTT status.
        asking: whether digits are asked for.
        hearing: whether an utterance is being heard.
    """

    def __init__(
        self,
        config: Config,
        *,
        status: Callable[[], Mapping[str, Any]],
        asking: Callable[[], bool],
        hearing: Callable[[], bool],
    ) -> None:
        self._config = config
        self._status, self._asking, self._hearing = status, asking, hearing
        self._levels = Levels()
        self._server: MonitorServer | None = None
        self._complained = False

    def block(self, block: AudioBlock, level_dbfs: float) -> None:
        """Tell how loud it is, now and then."""
        server = self._server
        if server is not None:
            message = self._levels.take(
                block, level_dbfs, hearing=self._hearing(), watched=server.watched
            )
            if message is not None:
                server.post(message)

    def decided(self, judgment: Judgment) -> None:
        """Tell what was heard, and what came of it."""
        server = self._server
        if server is not None:
            heard = utterance_message(judgment)
            if heard is not None:
                server.post(heard)
            server.post(decision_message(judgment.decision))

    def tick(self) -> None:
        """Open the socket, as soon as there can be one, and tell what the device is at."""
        if self._server is None:
            self._open()
        if self._server is not None:
            self._server.post(state_of(self._status(), asking=self._asking()))

    def _open(self) -> None:
        device = self._config.device
        try:
            place = place_of(self._config)
            self._server = MonitorServer(place, History(device.id, device.name))
        except EnvironmentFault as error:
            # A door that nobody can watch is still a door. It is tried again, since whoever has
            # the place may leave it: this very service before a reload, for one.
            if not self._complained:
                _log.warning("edge-voice monitor cannot watch this service: %s", error)
            self._complained = True

    def close(self) -> None:
        """Take the socket away."""
        if self._server is not None:
            self._server.close()


def state_of(status: Mapping[str, Any], *, asking: bool) -> Message:
    """What the device is at, in one word, from its MQTT status.

    Args:
        status: by the names of the MQTT status.
        asking: whether digits are asked for.
    """
    fields: dict[str, Any] = {
        "enrolled": status.get("enrolled"),
        "problem": status.get("problem") or status.get("challenge_problem"),
    }
    enrollment = status.get("enrollment")
    if status.get("microphone") == "lost":
        state = "no_microphone"
        fields["detail"] = status.get("reason")
    elif isinstance(enrollment, Mapping) and enrollment.get("state") in _GOES_ON:
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


class Observer(Protocol):
    """Watches. What it raises is logged and goes no further."""

    def block(self, block: AudioBlock, level_dbfs: float) -> None:
        """A block of sound was taken in; in the worker's thread, so be quick.

        Args:
            block: what was heard.
            level_dbfs: its level, dB relative to full scale.
        """
        ...

    def decided(self, judgment: Judgment) -> None:
        """A decision was published; in the worker's thread, so be quick."""
        ...

    def tick(self) -> None:
        """Twice a second, in the main thread."""
        ...

    def close(self) -> None:
        """The daemon ends."""
        ...


@dataclass(frozen=True)
class Parts:
    """What an observer may look at.

    Attributes:
        config: all settings.
        publisher: the line to the broker.
        household: who is enrolled.
        endpointer: cuts the stream; its level and whether somebody speaks may be read any time.
        engine: the recognizer; for the worker's thread only.
        challenge: whether digits are asked for may be read any time.
    """

    config: Config
    publisher: MqttPublisher
    household: ProfileCache
    endpointer: EndPointer
    engine: Engine
    challenge: Challenge


def observers_of(parts: Parts) -> list[Observer]:
    """Whoever the configuration wants to watch.

    Raises:
        EdgeVoiceError: one of them cannot begin.
    """
    observers: list[Observer] = []
    if parts.config.monitor.enabled:
        observers.append(
            Monitoring(
                parts.config,
                status=lambda: parts.publisher.status,
                asking=lambda: parts.challenge.pending,
                hearing=lambda: parts.endpointer.speaking,
            )
        )
    home_assistant = HomeAssistant(parts.config, parts.publisher)
    if home_assistant.needed:
        observers.append(home_assistant)
    if parts.config.metrics.enabled:
        try:
            observers.append(Metrics(parts.config, parts.publisher))
        except EnvironmentFault as error:  # the door comes first
            _log.error("there are no metrics: %s", error)
    return observers


class Watch:
    """Tells all of them, and lets none of them stop the daemon.

    Args:
        observers: who is told.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self._failed: set[int] = set()

    def block(self, block: AudioBlock) -> None:
        """Tell them of a block and its level."""
        if self._observers:
            level_dbfs = level_db(block.samples)
            self._tell(lambda observer: observer.block(block, level_dbfs))

    def decided(self, judgment: Judgment) -> None:
        """As `Observer.decided`."""
        self._tell(lambda observer: observer.decided(judgment))

    def tick(self) -> None:
        """As `Observer.tick`."""
        self._tell(lambda observer: observer.tick())

    def close(self) -> None:
        """As `Observer.close`."""
        self._tell(lambda observer: observer.close())

    def _tell(self, what: Callable[[Observer], None]) -> None:
        for number, observer in enumerate(self._observers):
            try:
                what(observer)
            except Exception as error:  # noqa: BLE001, PERF203 (the door comes first)
                # Said once: what fails at every block would fill the journal.
                if number not in self._failed:
                    _log.warning("%s failed: %s", type(observer).__name__, error, exc_info=True)
                self._failed.add(number)

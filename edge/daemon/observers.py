"""What watches the daemon at work: told what is heard and decided, and never in its way.

This is the one place where an observer is added.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from edge.access.challenge import Challenge
from edge.access.decider import Judgement
from edge.audio.endpoint import EndPointer
from edge.audio.frames import level_db
from edge.config import Config
from edge.daemon.home_assistant import HomeAssistant
from edge.daemon.household import Household
from edge.daemon.metrics import Metrics
from edge.daemon.monitoring import Monitoring
from edge.errors import EnvironmentFault
from edge.mqtt import MqttPublisher
from edge.recognition import Engine
from edge.types import AudioBlock

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Watches. What it raises is logged and goes no further."""

    def block(self, block: AudioBlock, level_dbfs: float) -> None:
        """A block of sound was taken in; in the worker's thread, so be quick.

        Args:
            block: what was heard.
            level_dbfs: its level, dB relative to full scale.
        """
        ...

    def decided(self, judgement: Judgement) -> None:
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
        engine: the recogniser; for the worker's thread only.
        challenge: whether digits are asked for may be read any time.
    """

    config: Config
    publisher: MqttPublisher
    household: Household
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

    def decided(self, judgement: Judgement) -> None:
        """As `Observer.decided`."""
        self._tell(lambda observer: observer.decided(judgement))

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

"""Home Assistant's view of the daemon: what is announced to it, and how loud it is here."""

from __future__ import annotations

import json
import logging
import threading
import time

import numpy as np

from edge.access.decider import Judgment
from edge.audio.blocks import power_db
from edge.config import Config
from edge.errors import StoreError
from edge.mqtt import MqttPublisher, discovery
from edge.store.device_state import DeviceState
from edge.types import AudioBlock

Place = tuple[str, str]
"""Where a device is announced: the prefix, and the device's id."""

_MEMORY = "homeassistant/announced"
_MOST_PLACES = 4
_BUSY_S = 0.25
_SOUND_LIFETIME_S = 10.0

_log = logging.getLogger(__name__)


class HomeAssistant:
    """Announces the device while the configuration says so, and takes it back when it does not.

    Where it was announced is kept in the state. So nothing dead is left behind where the prefix or
    the device's id has changed, and a device that was never announced says nothing there.

    Args:
        config: all settings.
        publisher: not started yet.
    """

    def __init__(self, config: Config, publisher: MqttPublisher) -> None:
        settings = config.homeassistant
        self._config = config
        self._publisher = publisher
        self._interval_s = settings.sound_interval_s
        self._announcing = settings.discovery and config.mqtt.enabled
        self._wanted = [(settings.prefix, config.device.id)] if self._announcing else []
        self._known = self._recall()
        self._level = _Level()
        self._due = time.monotonic() + self._interval_s
        texts: dict[str, str] = {}
        for prefix, device_id in self._known:
            texts.update(discovery.removal(prefix, device_id))
        if not self._announcing:
            publisher.announce(texts)
            return
        texts.update(discovery.announcement(config))
        publisher.announce(texts, discovery.birth_topic(settings.prefix))
        # Before the first message is sent: a power cut must not make it be forgotten.
        self._remember(self._known + [place for place in self._wanted if place not in self._known])

    @property
    def needed(self) -> bool:
        """Whether there is something to announce, or to take back."""
        return bool(self._wanted or self._known)

    def block(self, block: AudioBlock, level_dbfs: float) -> None:
        """Take its level in."""
        self._level.add(block, level_dbfs)

    def decided(self, judgment: Judgment) -> None:
        """Nothing: Home Assistant receives the decision itself."""

    def tick(self) -> None:
        """Publish the level when it is time, and forget what has been taken back."""
        if self._known != self._wanted and self._publisher.announced:
            self._remember(self._wanted)
        now = time.monotonic()
        if now < self._due or not self._announcing:
            return
        self._due = now + self._interval_s
        levels = self._level.take()
        if levels is not None and self._publisher.connected:
            fields = {"level_dbfs": round(levels[0], 1), "peak_dbfs": round(levels[1], 1)}
            self._publisher.publish(
                "sound", json.dumps(fields), lifetime_s=_SOUND_LIFETIME_S, expendable=True
            )

    def close(self) -> None:
        """Nothing: what was announced stays, and the status says that the device is not there."""

    def _remember(self, places: list[Place]) -> None:
        if places == self._known:
            return
        self._known = places
        try:
            state = DeviceState(self._config.state_path, busy_s=_BUSY_S)
            try:
                state.put(_MEMORY, json.dumps(places) if places else None)
            finally:
                state.close()
        except StoreError as error:
            _log.warning("what Home Assistant was told of is not remembered: %s", error)

    def _recall(self) -> list[Place]:
        try:
            state = DeviceState(self._config.state_path, busy_s=_BUSY_S)
            try:
                places = json.loads(state.get(_MEMORY) or "[]")
            finally:
                state.close()
            found = [(prefix, device_id) for prefix, device_id in places]
        except (StoreError, ValueError, TypeError, RecursionError) as error:
            _log.warning("what Home Assistant was told of is not remembered: %s", error)
            return []
        return [place for place in found if _is_place(place)][-_MOST_PLACES:]


class _Level:
    """Mean and highest level since it was last asked for; two threads use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._energy, self._samples, self._peak = 0.0, 0, 0.0

    def add(self, block: AudioBlock, level_dbfs: float) -> None:
        count = len(block.samples)
        if not count:
            return
        peak = float(np.abs(block.samples).max())
        with self._lock:
            self._energy += count * 10.0 ** (level_dbfs / 10.0)
            self._samples += count
            self._peak = max(self._peak, peak)

    def take(self) -> tuple[float, float] | None:
        """Both in dB relative to full scale; None where nothing was heard at all."""
        with self._lock:
            energy, count, peak = self._energy, self._samples, self._peak
            self._energy, self._samples, self._peak = 0.0, 0, 0.0
        return (power_db(energy / count), power_db(peak * peak)) if count else None


def _is_place(place: tuple[object, object]) -> bool:
    return all(
        isinstance(part, str) and 0 < len(part) <= 512 and not set(part) & set("+#\0")
        for part in place
    )

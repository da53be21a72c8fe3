"""Announces the device to Home Assistant, and publishes the sound level."""

from __future__ import annotations

import json
import logging
import time

from edge.config import Config, door_ids
from edge.errors import StoreError
from edge.mqtt import MqttPublisher, discovery
from edge.service.observers import Observer, SoundLevel
from edge.store.device_state import DeviceState

_Announced = tuple[str, str]
"""Where the device is announced: the prefix and its id."""

_MEMORY = "homeassistant/announced"
_MOST_PLACES = 64
_SOUND_LIFETIME_S = 10.0

_log = logging.getLogger(__name__)


class HomeAssistant(Observer):
    """Announces a door while the configuration says so, and withdraws it when it does not.

    The state keeps where each was announced. So nothing dead is left behind after the prefix or a
    door's id has changed, and a device that was never announced publishes nothing there.

    It has to be made before the publisher is started.

    Args:
        state: for the main door, which keeps it and withdraws for all of them; else None.
    """

    def __init__(
        self, config: Config, publisher: MqttPublisher, state: DeviceState | None = None
    ) -> None:
        settings = config.homeassistant
        self._state = state
        self._publisher = publisher
        self._interval_s = settings.sound_interval_s
        self._announcing = settings.discovery and config.mqtt.enabled
        doors = door_ids(config) if state is not None and self._announcing else []
        self._wanted = [(settings.prefix, door) for door in doors]
        self._known = self._recall()
        self._level: SoundLevel | None = None
        self._due = time.monotonic() + self._interval_s
        texts: dict[str, str] = {}
        for prefix, door in self._known:
            if door == config.device.id or (prefix, door) not in self._wanted:
                texts.update(discovery.removal(prefix, door))
        if not self._announcing:
            publisher.announce(texts)
            return
        texts.update(discovery.announcement(config))
        publisher.announce(texts, discovery.birth_topic(settings.prefix))
        # Before the first message is sent: a power cut must not make it be forgotten.
        self._remember(self._known + [place for place in self._wanted if place not in self._known])

    @property
    def needed(self) -> bool:
        """Whether there is something to announce or to withdraw."""
        return bool(self._wanted or self._known)

    def level(self, level: SoundLevel) -> None:
        """Add to the level of this interval."""
        self._level = level if self._level is None else self._level + level

    def tick(self) -> None:
        """Publish the level when it is due, and forget what has been withdrawn."""
        if self._known != self._wanted and self._publisher.announced:
            self._remember(self._wanted)
        now = time.monotonic()
        if now < self._due or not self._announcing:
            return
        self._due = now + self._interval_s
        level, self._level = self._level, None
        if level is not None and self._publisher.connected:
            fields = {
                "level_dbfs": round(level.level_dbfs, 1),
                "peak_dbfs": round(level.peak_dbfs, 1),
            }
            self._publisher.publish(
                "sound", json.dumps(fields), lifetime_s=_SOUND_LIFETIME_S, expendable=True
            )

    def _remember(self, places: list[_Announced]) -> None:
        if places == self._known or self._state is None:
            return
        self._known = places
        try:
            self._state.put(_MEMORY, json.dumps(places) if places else None)
        except StoreError as error:
            _log.warning("where the device was announced is not stored: %s", error)

    def _recall(self) -> list[_Announced]:
        if self._state is None:
            return []
        try:
            places = json.loads(self._state.get(_MEMORY) or "[]")
            found = [(prefix, device_id) for prefix, device_id in places]
        except (StoreError, ValueError, TypeError, RecursionError) as error:
            _log.warning("where the device was announced cannot be read: %s", error)
            return []
        return [place for place in found if _is_place(place)][-_MOST_PLACES:]


def _is_place(place: tuple[object, object]) -> bool:
    return all(
        isinstance(part, str) and 0 < len(part) <= 512 and not set(part) & set("+#\0")
        for part in place
    )

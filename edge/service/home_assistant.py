"""Announces the device to Home Assistant, and publishes the sound level."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence

from edge.config import Config, door_ids, is_main
from edge.errors import StoreError
from edge.mqtt import MqttPublisher, discovery
from edge.service.observers import Observer, SoundLevel
from edge.store.device_state import DeviceState

_Announced = tuple[str, str]
"""Where the device is announced: the prefix and its id."""

_Person = tuple[str, str]
"""Profile id and name."""

_MEMORY = "homeassistant/announced"
_PEOPLE_MEMORY = "homeassistant/people"
_MOST_PLACES = 40
_MOST_TOPICS = 4 * discovery.MOST_PEOPLE
_SOUND_LIFETIME_S = 10.0

_log = logging.getLogger(__name__)


class HomeAssistant(Observer):
    """Announces a door while the configuration says so, and withdraws it when it does not.

    The state keeps where each was announced. So nothing dead is left behind after the prefix or a
    door's id has changed, and a device that was never announced publishes nothing there.

    It has to be made before the publisher is started.

    Where there are several doors, the main one withdraws those that are gone.

    Args:
        people: who can be identified; None while that is not known.
    """

    def __init__(
        self,
        config: Config,
        publisher: MqttPublisher,
        state: DeviceState,
        people: Callable[[], Sequence[_Person] | None] = lambda: None,
    ) -> None:
        settings = config.homeassistant
        self._state = state
        self._publisher = publisher
        self._interval_s = settings.sound_interval_s
        self._announcing = settings.discovery and config.mqtt.enabled
        self._main = is_main(config)
        doors = door_ids(config)
        announced = doors if self._main and self._announcing else []
        self._wanted = [(settings.prefix, door) for door in announced]
        self._known = self._recall() if self._main else []
        self._gone = [door for _, door in self._known if door not in doors]
        self._level: SoundLevel | None = None
        self._due = time.monotonic() + self._interval_s
        texts: dict[str, str] = {}
        for prefix, door in self._known:
            if door == config.device.id or (prefix, door) not in self._wanted:
                texts.update(discovery.removal(prefix, door))
        for door in self._gone:
            texts.update(dict.fromkeys(_recalled_topics(state, _people_key(door)), ""))
        if self._announcing:
            texts.update(discovery.announcement(config))
        identifying = self._announcing and config.identification.enabled
        key = _people_key(None if self._main else config.device.id)
        self._people = AnnouncedPeople(config, state, people if identifying else None, key)
        self._texts = texts
        self._birth_topic = discovery.birth_topic(settings.prefix) if self._announcing else None
        self._announce()
        if not self._announcing:
            return
        # Before the first message is sent: a power cut must not make it be forgotten.
        self._remember(self._known + [place for place in self._wanted if place not in self._known])

    @property
    def needed(self) -> bool:
        """Whether there is something to announce or to withdraw."""
        return bool(self._announcing or self._known or self._people.known)

    def _announce(self) -> None:
        self._publisher.announce({**self._texts, **self._people.texts}, self._birth_topic)

    def level(self, level: SoundLevel) -> None:
        """Add to the level of this interval."""
        self._level = level if self._level is None else self._level + level

    def tick(self) -> None:
        """Publish the level when it is due, and forget what has been withdrawn."""
        if self._publisher.announced:
            self._remember(self._wanted)
            self._people.confirm()
        if self._people.changed():
            self._announce()
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
        if places == self._known or not self._main:
            return
        self._known = places
        try:
            self._state.put(_MEMORY, json.dumps(places) if places else None)
            while self._gone and places == self._wanted:
                self._state.put(_people_key(self._gone.pop()), None)
        except StoreError as error:
            _log.warning("where the device was announced is not stored: %s", error)

    def _recall(self) -> list[_Announced]:
        try:
            places = json.loads(self._state.get(_MEMORY) or "[]")
            found = [(prefix, device_id) for prefix, device_id in places]
        except (StoreError, ValueError, TypeError, RecursionError) as error:
            _log.warning("where the device was announced cannot be read: %s", error)
            return []
        return [place for place in found if _is_place(place)][-_MOST_PLACES:]


class AnnouncedPeople:
    """The entities of the people who can be identified.

    The state keeps their topics, so that those of deleted people are withdrawn, also when the
    device was off meanwhile.

    Args:
        people: who is to be announced, None while that is not known; no function for nobody at all.
        key: what their topics are kept under.

    Attributes:
        texts: what is to be retained, by topic; empty for who is withdrawn.
        known: the topics that may be retained.
    """

    def __init__(
        self,
        config: Config,
        state: DeviceState,
        people: Callable[[], Sequence[_Person] | None] | None,
        key: str,
    ) -> None:
        self._key = key
        self._config = config
        self._state = state
        self._people = people
        self._shown: Sequence[_Person] | None = None
        self.known = _recalled_topics(state, key)
        # Until it is known who is enrolled, nobody is withdrawn.
        self.texts: Mapping[str, str] = {} if people else dict.fromkeys(self.known, "")

    def changed(self) -> bool:
        """Look whether somebody was enrolled, renamed or deleted; `texts` then are others."""
        people = self._people() if self._people else None
        if people is None or people == self._shown:
            return False
        self._shown = people
        texts = discovery.announcement_of_people(self._config, people)
        self.texts = {**dict.fromkeys(self.known, ""), **texts}
        self._remember(sorted(self.texts))
        return True

    def confirm(self) -> None:
        """All `texts` are retained: forget who was withdrawn."""
        if self.texts:
            self._remember(sorted(topic for topic, text in self.texts.items() if text))

    def _remember(self, topics: list[str]) -> None:
        if topics == self.known:
            return
        self.known = topics
        try:
            self._state.put(self._key, json.dumps(topics) if topics else None)
        except StoreError as error:
            _log.warning("whose entities were announced is not stored: %s", error)


def _people_key(door: str | None) -> str:
    return _PEOPLE_MEMORY if door is None else f"{_PEOPLE_MEMORY}/{door}"


def _recalled_topics(state: DeviceState, key: str) -> list[str]:
    try:
        topics = json.loads(state.get(key) or "[]")
    except (StoreError, ValueError, RecursionError) as error:
        _log.warning("whose entities were announced cannot be read: %s", error)
        return []
    if not isinstance(topics, list) or not all(map(_is_level, topics)):
        return []
    return topics[:_MOST_TOPICS]


def _is_place(place: tuple[object, object]) -> bool:
    return all(_is_level(part) for part in place)


def _is_level(part: object) -> bool:
    return isinstance(part, str) and 0 < len(part) <= 512 and not set(part) & set("+#\0")

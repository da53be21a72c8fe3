"""Who speaks at a microphone, found and published while they speak."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence

from edge.audio.vad import SameFrames, SpeechDetector
from edge.config import IdentificationConfig
from edge.errors import StoreError
from edge.mqtt import MqttPublisher
from edge.recognition.speaker_messages import (
    LIFETIME_S,
    SpeakerMessage,
    SpeakerMessages,
    identifiable,
)
from edge.recognition.turns import Turn, TurnFinder
from edge.service.context import ServiceContext
from edge.store.device_state import DeviceState
from edge.types import AudioBlock, Profile
from edge.types.decision import one_line

_MEMORY = "identification/off"
"""Kept over a restart: what somebody switched off in their home does not come on by itself."""

_log = logging.getLogger(__name__)


class IdentificationSwitch:
    """Whether speakers are identified; for any thread. A change is published and kept.

    Attributes:
        available: whether the configuration allows it.
        on: whether it is done; to be changed by `set`.

    Args:
        door: at which; None for the main one.
    """

    def __init__(
        self,
        config: IdentificationConfig,
        publisher: MqttPublisher,
        state: DeviceState,
        door: str | None = None,
    ) -> None:
        self._key = _MEMORY if door is None else f"{_MEMORY}/{door}"
        self.available = config.enabled
        self._publisher = publisher
        self._state = state
        self.on = self.available and not self._was_off()
        if self.available:
            publisher.set_status(identifying=self.on)

    def set(self, on: bool) -> None:
        """Begin or stop identifying, where the configuration allows it."""
        self.on = on and self.available
        self._publisher.set_status(identifying=self.on)
        try:
            self._state.put(self._key, None if on else "off")
        except StoreError as error:
            _log.warning("that identification was switched is not stored: %s", error)

    def _was_off(self) -> bool:
        try:
            return self._state.get(self._key) is not None
        except StoreError as error:
            _log.warning("whether identification was switched off cannot be read: %s", error)
            return False


class People:
    """Who can be identified, for the main thread."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._profiles: Sequence[Profile] | None = None
        self._people: list[tuple[str, str]] = []

    def listed(self) -> list[tuple[str, str]] | None:
        """Their ids and names; None while that is not known."""
        cache = self._context.profiles
        if cache.revision < 0:
            return None
        if cache.profiles is not self._profiles:
            self._profiles = cache.profiles
            group = identifiable(self._context.engine, self._profiles)
            self._people = [(profile.id, profile.name) for profile in group]
        return self._people


class LiveIdentification:
    """Identifies who speaks at one microphone; for the worker's thread. It never raises.

    It rests during a lock-out, in which nothing else tells how near a voice was either.

    Args:
        locked: whether there is a lock-out.
        microphone: named in every message; None where there is one only.
        detector: has been fed each block before; by default one of its own.
    """

    def __init__(
        self,
        context: ServiceContext,
        switch: IdentificationSwitch,
        locked: Callable[[], bool] = lambda: False,
        microphone: str | None = None,
        detector: SpeechDetector | None = None,
    ) -> None:
        self._context = context
        self._detector = None if detector is None else SameFrames(detector)
        self._switch = switch
        self._locked = locked
        self._microphone = microphone
        self._messages = SpeakerMessages(microphone)
        self._finder: TurnFinder | None = None
        self._profiles: Sequence[Profile] | None = None
        self._later: Sequence[Profile] | None = None
        self._people: set[tuple[str, str]] = set()
        self._heard_s = self._heard_at = 0.0
        self._connected = False

    def feed(self, block: AudioBlock) -> None:
        """Take in a block, after the door has."""
        if not self._switch.available:
            return
        try:
            if not self._switch.on or self._locked():
                self._stop()
                return
            self._use(self._context.profiles.profiles)
            self._tell_silence_again()
            if self._finder is not None:
                self._heard_s = block.end_s
                self._heard_at = time.time() - _age_of(block)
                self._tell(self._finder.feed(block))
        except Exception as error:  # noqa: BLE001 (the door comes first)
            self._give_up(error)

    def pause(self) -> None:
        """The device does not listen, or somebody is being enrolled."""
        if self._profiles is None:
            return
        try:
            self._stop()
        except Exception as error:  # noqa: BLE001 (as above)
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Until somebody is enrolled, or it is switched on again."""
        _log.warning("speakers are no longer identified: %s", error, exc_info=True)
        self._finder = None
        self._messages = SpeakerMessages(self._microphone)

    def _stop(self) -> None:
        """Publish what is open, and forget everything."""
        finder, self._finder = self._finder, None
        self._profiles = None
        if finder is not None:
            self._tell(finder.finish())

    def _use(self, profiles: Sequence[Profile]) -> None:
        """Identify these people from now on."""
        speaking = self._messages.speaking
        if profiles is self._profiles or (speaking and profiles is self._later):
            return
        group = identifiable(self._context.engine, profiles)
        people = {(profile.id, profile.name) for profile in group}
        if speaking and people == self._people:
            # More is known of the same people: the present utterance stays one.
            self._later = profiles
            return
        self._stop()
        self._profiles, self._later, self._people = profiles, None, people
        if group:
            silence_s = self._context.config.audio.end_silence_s
            self._finder = TurnFinder(
                self._context.engine, group, silence_s, detector=self._detector
            )

    def _tell(self, turns: Sequence[Turn]) -> None:
        if turns:
            self._publish(self._messages.add(turns, self._heard_s, self._heard_at))

    def _tell_silence_again(self) -> None:
        """After a time without a broker nobody knows whether that went on."""
        connected = self._context.publisher.connected
        if connected and not self._connected and not self._messages.speaking:
            self._publish([self._messages.silence(time.time())])
        self._connected = connected

    def _publish(self, messages: Iterable[SpeakerMessage]) -> None:
        for message in messages:
            self._context.publisher.publish(
                message.suffix,
                one_line(message.content),
                lifetime_s=LIFETIME_S,
                expendable=True,
                unconfirmed=True,
            )


def _age_of(block: AudioBlock) -> float:
    """Seconds since the end of a block; 0 of a recording."""
    return max(0.0, time.monotonic() - block.captured_at) if block.captured_at > 0.0 else 0.0

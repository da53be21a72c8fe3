"""Tells who speaks to an assistant over MQTT, as the service does of its microphone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edge.config import Config, DeviceConfig
from edge.mqtt import MqttPublisher, discovery
from edge.recognition.speaker_messages import LIFETIME_S, SPEAKER, UTTERANCE, SpeakerMessages
from edge.recognition.turns import Turn
from edge.types.decision import one_line, utc

_TOLD_S = 0.5
"""Longest that a text waits for the broker to confirm who spoke it."""
_LOOK_S = 0.002
_MOST_TURNS = 10_000
"""Of one utterance."""


@dataclass(frozen=True)
class SpokenUtterance:
    """Whose an utterance is: whoever spoke most of it, where all who are unknown count as one.

    Attributes:
        profile_id, name: of one who is enrolled; None for anybody else, and for silence.
        summary: who spoke in it, as it is published.
        learned: whether it was said to enroll somebody, and is meant for nobody else.
    """

    summary: dict[str, Any]
    profile_id: str | None = None
    name: str | None = None
    learned: bool = False


def spoken_in(turns: Sequence[Turn], began_at: float) -> SpokenUtterance:
    """Whose an utterance is; `began_at` is Unix time, seconds."""
    over = [replace(turn, over=True) for turn in turns]
    messages = SpeakerMessages().add(over, 0.0, began_at)
    for message in messages:
        if message.suffix == UTTERANCE:
            summary = message.content
            speakers = summary["speakers"]
            if speakers and speakers[0]["length_s"] >= summary["unknown_s"]:
                return SpokenUtterance(summary, speakers[0]["profile_id"], speakers[0]["name"])
            return SpokenUtterance(summary)
    return nobody(began_at)


def nobody(began_at: float | None = None, *, learned: bool = False) -> SpokenUtterance:
    """An utterance in which nobody is known to speak."""
    started_at = utc(time.time() if began_at is None else began_at)
    summary = {"started_at": started_at, "length_s": 0.0, "speakers": [], "unknown_s": 0.0}
    return SpokenUtterance(summary, learned=learned)


class AssistantMessages:
    """What is published of one assistant on BASE/ID; `speaks` in the recognizer's thread.

    Args:
        config: as of the device, but with the assistant's id and name in place of the device's.
    """

    def __init__(self, config: Config) -> None:
        self.publisher = MqttPublisher(config.mqtt, config.device)
        self._live = SpeakerMessages()
        self._utterances = 0
        if config.homeassistant.discovery:
            self.publisher.announce(
                discovery.announcement_of_assistant(config),
                discovery.birth_topic(config.homeassistant.prefix),
            )

    def new_utterance(self) -> Callable[[Sequence[Turn], float], None]:
        """What to call with the turns of an utterance that begins, and how much of it was heard."""
        self._utterances += _MOST_TURNS
        before = self._utterances
        return lambda turns, heard_s: self._speaks(
            [replace(turn, number=before + turn.number) for turn in turns], heard_s
        )

    def _speaks(self, turns: Sequence[Turn], heard_s: float) -> None:
        for message in self._live.add(turns, heard_s, time.time()):
            if message.suffix == SPEAKER:  # the summary is of the assistant's whole utterance
                self.publisher.publish(
                    SPEAKER,
                    one_line(message.content),
                    lifetime_s=LIFETIME_S,
                    expendable=True,
                    unconfirmed=True,
                )

    async def spoke(self, spoken: SpokenUtterance) -> None:
        """An utterance is over: publish whose it is, and wait until the broker has it."""
        if not self.publisher.connected:
            return
        self.publisher.publish(
            UTTERANCE, one_line(spoken.summary), lifetime_s=LIFETIME_S, expendable=True
        )
        until = time.monotonic() + _TOLD_S
        while self.publisher.waiting and time.monotonic() < until:
            await asyncio.sleep(_LOOK_S)


def of_assistant(config: Config, identity: str, name: str) -> Config:
    """The configuration with which an assistant's messages are those of a device of its own."""
    client = config.mqtt.client_id
    mqtt = replace(config.mqtt, client_id=f"{client}-{identity}" if client else None)
    return replace(config, mqtt=mqtt, device=DeviceConfig(identity, name))

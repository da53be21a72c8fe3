"""The doors of one service: each microphone is one, with its own name and rules."""

from __future__ import annotations

from dataclasses import replace

from edge.config.settings import Config, MicrophoneConfig


def door_ids(config: Config) -> list[str]:
    """The ids of the doors, the main one first."""
    return [config.device.id, *config.microphones]


def doors_of(config: Config) -> list[Config]:
    """The configuration of each door, the main one first: as if it were a device of its own."""
    further = (_door(config, name, each) for name, each in config.microphones.items())
    return [config, *further]


def is_main(door: Config) -> bool:
    """Whether one of `doors_of` is that of the main door."""
    return door.device.id not in door.microphones


def _door(config: Config, name: str, microphone: MicrophoneConfig) -> Config:
    mqtt, store = config.mqtt, config.store
    if mqtt.client_id is not None:
        mqtt = replace(mqtt, client_id=f"{mqtt.client_id}-{name}")
    if store.debug_recordings is not None:
        store = replace(store, debug_recordings=store.debug_recordings / name)
    return replace(
        config,
        device=replace(config.device, id=name, name=microphone.name or name),
        audio=replace(config.audio, device=microphone.device, source=microphone.source),
        mqtt=mqtt,
        store=store,
    )

"""Lists microphones and chooses one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge.audio import portaudio
from edge.errors import MicrophoneError

DeviceChoice = int | str | None
"""None for the system's default, a number, or a part of a name."""


@dataclass(frozen=True)
class InputDevice:
    """A device that can record.

    `index` is PortAudio's and may change when something is plugged in, `name` does not;
    `default_rate` is in samples per second.
    """

    index: int
    name: str
    channels: int
    default_rate: float
    is_default: bool


def list_devices() -> list[InputDevice]:
    """The devices that can record now.

    Raises:
        MicrophoneError: PortAudio is missing or does not answer.
    """

    def scan(sounddevice: Any) -> list[InputDevice]:
        portaudio.rescan(sounddevice)
        return scanned(sounddevice)

    return portaudio.call(scan)


def scanned(sounddevice: Any) -> list[InputDevice]:
    """The devices that PortAudio saw when it last looked; on PortAudio's thread."""
    default = int(sounddevice.default.device[0])
    if default < 0:
        default = int(sounddevice._lib.Pa_GetDefaultInputDevice())
    return [
        InputDevice(
            index=index,
            name=str(info["name"]),
            channels=int(info["max_input_channels"]),
            default_rate=float(info["default_samplerate"]),
            is_default=index == default,
        )
        for index, info in enumerate(sounddevice.query_devices())
        if info["max_input_channels"] > 0
    ]


def choose(devices: list[InputDevice], choice: DeviceChoice) -> InputDevice:
    """The chosen device; case does not matter, a full name wins over a part.

    Raises:
        MicrophoneError: there is none, or more than one; it lists them all.
    """
    if not devices:
        raise MicrophoneError("there is no microphone; connect one and check with: arecord -l")
    if choice is None:
        defaults = [device for device in devices if device.is_default]
        return (defaults or devices)[0]
    if isinstance(choice, int) or choice.strip().isdecimal():
        found = [device for device in devices if device.index == int(choice)]
    else:
        wanted = choice.strip().casefold()
        found = [device for device in devices if device.name.casefold() == wanted]
        found = found or [device for device in devices if wanted in device.name.casefold()]
    if len(found) == 1:
        return found[0]
    what = "no microphone is" if not found else "more than one microphone is"
    there = ", ".join(f"{device.index} '{device.name}'" for device in devices)
    raise MicrophoneError(f"{what} called '{choice}'; there are: {there}")

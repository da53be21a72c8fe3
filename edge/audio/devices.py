"""Lists microphones and chooses one.

The number of a sound card changes when something is plugged in, and with it the end of a device's
name, ` (hw:1,0)`. What lasts is the rest of the name; the card's own id, as in ALSA's
`hw:CARD=Device,DEV=0`; and, of two that are alike, the socket, as udev names it in
`/dev/snd/by-path`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.audio import portaudio
from edge.errors import MicrophoneError

DeviceChoice = int | str | None
"""None for the system's default, a number, or a name; see `choose`."""

_CARD = re.compile(r"\s*\(hw:(\d+),(\d+)\)$")
_ALSA = re.compile(
    r"(?:plug)?hw:(?:CARD=)?(?P<card>[\w-]+)(?:,(?:DEV=)?(?P<device>\d+))?(?:,.*)?", re.IGNORECASE
)
_LINK = re.compile(r"(?:/dev/snd/)?(?P<link>by-(?:path|id)/[^/]+)")
_CONTROL = re.compile(r"controlC(\d+)")
_CARDS = Path("/sys/class/sound")
_NODES = Path("/dev/snd")


@dataclass(frozen=True)
class InputDevice:
    """A device that can record.

    `index` is PortAudio's and may change when something is plugged in, as does the end of `name`;
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
            # Whoever makes a USB device chooses its name, and it gets to terminals and messages.
            name="".join(each if each.isprintable() else "?" for each in str(info["name"])),
            channels=int(info["max_input_channels"]),
            default_rate=float(info["default_samplerate"]),
            is_default=index == default,
        )
        for index, info in enumerate(sounddevice.query_devices())
        if info["max_input_channels"] > 0
    ]


def choose(devices: list[InputDevice], choice: DeviceChoice) -> InputDevice:
    """The chosen device, by number, name or a part of it, ALSA's name, or a link in `/dev/snd`.

    Case does not matter. A full name wins over a part, and also fits after the card's number has
    changed.

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
        bare = _CARD.sub("", wanted)
        found = (
            [device for device in devices if device.name.casefold() == wanted]
            or [device for device in devices if _is_card(device, choice.strip())]
            or [device for device in devices if _CARD.sub("", device.name).casefold() == bare]
            or [device for device in devices if wanted in device.name.casefold()]
        )
    if len(found) == 1:
        return found[0]
    what = "no microphone is" if not found else "more than one microphone is"
    there = ", ".join(f"{device.index} '{device.name}'" for device in devices)
    raise MicrophoneError(f"{what} called '{choice}'; there are: {there}")


def lasting_name(device: InputDevice, devices: Sequence[InputDevice]) -> str:
    """What chooses this one of the devices also after cards got other numbers, if anything does."""
    short = _CARD.sub("", device.name)
    same = [other for other in devices if short.casefold() in other.name.casefold()]
    if len(same) == 1:
        return short
    for link in sorted((_NODES / "by-path").glob("*")):
        if _is_card(device, f"by-path/{link.name}"):
            return str(link)
    return device.name


def _is_card(device: InputDevice, choice: str) -> bool:
    """Whether a device is the one of a card that is named as ALSA or udev does."""
    place = _CARD.search(device.name)
    named = _ALSA.fullmatch(choice)
    if place is None:
        return False
    if named is not None:
        right_device = named["device"] in (None, place[2])
        return right_device and named["card"].casefold() in (place[1], _id_of(place[1]))
    linked = _LINK.fullmatch(choice)
    return linked is not None and _card_behind(_NODES / linked["link"]) == place[1]


def _id_of(card: str) -> str | None:
    """The id of a card by its number; None where it has none."""
    try:
        text = (_CARDS / f"card{card}" / "id").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text.strip().casefold()


def _card_behind(link: Path) -> str | None:
    """The number of the card that a link leads to; None for none."""
    try:
        found = _CONTROL.fullmatch(link.readlink().name)
    except OSError:
        return None
    return None if found is None else found[1]

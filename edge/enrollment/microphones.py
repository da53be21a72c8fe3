"""Which microphone to enroll at: all of them listen while somebody speaks, the clearest is proposed.

ALSA lists every microphone under several names, and things that are none. What is a microphone is a
device with a card and a number, or one that somebody has named in a configuration of their own.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from edge.audio.blocks import QUIETEST_DB, level_db
from edge.audio.devices import InputDevice
from edge.audio.microphone import Microphone
from edge.audio.quality import measure_quality
from edge.audio.utterance import find_speech
from edge.enrollment.room_noise import QUIET_LIMIT_DBFS
from edge.errors import MicrophoneError
from edge.types import AudioBlock, FloatArray, Quality

LISTEN_S = 5.0
"""How long somebody speaks into all of them, seconds."""

_VIRTUAL = re.compile(
    r"(default|sysdefault|front|rear|side|center_lfe|surround\d+|iec958|spdif|hdmi|dmix|dsnoop|null"
    r"|pulse|pipewire|jack|oss|samplerate|speexrate|speex|lavrate|upmix|vdownmix|usbstream|modem"
    r"|phoneline|a52|dca|monitor of .*)(:.*)?",
    re.IGNORECASE,
)
_CARD = re.compile(r"\s*\(hw:\d+,\d+\)$")
_LEAST_SPEECH_S = 0.3
_CLIPPED_COSTS_DB = 200.0
"""For each share of the samples at full scale: 1 % costs 2 dB."""
_REFRESH_S = 0.05


class OpenMicrophone(Protocol):
    """What is listened to: `edge.audio.microphone.Microphone`."""

    def __enter__(self) -> object:
        """Open it; raises `MicrophoneError`."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        ...

    def close(self) -> None:
        """Have `blocks` end."""
        ...

    def blocks(self) -> Iterator[AudioBlock]:
        """What it hears, as it comes; raises `MicrophoneError`."""
        ...


@dataclass(frozen=True)
class MicrophoneLevel:
    """What a microphone made of somebody who spoke.

    Attributes:
        device: which one.
        quality: of what it heard; None where it could not be opened.
        fault: why not; None where it could.
    """

    device: InputDevice
    quality: Quality | None
    fault: str | None = None

    @property
    def hears(self) -> bool:
        """Whether it heard somebody speak."""
        return self.quality is not None and self.quality.net_speech_s >= _LEAST_SPEECH_S

    @property
    def worth_db(self) -> float:
        """How clear the speech is: above the noise, less for being overdriven or faint."""
        if self.quality is None or not self.hears:
            return -np.inf
        faint = max(0.0, QUIET_LIMIT_DBFS - self.quality.level_dbfs)
        return self.quality.snr_db - _CLIPPED_COSTS_DB * self.quality.clipped_fraction - faint

    def words(self) -> str:
        """What it heard, in words."""
        if self.quality is None:
            return f"cannot be opened: {self.fault}"
        if not self.hears:
            return "heard nobody speak"
        return (
            f"speech at {self.quality.level_dbfs:.0f} dB, {self.quality.snr_db:.0f} dB above the"
            " noise"
        )

    def as_dict(self) -> dict[str, Any]:
        """The result under its JSON names."""
        return {
            "index": self.device.index,
            "name": self.device.name,
            "quality": self.quality.as_dict() if self.quality else None,
            "fault": self.fault,
        }


def real_microphones(devices: Sequence[InputDevice]) -> list[InputDevice]:
    """Those of the devices that are microphones, each once."""
    return [device for device in devices if not _VIRTUAL.fullmatch(device.name.strip())]


def lasting_name(device: InputDevice, devices: Sequence[InputDevice]) -> str:
    """What to call a device in the configuration: its card's number may change, its name does not.

    Args:
        device: which one.
        devices: all there are, among which the name has to be the only one.
    """
    short = _CARD.sub("", device.name)
    same = [other for other in devices if short.casefold() in other.name.casefold()]
    return short if len(same) == 1 else device.name


def as_setting(name: str) -> str:
    """A device's name as YAML writes it."""
    return json.dumps(name, ensure_ascii=False)


def best_of(heard: Sequence[MicrophoneLevel]) -> MicrophoneLevel | None:
    """The microphone that hears somebody most clearly; None where none did."""
    clearest = max(heard, key=lambda one: one.worth_db, default=None)
    return clearest if clearest is not None and clearest.hears else None


def listen_to(
    devices: Sequence[InputDevice],
    levels: Callable[[Sequence[float]], None],
    listen_s: float = LISTEN_S,
    opened_as: Callable[[str], OpenMicrophone] = Microphone,
) -> list[MicrophoneLevel]:
    """Open several microphones and listen to all of them at once.

    Args:
        devices: which ones.
        levels: told what each hears now, dB relative to full scale, some twenty times a second.
        listen_s: for how long, seconds.
        opened_as: makes a microphone of a device's name.

    Returns:
        What each heard, in the same order.
    """
    ears = [_Ear(opened_as(device.name)) for device in devices]
    try:
        for ear in ears:
            ear.start()
        end = time.monotonic() + listen_s
        while time.monotonic() < end and any(ear.listens for ear in ears):
            levels([ear.level_dbfs for ear in ears])
            time.sleep(_REFRESH_S)
    finally:
        for ear in ears:
            ear.stop()
    return [MicrophoneLevel(device, ear.quality(), ear.fault) for device, ear in zip(devices, ears)]


class _Ear:
    """A microphone and the thread that listens to it."""

    def __init__(self, source: OpenMicrophone) -> None:
        self._source = source
        self._thread: threading.Thread | None = None
        self._parts: list[FloatArray] = []
        self.level_dbfs = QUIETEST_DB
        self.fault: str | None = None

    @property
    def listens(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        try:
            self._source.__enter__()
        except MicrophoneError as error:
            self.fault = str(error)
            return
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._thread is None:
            return
        self._source.close()
        self._thread.join(timeout=1.0)
        self._source.__exit__(None, None, None)

    def quality(self) -> Quality | None:
        if self.fault is not None:
            return None
        samples = np.concatenate([*self._parts, np.zeros(0, np.float32)])
        return measure_quality(samples, find_speech(samples))

    def _listen(self) -> None:
        try:
            for block in self._source.blocks():
                self._parts.append(block.samples)
                self.level_dbfs = level_db(block.samples)
        except MicrophoneError as error:
            self.fault = str(error)

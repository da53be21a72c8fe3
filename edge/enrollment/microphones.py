"""Chooses a microphone: all of them listen while somebody speaks, and the clearest is proposed.

ALSA lists each microphone under several names, and things that are not microphones. What counts is
a device with a card and a number, or one that the user's own configuration has named.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.audio.blocks import QUIETEST_DB, level_db
from edge.audio.devices import InputDevice
from edge.audio.microphone import Microphone
from edge.audio.quality import measure_quality
from edge.audio.sources import Source
from edge.audio.utterance import find_speech
from edge.enrollment.room_noise import QUIET_LIMIT_DBFS
from edge.errors import MicrophoneError
from edge.types import AudioBlock, Quality

LISTEN_S = 5.0
"""How long somebody speaks into all of them, seconds."""

_VIRTUAL = re.compile(
    r"(default|sysdefault|front|rear|side|center_lfe|surround\d+|iec958|spdif|hdmi|dmix|dsnoop|null"
    r"|pulse|pipewire|jack|oss|samplerate|speexrate|speex|lavrate|upmix|vdownmix|usbstream|modem"
    r"|phoneline|a52|dca|monitor of .*)(:.*)?",
    re.IGNORECASE,
)
_LEAST_SPEECH_S = 0.3
_CLIPPED_COSTS_DB = 200.0
"""For the share of samples at full scale: 1 % costs 2 dB."""
_REFRESH_S = 0.05


@dataclass(frozen=True)
class MicrophoneLevel:
    """How well a microphone hears somebody.

    Attributes:
        device: the microphone.
        quality: of the recording; None where it could not be opened.
        fault: why not, else None.
    """

    device: InputDevice
    quality: Quality | None
    fault: str | None = None

    @property
    def hears(self) -> bool:
        """Whether there was speech."""
        return self.quality is not None and self.quality.net_speech_s >= _LEAST_SPEECH_S

    @property
    def worth_db(self) -> float:
        """Speech above the noise, dB, less for clipping or faint speech."""
        if self.quality is None or not self.hears:
            return -np.inf
        faint = max(0.0, QUIET_LIMIT_DBFS - self.quality.level_dbfs)
        return self.quality.snr_db - _CLIPPED_COSTS_DB * self.quality.clipped_fraction - faint

    def words(self) -> str:
        """The result in words."""
        if self.quality is None:
            return f"cannot be opened: {self.fault}"
        if not self.hears:
            return "no speech"
        return (
            f"speech at {self.quality.level_dbfs:.0f} dB, {self.quality.snr_db:.0f} dB above the"
            " noise"
        )

    def as_dict(self) -> dict[str, Any]:
        """The result by its JSON names."""
        return {
            "index": self.device.index,
            "name": self.device.name,
            "quality": self.quality.as_dict() if self.quality else None,
            "fault": self.fault,
        }


def real_microphones(devices: Sequence[InputDevice]) -> list[InputDevice]:
    """The devices that are microphones, each once."""
    return [device for device in devices if not _VIRTUAL.fullmatch(device.name.strip())]


def as_setting(name: str) -> str:
    """A device's name as YAML writes it."""
    return json.dumps(name, ensure_ascii=False)


def best_of(levels: Sequence[MicrophoneLevel]) -> MicrophoneLevel | None:
    """The microphone with the clearest speech; None if no microphone heard any."""
    clearest = max(levels, key=lambda one: one.worth_db, default=None)
    return clearest if clearest is not None and clearest.hears else None


def listen_to(
    devices: Sequence[InputDevice],
    levels: Callable[[Sequence[float]], None],
    listen_s: float = LISTEN_S,
    opened_as: Callable[[str], Source] = Microphone,
) -> list[MicrophoneLevel]:
    """Listen to several microphones at once; returns how well each hears, in the same order.

    Args:
        devices: the microphones.
        levels: called with the present levels, dB relative to full scale, 20 times a second.
        listen_s: for how long, seconds.
        opened_as: makes a microphone of a device's name.
    """
    recorders = [_Recorder(opened_as(device.name)) for device in devices]
    try:
        for recorder in recorders:
            recorder.start()
        end = time.monotonic() + listen_s
        while time.monotonic() < end and any(recorder.running for recorder in recorders):
            levels([recorder.level_dbfs for recorder in recorders])
            time.sleep(_REFRESH_S)
    finally:
        for recorder in recorders:
            recorder.stop()
    return [
        MicrophoneLevel(device, recorder.quality(), recorder.fault)
        for device, recorder in zip(devices, recorders)
    ]


class _Recorder:
    """A microphone and the thread that records from it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._thread: threading.Thread | None = None
        self._blocks: list[AudioBlock] = []
        self.level_dbfs = QUIETEST_DB
        self.fault: str | None = None

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        try:
            self._source.__enter__()
        except MicrophoneError as error:
            self.fault = str(error)
            return
        self._thread = threading.Thread(target=self._record, daemon=True)
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
        blocks = self._blocks
        samples = np.concatenate([*(b.samples for b in blocks), np.zeros(0, np.float32)])
        clipped = [block.clipped_fraction for block in blocks]
        return measure_quality(samples, find_speech(samples), clipped=clipped)

    def _record(self) -> None:
        try:
            for block in self._source.blocks():
                self._blocks.append(block)
                self.level_dbfs = level_db(block.samples)
        except MicrophoneError as error:
            self.fault = str(error)

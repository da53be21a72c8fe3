"""The noise of the room before anybody speaks, and how loud speech should be in it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.audio.blocks import FRAME_S, QUIETEST_DB
from edge.audio.quality import measure_quality
from edge.audio.utterance import find_speech
from edge.types import FloatArray, Quality

LISTEN_S = 2.0
"""How long the room is listened to, seconds."""

USUAL_SPEECH_DBFS = -30.0
"""Speech at arm's length from a microphone with its usual gain."""
NOISY_DB = 18.0
"""Noise closer than this to usual speech costs accuracy."""
TOO_NOISY_DB = 6.0
"""With noise closer than this, most repetitions would be refused."""
QUIET_LIMIT_DBFS = -45.0
"""Mean level of faint speech that can still be judged."""
LOUD_LIMIT_DBFS = -12.0
"""Level of a vowel over 32 ms whose peaks, some 12 dB higher, reach full scale."""

_VOWELS_DB = 6.0
"""How far vowels are above the mean of the speech."""
_MARGIN_DB = 20.0
_NARROWEST_DB = 10.0
_SPOKEN_S = 0.2
_NOTHING_DBFS = -95.0


class RoomVerdict(str, enum.Enum):
    """How good a room is for enrolling."""

    QUIET = "quiet"
    NOISY = "noisy"
    TOO_NOISY = "too_noisy"
    NOTHING = "nothing"
    """Digital silence: a muted microphone, or one with a noise gate."""


@dataclass(frozen=True)
class RoomNoise:
    """The noise of a room.

    Attributes:
        level_dbfs: mean level outside of speech, dB relative to full scale.
        speech_s: unwanted speech during the measurement, seconds.
    """

    level_dbfs: float
    speech_s: float = 0.0

    @property
    def spoken(self) -> bool:
        """Whether somebody spoke, so that it has to be measured again."""
        return self.speech_s >= _SPOKEN_S

    @property
    def verdict(self) -> RoomVerdict:
        """How good the room is."""
        if self.level_dbfs <= _NOTHING_DBFS:
            return RoomVerdict.NOTHING
        if self.level_dbfs > USUAL_SPEECH_DBFS - TOO_NOISY_DB:
            return RoomVerdict.TOO_NOISY
        if self.level_dbfs > USUAL_SPEECH_DBFS - NOISY_DB:
            return RoomVerdict.NOISY
        return RoomVerdict.QUIET

    def explanation(self) -> str:
        """The verdict and what to do about it, in a line."""
        level = f"{self.level_dbfs:.0f} dB"
        return {
            RoomVerdict.NOTHING: (
                "No sound at all: fine if this microphone has a noise gate, else check its switch"
                " and its level."
            ),
            RoomVerdict.TOO_NOISY: (
                f"Far too noisy ({level}): switch off fans, close the window, or lower the"
                " microphone's level."
            ),
            RoomVerdict.NOISY: (
                f"The room is noisy ({level}): move closer, switch off fans, or wait for a quieter"
                " moment."
            ),
            RoomVerdict.QUIET: f"The room is quiet enough ({level}).",
        }[self.verdict]

    def as_dict(self) -> dict[str, Any]:
        """The measurements by their JSON names."""
        return {
            "level_dbfs": round(self.level_dbfs, 1),
            "verdict": self.verdict.value,
            "speech_s": round(self.speech_s, 2),
        }


def measure_room(samples: FloatArray) -> RoomNoise:
    """Measure mono audio at `SAMPLE_RATE`, shape (n,), in which nobody should have spoken."""
    speech = find_speech(samples)
    quality = measure_quality(samples, speech)
    return RoomNoise(quality.noise_dbfs, float(np.count_nonzero(speech)) * FRAME_S)


def loudest_of(qualities: Sequence[Quality]) -> RoomNoise | None:
    """The noise around the speech of recordings; None without speech."""
    levels = [quality.noise_dbfs for quality in qualities if quality.net_speech_s > 0.0]
    return RoomNoise(max(levels)) if levels else None


def target_range(noise: RoomNoise | None) -> tuple[float, float]:
    """The lowest and highest level that vowels should have in a room, dB relative to full scale."""
    floor = QUIETEST_DB if noise is None else noise.level_dbfs
    low = max(QUIET_LIMIT_DBFS + _VOWELS_DB, floor + _MARGIN_DB)
    return min(low, LOUD_LIMIT_DBFS - _NARROWEST_DB), LOUD_LIMIT_DBFS

"""How noisy the room is, measured before anybody speaks, and how loud speech should be in it."""

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
"""Speech at arm's length from a microphone whose gain nobody has touched."""
NOISY_DB = 18.0
"""Closer than this to usual speech, the noise begins to cost accuracy."""
TOO_NOISY_DB = 6.0
"""Closer than this, most repetitions would be refused."""
QUIET_LIMIT_DBFS = -45.0
"""Mean level of speech that is rather faint, though it can be judged."""
LOUD_LIMIT_DBFS = -12.0
"""Level of a vowel, over 32 ms, whose peaks, some 12 dB above it, reach full scale."""

_VOWELS_DB = 6.0
"""How far vowels are above the mean of the speech."""
_MARGIN_DB = 20.0
_NARROWEST_DB = 10.0
_SPOKEN_S = 0.2
_NOTHING_DBFS = -95.0


class RoomVerdict(str, enum.Enum):
    """What a room is worth for enrolling in it."""

    QUIET = "quiet"
    NOISY = "noisy"
    TOO_NOISY = "too_noisy"
    NOTHING = "nothing"
    """Digital silence: a muted microphone, or one that shuts its gate when nobody speaks."""


@dataclass(frozen=True)
class RoomNoise:
    """The noise of a room.

    Attributes:
        level_dbfs: mean level of what is not speech, dB relative to full scale.
        speech_s: seconds of speech that were heard meanwhile, though none was wanted.
    """

    level_dbfs: float
    speech_s: float = 0.0

    @property
    def spoken(self) -> bool:
        """Whether somebody spoke, so that it should be measured again."""
        return self.speech_s >= _SPOKEN_S

    @property
    def verdict(self) -> RoomVerdict:
        """What it means."""
        if self.level_dbfs <= _NOTHING_DBFS:
            return RoomVerdict.NOTHING
        if self.level_dbfs > USUAL_SPEECH_DBFS - TOO_NOISY_DB:
            return RoomVerdict.TOO_NOISY
        if self.level_dbfs > USUAL_SPEECH_DBFS - NOISY_DB:
            return RoomVerdict.NOISY
        return RoomVerdict.QUIET

    def explanation(self) -> str:
        """What it means, and what to do about it, in a line."""
        level = f"{self.level_dbfs:.0f} dB"
        verdict = self.verdict
        if verdict is RoomVerdict.NOTHING:
            return (
                "No sound at all: fine if this microphone is silent while nobody speaks, else"
                " check its switch and its level."
            )
        if verdict is RoomVerdict.TOO_NOISY:
            return (
                f"Far too noisy ({level}): switch off what hums, close the window, or lower the"
                " microphone's level."
            )
        if verdict is RoomVerdict.NOISY:
            return (
                f"The room is noisy ({level}): come close, or find a quieter moment; a fan that is"
                " off helps."
            )
        return f"The room is quiet ({level}): good."

    def as_dict(self) -> dict[str, Any]:
        """The figures under their JSON names."""
        return {
            "level_dbfs": round(self.level_dbfs, 1),
            "verdict": self.verdict.value,
            "speech_s": round(self.speech_s, 2),
        }


def measure_room(samples: FloatArray) -> RoomNoise:
    """Measure a stretch in which nobody should have spoken.

    Args:
        samples: mono audio at `SAMPLE_RATE`, shape (n,).
    """
    speech = find_speech(samples)
    quality = measure_quality(samples, speech)
    return RoomNoise(quality.noise_dbfs, float(np.count_nonzero(speech)) * FRAME_S)


def loudest_of(qualities: Sequence[Quality]) -> RoomNoise | None:
    """The room as recordings have it around their speech; None without any speech."""
    levels = [quality.noise_dbfs for quality in qualities if quality.net_speech_s > 0.0]
    return RoomNoise(max(levels)) if levels else None


def target_range(noise: RoomNoise | None) -> tuple[float, float]:
    """Between which levels the vowels of speech should be, dB relative to full scale.

    Args:
        noise: the room; in a noisy one speech has to be louder. None where it was not measured.
    """
    floor = QUIETEST_DB if noise is None else noise.level_dbfs
    low = max(QUIET_LIMIT_DBFS + _VOWELS_DB, floor + _MARGIN_DB)
    return min(low, LOUD_LIMIT_DBFS - _NARROWEST_DB), LOUD_LIMIT_DBFS

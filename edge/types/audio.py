"""Sound on its way: blocks as they arrive, and the utterances that are cut from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Samples per second of all audio inside the software; sources resample to it."""

PAUSE_S = 0.25
"""A longer silence within speech is a pause. No word has one that long."""

FloatArray = NDArray[np.float32]

# Types that hold arrays compare by identity: arrays have no single answer to ==.


@dataclass(frozen=True, eq=False)
class AudioBlock:
    """A stretch of the stream as a source delivers it.

    Attributes:
        samples: mono audio at `SAMPLE_RATE`, shape (n,), high-passed. Full scale is [-1, 1); beyond
            it filters overshoot.
        start_s: position of the first sample in the stream, seconds by sample count.
        captured_at: `time.monotonic()` when the last sample was there.
        lost_samples: samples lost just before this block (an overflow).
        clipped_fraction: share of the samples at full scale in any channel as they came in, before
            channels were mixed and the offset was removed, 0 to 1.
    """

    samples: FloatArray = field(repr=False)
    start_s: float
    captured_at: float
    lost_samples: int = 0
    clipped_fraction: float = 0.0

    @property
    def end_s(self) -> float:
        """Position just after the last sample, in seconds."""
        return self.start_s + len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Quality:
    """What a recording is worth, measured before anything is recognized.

    Attributes:
        level_dbfs: mean level of the speech, dB relative to full scale (a full-scale sine is -3).
        noise_dbfs: mean level of what is not speech, dB relative to full scale.
        snr_db: estimated ratio of speech to noise, dB; 60 at most.
        clipped_fraction: share of the speech samples at full scale, 0 to 1.
        net_speech_s: seconds of speech after silence is removed.
        reverberation_s: estimated reverberation time of the room, seconds; 2 at most.
    """

    level_dbfs: float
    noise_dbfs: float
    snr_db: float
    clipped_fraction: float
    net_speech_s: float
    reverberation_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The figures, rounded for people, under their JSON names."""
        return {
            "level_dbfs": round(self.level_dbfs, 1),
            "noise_dbfs": round(self.noise_dbfs, 1),
            "snr_db": round(self.snr_db, 1),
            "clipped_fraction": round(self.clipped_fraction, 4),
            "net_speech_s": round(self.net_speech_s, 2),
            "reverberation_s": round(self.reverberation_s, 1),
        }


@dataclass(frozen=True, eq=False)
class Utterance:
    """One stretch of speech, cut from the stream.

    Attributes:
        samples: mono audio at `SAMPLE_RATE`, shape (n,), with a little silence kept at both ends.
        start_s: position of the first sample in the stream, seconds.
        end_s: position where the speech itself ended (not the silence kept after it), seconds.
        speech_ended_at: `time.monotonic()` at the end of speech as it arrived at the device.
        closed_at: `time.monotonic()` when the end-pointer was sure and let the utterance go.
        truncated: cut at the longest length allowed while speech was still going on.
        lead_s: how much silence is kept before the speech, seconds.
        pauses: longer silences within the speech: the first sample of each, and the one after it.
        joined: it and the utterance before it as one, where only a short pause lies between them:
            perhaps two halves of a phrase.
    """

    samples: FloatArray = field(repr=False)
    start_s: float
    end_s: float
    quality: Quality
    speech_ended_at: float = 0.0
    closed_at: float = 0.0
    truncated: bool = False
    lead_s: float = 0.0
    pauses: tuple[tuple[int, int], ...] = ()
    joined: Utterance | None = None

    @property
    def duration_s(self) -> float:
        """Length of `samples` in seconds."""
        return len(self.samples) / SAMPLE_RATE

    @property
    def tail_s(self) -> float:
        """How much silence is kept after the speech, in seconds."""
        return max(0.0, self.start_s + self.duration_s - self.end_s)

    def shares(self, other: Utterance) -> bool:
        """Whether most of the shorter one is the same part of the stream."""
        common = min(self.end_s, other.end_s) - max(self.start_s, other.start_s)
        return common > 0.5 * min(self.end_s - self.start_s, other.end_s - other.start_s)

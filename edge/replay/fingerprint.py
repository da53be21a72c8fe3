"""Fingerprints of utterances, to recognize a recording of one.

Nobody says a phrase twice with the same pitch at every moment. In windows of a quarter of a second
the gliding harmonics of a voice form a pattern of narrow peaks that is practically random from one
repetition to the next, while a loudspeaker, a room or a codec changes the levels of the peaks but
hardly their places. A fingerprint contains those places: for each of 512 bands, 3.9 Hz wide, from
200 Hz to 2.2 kHz, one bit that says whether the band stands out from its neighbors in time and
frequency. It contains no levels and no phases.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge.types import FloatArray

BANDS = 512
FRAME_S = 0.064
"""From one frame of a fingerprint to the next, seconds."""
MAX_FRAMES = 160
"""Longest fingerprint, 10 s; of a longer sound the end is kept, where the passphrase is."""
MIN_OVERLAP = 5
"""Frames of speech that two fingerprints must share to be compared, a third of a second."""
PHASES = 4
"""Offsets within a frame at which an utterance is compared, 16 ms apart."""

_WINDOW = 4096
_HOP = 256
_LOWEST_BIN = 51
"""200 Hz."""
_MARGIN = 12
"""Bins on both sides of the bands, for the neighbors and for other speeds."""
_NEAR_BANDS, _NEAR_FRAMES = 4, 2
"""Neighbors on each side that a band has to stand out from."""
_FLOOR = 0.01
"""Share of the strongest band's mean power below which a peak would be noise."""
_QUIETEST = 10.0 ** (-25.0 / 10.0)
"""Power of a frame relative to the loudest ones below which it counts as a pause."""
_PEAK = 0.6
"""Standard deviations of its band from which a frame's value is a peak: about a quarter is."""
_SOFT = (-0.7, 2.5)
"""Limits of the values that are compared with peaks, in standard deviations."""
_BATCH = 8
"""Windows transformed at once: more take megabytes, and no less time."""
_VERSION = 1
_HEAD = struct.Struct("<BH")
"""Version and number of frames; then one bit per frame, whether it is speech, and the peaks of
those that are."""

Bits = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is stored of an utterance.

    Attributes:
        peaks: which bands stand out, eight per byte, shape (frames, BANDS / 8); 0 in pauses.
        speech: which frames are speech, shape (frames,), at least one of them.
    """

    peaks: Bits = field(repr=False)
    speech: Mask = field(repr=False)

    def to_bytes(self) -> bytes:
        """The stored form: 64 bytes and a bit for each frame of speech, about 1 kB per second."""
        head = _HEAD.pack(_VERSION, len(self.speech))
        return head + np.packbits(self.speech).tobytes() + self.peaks[self.speech].tobytes()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Fingerprint:
        """The fingerprint of these bytes. Raises `ValueError` if damaged, or of another version."""
        if len(payload) < _HEAD.size:
            raise ValueError("damaged fingerprint (too short)")
        version, frames = _HEAD.unpack_from(payload)
        if version != _VERSION:
            raise ValueError(f"fingerprint of version {version}")
        start = _HEAD.size + (frames + 7) // 8
        if not MIN_OVERLAP <= frames <= MAX_FRAMES or len(payload) < start:
            raise ValueError(f"damaged fingerprint ({frames} frames)")
        flags = np.unpackbits(np.frombuffer(payload[_HEAD.size : start], np.uint8)) > 0
        speech = flags[:frames]
        count = int(np.count_nonzero(speech))
        if count < MIN_OVERLAP or flags[frames:].any():
            raise ValueError("damaged fingerprint (no speech)")
        if len(payload) != start + count * (BANDS // 8):
            raise ValueError("damaged fingerprint (size)")
        peaks = np.zeros((frames, BANDS // 8), np.uint8)
        peaks[speech] = np.frombuffer(payload[start:], np.uint8).reshape(count, BANDS // 8)
        return cls(peaks, speech)


class UtterancePeaks:
    """The spectral peaks of an utterance of any level, mono at `SAMPLE_RATE`, shape (n,)."""

    def __init__(self, samples: FloatArray) -> None:
        power = _spectrogram(samples[-(MAX_FRAMES - 1) * PHASES * _HOP :])
        energy = power.sum(axis=1)
        speech = energy > _QUIETEST * np.percentile(energy, 95.0)
        at = np.flatnonzero(speech)
        if len(at) == 0:
            power, speech = power[:0], speech[:0]
        else:
            # The first and the last frame keep their neighbors in time.
            first = max(0, int(at[0]) - _NEAR_FRAMES * PHASES)
            last = int(at[-1]) + 1 + _NEAR_FRAMES * PHASES
            power, speech = power[first:last], speech[first:last]
            power = power + _FLOOR * power[speech].mean(axis=0).max()
        self._log = np.log(power)
        self._speech: Mask = speech
        self._prominence: dict[int, FloatArray] = {}

    @property
    def usable(self) -> bool:
        """Whether there is enough speech."""
        return int(np.count_nonzero(self._speech[::PHASES])) >= MIN_OVERLAP

    def fingerprint(self) -> Fingerprint:
        """The fingerprint to store. Raises `ValueError` if there is not enough speech."""
        if not self.usable:
            raise ValueError("too little speech for a fingerprint")
        values, speech = self._values(0, 0.0)
        peaks = np.packbits((values > _PEAK) & speech[:, np.newaxis], axis=1)
        return Fingerprint(peaks, speech)

    def views(self, speeds: Sequence[float], phases: Sequence[int]) -> tuple[FloatArray, Mask]:
        """Values at every speed and phase, and which frames are speech.

        Shapes (views, frames, BANDS), 0 in pauses, and (views, frames).
        """
        views = [self._values(phase, speed) for speed in speeds for phase in phases]
        frames = max(len(speech) for _, speech in views)
        values = np.zeros((len(views), frames, BANDS), np.float32)
        mask = np.zeros((len(views), frames), np.bool_)
        for index, (one, speech) in enumerate(views):
            soft = np.clip(one, *_SOFT)
            soft -= soft[speech].mean(axis=0)
            soft[~speech] = 0.0
            soft /= np.sqrt(np.mean(np.square(soft[speech]))) + 1e-9
            values[index, : len(one)] = soft
            mask[index, : len(one)] = speech
        return values, mask

    def _values(self, phase: int, speed: float) -> tuple[FloatArray, Mask]:
        """How far each band stands out from its neighbors, in standard deviations of the band."""
        speech = self._speech[phase::PHASES]
        prominence = self._prominence.get(phase)
        if prominence is None:
            prominence = _above_neighbors(self._log[phase::PHASES], _NEAR_FRAMES, 0)
            prominence = self._prominence[phase] = _above_neighbors(prominence, _NEAR_BANDS, 1)
        at = (np.arange(BANDS) + _LOWEST_BIN) * (1.0 + speed) - (_LOWEST_BIN - _MARGIN)
        below = at.astype(np.intp)
        part = (at - below).astype(np.float32)
        values = prominence[:, below] * (1 - part) + prominence[:, below + 1] * part
        own = values[speech]
        values = (values - np.median(own, axis=0)) / (own.std(axis=0) + 1e-3)
        return values.astype(np.float32), speech


def _spectrogram(samples: FloatArray) -> FloatArray:
    """Power in the bands and their margins, shape (n // 256 + 1, BANDS + 2 * margin)."""
    half = _WINDOW // 2
    padded = np.concatenate((np.zeros(half), samples, np.zeros(half))).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    shape = np.hanning(_WINDOW).astype(np.float32)
    first, last = _LOWEST_BIN - _MARGIN, _LOWEST_BIN + BANDS + _MARGIN
    power = np.empty((len(windows), last - first), np.float32)
    for start in range(0, len(windows), _BATCH):
        spectrum = np.fft.rfft(windows[start : start + _BATCH] * shape)[:, first:last]
        power[start : start + _BATCH] = np.square(spectrum.real) + np.square(spectrum.imag)
    return power


def _above_neighbors(values: FloatArray, near: int, axis: int) -> FloatArray:
    """Values less the mean of themselves and of `near` neighbors on each side."""
    along = np.moveaxis(values, axis, 0)
    count = len(along)
    padded = np.concatenate((along[:1].repeat(near, 0), along, along[-1:].repeat(near, 0)))
    total = padded[:count].copy()
    for step in range(1, 2 * near + 1):
        total += padded[step : step + count]
    return np.moveaxis(along - total / np.float32(2 * near + 1), 0, axis)

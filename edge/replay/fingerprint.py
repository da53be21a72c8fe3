"""Fingerprints of utterances, to recognize a recording of one.

Nobody says a phrase twice with the same pitch at every moment. In windows of a quarter of a second
the gliding harmonics of a voice form a pattern of narrow peaks that is practically random from one
repetition to the next, while a loudspeaker, a room or a codec changes the levels of the peaks but
hardly their places. A fingerprint contains those places: for each of 512 bands, 3.9 Hz wide, from
200 Hz to 2.2 kHz, one bit that says whether the band stands out from its neighbors in time and
frequency. It contains no levels and no phases.
"""

from __future__ import annotations

import functools
import struct
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
"""Frames of an utterance for each one of a fingerprint, 16 ms apart."""
WIDEST = 0.13
"""How far an utterance may be higher or lower than a fingerprint, as a natural logarithm."""

_WINDOW = 4096
_HOP = 256
_LOWEST_BIN = 51
"""200 Hz."""
_MARGIN = 12
"""Bins on both sides of the bands, for their neighbors."""
_HIGHER = 72
"""More bins above, for an utterance that is higher."""
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

    def unpacked(self, bands: slice) -> FloatArray:
        """Peaks of some bands as 0 and 1 less the band's mean, which is the room's; 0 in pauses."""
        bits = np.unpackbits(self.peaks[:, bands.start // 8 : bands.stop // 8], axis=1)
        values = bits.astype(np.float32)
        values[self.speech] -= values[self.speech].mean(axis=0)
        return values

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
        usual = power[:, : BANDS + 2 * _MARGIN]
        energy = usual.sum(axis=1)
        speech = energy > _QUIETEST * np.percentile(energy, 95.0)
        at = np.flatnonzero(speech)
        if len(at) == 0:
            power, speech = power[:0], speech[:0]
        else:
            # The first and the last frame keep their neighbors in time.
            first = max(0, int(at[0]) - _NEAR_FRAMES * PHASES)
            last = int(at[-1]) + 1 + _NEAR_FRAMES * PHASES
            power, speech = power[first:last], speech[first:last]
            power = power + _FLOOR * usual[first:last][speech].mean(axis=0).max()
        self._log = np.log(power)
        self.speech: Mask = speech

    @property
    def usable(self) -> bool:
        """Whether there is enough speech."""
        return int(np.count_nonzero(self.speech[::PHASES])) >= MIN_OVERLAP

    def fingerprint(self) -> Fingerprint:
        """The fingerprint to store. Raises `ValueError` if there is not enough speech."""
        if not self.usable:
            raise ValueError("too little speech for a fingerprint")
        speech = self.speech[::PHASES]
        prominence = _prominence(self._log[::PHASES, : BANDS + 2 * _MARGIN], 1)
        values = _standardized(prominence[:, _MARGIN : _MARGIN + BANDS], speech)
        return Fingerprint(np.packbits((values > _PEAK) & speech[:, np.newaxis], axis=1), speech)

    def at_pitch(self, higher: float, bands: slice = slice(0, BANDS), step: int = 1) -> FloatArray:
        """How far each band stands out, where this is `higher` than what it is compared with.

        Every `step`th frame, shape (frames, bands): 0 in pauses, elsewhere of unit power.

        Args:
            higher: natural logarithm of the ratio of pitches, up to `WIDEST` on both sides.
        """
        at = (np.arange(bands.start, bands.stop) + _LOWEST_BIN) * np.exp(higher)
        at -= _LOWEST_BIN - _MARGIN
        below = at.astype(np.intp)
        part = (at - below).astype(np.float32)
        frames = self._frames[::step]
        values: FloatArray = (
            np.take(frames, below, 1) * (1 - part) + np.take(frames, below + 1, 1) * part
        )
        # Between two bins they are smaller.
        count = np.count_nonzero(self.speech[::step]) * len(below)
        values *= np.sqrt(count / (np.vdot(values, values) + 1e-9), dtype=np.float32)
        return values

    @functools.cached_property
    def _frames(self) -> FloatArray:
        """Standardized values of all frames and bins, limited: one peak counts as much as any."""
        values = _standardized(_prominence(self._log, PHASES), self.speech)
        np.clip(values, *_SOFT, out=values)
        values -= values[self.speech].mean(axis=0)
        values[~self.speech] = 0.0
        return values


def _spectrogram(samples: FloatArray) -> FloatArray:
    """Power in the bands and their margins, shape (n // 256 + 1, bins)."""
    half = _WINDOW // 2
    padded = np.concatenate((np.zeros(half), samples, np.zeros(half))).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    shape = np.hanning(_WINDOW).astype(np.float32)
    first, last = _LOWEST_BIN - _MARGIN, _LOWEST_BIN + BANDS + _MARGIN + _HIGHER
    power = np.empty((len(windows), last - first), np.float32)
    for start in range(0, len(windows), _BATCH):
        spectrum = np.fft.rfft(windows[start : start + _BATCH] * shape)[:, first:last]
        power[start : start + _BATCH] = np.square(spectrum.real) + np.square(spectrum.imag)
    return power


def _prominence(log: FloatArray, step: int) -> FloatArray:
    """How far each bin stands out from its neighbors in time, `step` frames apart, and in pitch."""
    return _above_neighbors(_above_neighbors(log, _NEAR_FRAMES, 0, step), _NEAR_BANDS, 1)


def _standardized(values: FloatArray, speech: Mask) -> FloatArray:
    """In standard deviations of each band above its median."""
    own = values[speech]
    result: FloatArray = (values - np.median(own, axis=0)) / (own.std(axis=0) + 1e-3)
    return result.astype(np.float32, copy=False)


def _above_neighbors(values: FloatArray, near: int, axis: int, step: int = 1) -> FloatArray:
    """Values less the mean of themselves and of `near` neighbors on each side."""
    along = np.moveaxis(values, axis, 0)
    count = len(along)
    edge = near * step
    padded = np.concatenate((along[:1].repeat(edge, 0), along, along[-1:].repeat(edge, 0)))
    total = padded[:count].copy()
    for start in range(step, 2 * edge + 1, step):
        total += padded[start : start + count]
    above: FloatArray = np.moveaxis(along - total / np.float32(2 * near + 1), 0, axis)
    return above

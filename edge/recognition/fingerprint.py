"""Fingerprints of utterances: whether a sound is one that was heard before, played again.

Nobody says a phrase twice with the same pitch at every moment. Seen through windows of a quarter
of a second, the harmonics of a voice, gliding all the time, make a pattern of narrow peaks that is
as good as random from one saying to the next, while a loudspeaker, a room or a codec changes the
levels of the peaks but hardly their places. A fingerprint holds those places: for each of 512
bands, 3.9 Hz wide and from 200 Hz to 2.2 kHz, one bit that says whether the band stands out from
its neighbours, before and after as well as above and below. No level and no phase is kept.

Two fingerprints are held against each other at every shift in time and at a few speeds (clocks of
players and microphones differ). The idea of matching patterns of bits along the time axis is that
of J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system", ISMIR 2002.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional, Union

import numpy as np
from numpy.typing import NDArray

from edge.types import FloatArray

BANDS = 512
"""Bands of a fingerprint."""
FRAME_S = 0.064
"""From one frame of a fingerprint to the next, seconds."""
MAX_FRAMES = 160
"""Longest fingerprint, 10 s; of a longer sound the end is kept, where the passphrase is."""
MIN_OVERLAP = 5
"""Frames of speech that two fingerprints must share to be compared, a third of a second."""

_WINDOW = 4096
_LOWEST_BIN = 51
"""200 Hz."""
_MARGIN = 12
"""Bins on both sides of the bands, for the neighbours and for other speeds."""
_HOP = 256
_PHASES = 4
"""Steps of a frame at which what is heard is laid beside what is remembered: 16 ms apart."""
_SPEEDS = (-0.0025, 0.0025, -0.005, 0.005)
"""Relative speeds that are tried where the same speed does not fit; half a step costs little."""
_NEAR_BANDS, _NEAR_FRAMES = 4, 2
"""Neighbours on each side that a band has to stand out from."""
_FLOOR = 0.01
"""What is weaker than this share of the strongest band's mean power is no peak, but noise."""
_QUIETEST = 10.0 ** (-25.0 / 10.0)
"""Power of a frame relative to the loudest ones below which it counts as a pause."""
_PEAK = 0.6
"""Standard deviations of its band from which a frame's value is a peak: about a quarter is."""
_SOFT = (-0.7, 2.5)
"""Limits of what is laid beside the bits, in standard deviations."""
_WRONG_SPEEDS = (-0.021, -0.0185, -0.016, 0.016, 0.0185, 0.021)
"""Speeds at which nothing is played, to see how alike two utterances are by chance."""
_CHANCE_SHARE = 0.75
"""Share of that which the threshold rises by: some of it is chance itself."""
_USUAL_CHANCE = 0.45
"""What is mostly seen there, as the correlation of one frame."""
_ABOVE_CHANCE = 0.164
"""How far above that a sound is suspected, however much is compared."""
_ABOVE_CHANCE_SHORT = 2.1
"""The same for short pieces: this, divided by the frames that are compared."""
_SHARE = 0.4
"""Least share of the shorter utterance's speech that must lie beside the other's."""
_FINALISTS = 4
"""Fingerprints that are compared in full after a quick look at all of them."""
_QUICK = slice(8, 24)
"""Bytes of a frame that the quick look is at, 450 to 950 Hz: no loudspeaker is without them, and
another speed hardly moves them."""
_AT_ONCE = 8
"""Windows that are transformed together: more take megabytes, and no less time."""
_BLOCK = 256
"""Fingerprints, or frames, that are worked on at once; bounds the memory."""
_VERSION = 1
_HEAD = struct.Struct("<BH")
"""Version and frames, before the bits of which frames are speech and the peaks of those."""

Bits = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is remembered of an utterance.

    Attributes:
        peaks: which bands stand out, eight to a byte, shape (frames, BANDS / 8); 0 in pauses.
        speech: which frames are speech, shape (frames,), at least one of them.
    """

    peaks: Bits = field(repr=False)
    speech: Mask = field(repr=False)

    @property
    def speech_s(self) -> float:
        """Seconds of it that are speech."""
        return float(np.count_nonzero(self.speech)) * FRAME_S

    def encoded(self) -> bytes:
        """It as bytes, 64 and a bit for each frame of speech: about 1 kB a second."""
        head = _HEAD.pack(_VERSION, len(self.speech))
        return head + np.packbits(self.speech).tobytes() + self.peaks[self.speech].tobytes()

    @classmethod
    def decoded(cls, payload: bytes) -> Fingerprint:
        """What `encoded` gave.

        Raises:
            ValueError: it is no fingerprint, or one of another version.
        """
        if len(payload) < _HEAD.size:
            raise ValueError("a fingerprint that is cut short")
        version, frames = _HEAD.unpack_from(payload)
        if version != _VERSION:
            raise ValueError(f"a fingerprint of version {version}")
        if not MIN_OVERLAP <= frames <= MAX_FRAMES:
            raise ValueError(f"a fingerprint of {frames} frames")
        start = _HEAD.size + (frames + 7) // 8
        flags = np.frombuffer(payload[_HEAD.size : start], np.uint8)
        if len(payload) < start:
            raise ValueError("a fingerprint that is cut short")
        every = np.unpackbits(flags).astype(np.bool_)
        speech = every[:frames]
        count = int(np.count_nonzero(speech))
        if count < MIN_OVERLAP or every[frames:].any():
            raise ValueError("a fingerprint without speech")
        if len(payload) != start + count * (BANDS // 8):
            raise ValueError("a fingerprint of the wrong length")
        peaks = np.zeros((frames, BANDS // 8), np.uint8)
        peaks[speech] = np.frombuffer(payload[start:], np.uint8).reshape(count, BANDS // 8)
        return cls(peaks, speech)


@dataclass(frozen=True)
class Resemblance:
    """How exactly an utterance is one that is remembered.

    Attributes:
        index: which of the remembered ones.
        score: correlation of the peaks at the best shift and speed: 1 for the same samples, about
            0 for others; mostly under `threshold` for a second saying.
        threshold: score from which it is no second saying; higher where little speech overlaps.
        overlap_s: seconds of speech that were compared.
    """

    index: int
    score: float
    threshold: float
    overlap_s: float

    @property
    def suspected(self) -> bool:
        """Whether this is the same sound."""
        return self.score >= self.threshold


class Heard:
    """An utterance as it is compared and remembered.

    Args:
        samples: mono audio at `SAMPLE_RATE`, shape (n,), of any level.
    """

    def __init__(self, samples: FloatArray) -> None:
        power = _spectrogram(samples[-(MAX_FRAMES - 1) * _PHASES * _HOP :])
        energy = power.sum(axis=1)
        speech = energy > _QUIETEST * np.percentile(energy, 95.0) if len(energy) else energy > 0
        at = np.flatnonzero(speech)
        if len(at) == 0 or not energy[at[0]] > 0.0:
            power, speech = power[:0], speech[:0]
        else:
            # Neighbours in time of the first and the last frame stay.
            first = max(0, int(at[0]) - _NEAR_FRAMES * _PHASES)
            last = int(at[-1]) + 1 + _NEAR_FRAMES * _PHASES
            power, speech = power[first:last], speech[first:last]
            power = power + _FLOOR * power[speech].mean(axis=0).max()
        self._log = np.log(power)
        self._speech: Mask = speech
        self._standing: dict[int, FloatArray] = {}

    @property
    def usable(self) -> bool:
        """Whether there is enough speech to compare or to remember."""
        return int(np.count_nonzero(self._speech[::_PHASES])) >= MIN_OVERLAP

    def fingerprint(self) -> Fingerprint:
        """What to remember of it.

        Raises:
            ValueError: it is not `usable`.
        """
        if not self.usable:
            raise ValueError("too little speech for a fingerprint")
        values, speech = self._values(0, 0.0)
        peaks = np.packbits((values > _PEAK) & speech[:, np.newaxis], axis=1)
        return Fingerprint(peaks, speech)

    def views(self, speeds: Sequence[float], phases: Sequence[int]) -> tuple[FloatArray, Mask]:
        """It at every speed and step: shape (views, frames, BANDS), and which are speech."""
        every = [self._values(phase, speed) for speed in speeds for phase in phases]
        frames = max(len(speech) for _, speech in every)
        values = np.zeros((len(every), frames, BANDS), np.float32)
        mask = np.zeros((len(every), frames), np.bool_)
        for index, (one, speech) in enumerate(every):
            soft = np.clip(one, *_SOFT)
            soft -= soft[speech].mean(axis=0)
            soft[~speech] = 0.0
            soft /= np.sqrt(np.mean(np.square(soft[speech]))) + 1e-9
            values[index, : len(one)] = soft
            mask[index, : len(one)] = speech
        return values, mask

    def _values(self, phase: int, speed: float) -> tuple[FloatArray, Mask]:
        """How far each band stands out from its neighbours, in its standard deviations."""
        speech = self._speech[phase::_PHASES]
        standing = self._standing.get(phase)
        if standing is None:
            standing = _against_neighbours(self._log[phase::_PHASES], _NEAR_FRAMES, 0)
            standing = self._standing[phase] = _against_neighbours(standing, _NEAR_BANDS, 1)
        at = (np.arange(BANDS) + _LOWEST_BIN) * (1.0 + speed) - (_LOWEST_BIN - _MARGIN)
        below = at.astype(np.intp)
        part = (at - below).astype(np.float32)
        values = standing[:, below] * (1 - part) + standing[:, below + 1] * part
        own = values[speech]
        if len(own) == 0:
            return values, speech
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
    for start in range(0, len(windows), _AT_ONCE):
        spectrum = np.fft.rfft(windows[start : start + _AT_ONCE] * shape)[:, first:last]
        power[start : start + _AT_ONCE] = np.square(spectrum.real) + np.square(spectrum.imag)
    return power


def _against_neighbours(values: FloatArray, near: int, axis: int) -> FloatArray:
    """Values less the mean of themselves and of `near` neighbours on each side."""
    if values.shape[axis] == 0:
        return values
    along = np.moveaxis(values, axis, 0)
    count = len(along)
    padded = np.concatenate((along[:1].repeat(near, 0), along, along[-1:].repeat(near, 0)))
    total = padded[:count].copy()
    for step in range(1, 2 * near + 1):
        total += padded[step : step + count]
    return np.moveaxis(along - total / np.float32(2 * near + 1), 0, axis)


class _Remembered:
    """Several fingerprints, or a part of their bands, unpacked and padded to one length."""

    def __init__(
        self, fingerprints: Sequence[Fingerprint], part: slice = slice(0, BANDS // 8)
    ) -> None:
        frames = max(len(one.speech) for one in fingerprints)
        bits = np.zeros((len(fingerprints), frames, part.stop - part.start), np.uint8)
        self.speech = np.zeros((len(fingerprints), frames), np.bool_)
        for index, one in enumerate(fingerprints):
            bits[index, : len(one.peaks)] = one.peaks[:, part]
            self.speech[index, : len(one.speech)] = one.speech
        self.peaks = np.unpackbits(bits, axis=2).astype(np.float32)
        count = np.maximum(self.speech.sum(axis=1), 1).astype(np.float32)[:, np.newaxis]
        self.mean = self.peaks.sum(axis=1) / count
        self.scale = np.sqrt(np.mean(self.mean * (1.0 - self.mean), axis=1)) + np.float32(1e-9)

    def correlations(self, values: FloatArray, speech: Mask) -> tuple[FloatArray, FloatArray]:
        """How alike each view and each fingerprint are at each shift, and the frames that overlap.

        Returns:
            Both of shape (views, fingerprints, shifts); -1 where too little overlaps.
        """
        views, frames, bands = values.shape
        items, length, _ = self.peaks.shape
        flat = values.reshape(views * frames, bands)
        raw = (flat @ self.peaks.reshape(items * length, bands).T).reshape(
            views, frames, items, length
        )
        # The mean of a band says how the room sounds, not what was said when.
        raw -= (flat @ self.mean.T).reshape(views, frames, items, 1) * self.speech
        total = _diagonals(raw)
        both = speech.astype(np.float32)[:, :, np.newaxis, np.newaxis] * self.speech
        overlap = _diagonals(both)
        shorter = np.minimum.outer(speech.sum(axis=1), self.speech.sum(axis=1))
        least = np.maximum(_SHARE * shorter, MIN_OVERLAP)[:, :, np.newaxis]
        correlation = total / (np.maximum(overlap, 1.0) * bands * self.scale[:, np.newaxis])
        return np.where(overlap >= least - 0.5, correlation, np.float32(-1.0)), overlap

    def best(self, values: FloatArray, speech: Mask) -> tuple[FloatArray, FloatArray]:
        """Best correlation of any view with each fingerprint, and the frames that overlap there.

        Returns:
            Both of shape (fingerprints,); -1 where too little overlaps.
        """
        correlation, overlap = (_by_item(each) for each in self.correlations(values, speech))
        above = np.where(correlation > -1.0, correlation - threshold_of(overlap), -np.inf)
        at = above.argmax(axis=1)[:, np.newaxis]
        found = np.take_along_axis(correlation, at, 1), np.take_along_axis(overlap, at, 1)
        return found[0][:, 0], found[1][:, 0]

    def chance(self, values: FloatArray, speech: Mask) -> FloatArray:
        """How alike the views are to each fingerprint on the average, as one frame would be.

        Args:
            values: at speeds that nothing is played at, shape (views, frames, BANDS).
            speech: shape (views, frames).

        Returns:
            Shape (fingerprints,).
        """
        correlation, overlap = self.correlations(values, speech)
        best = np.maximum(correlation * np.sqrt(overlap), 0.0).max(axis=2)
        found: FloatArray = best.reshape(len(_WRONG_SPEEDS), -1, best.shape[1]).max(1).mean(0)
        return found


def _by_item(values: FloatArray) -> FloatArray:
    """Shape (views, items, shifts) to (items, views * shifts)."""
    return values.transpose(1, 0, 2).reshape(values.shape[1], -1)


def _diagonals(products: FloatArray) -> FloatArray:
    """Sums along the shifts in time: shape (v, frames, n, length) to (v, n, shifts)."""
    views, frames, items, length = products.shape
    room = frames - 1
    padded = np.zeros((views, frames, items, length + 2 * room), np.float32)
    padded[:, :, :, room : room + length] = products
    by_view, by_frame, by_item, by_step = padded.strides
    skewed = np.lib.stride_tricks.as_strided(
        padded,
        (views, frames, items, length + room),
        (by_view, by_frame + by_step, by_item, by_step),
        writeable=False,
    )
    summed: FloatArray = skewed.sum(axis=1)
    return summed


def threshold_of(
    overlap: FloatArray, chance: Union[float, FloatArray] = _USUAL_CHANCE
) -> FloatArray:
    """Score from which a sound is no second saying.

    Second sayings come the nearer by chance the less there is to compare: their scores fall with
    the root of the overlap, as those of any few figures do. Voices differ in it too: a monotonous
    one is like itself whenever it speaks.

    Args:
        overlap: frames of speech that are compared, 1 or more.
        chance: highest correlation by chance, as that of one frame.
    """
    frames = np.maximum(overlap, 1.0)
    above = np.maximum(_ABOVE_CHANCE, _ABOVE_CHANCE_SHORT / frames)
    return (above + _CHANCE_SHARE * chance / np.sqrt(frames)).astype(np.float32)


def most_alike(heard: Heard, remembered: Sequence[Fingerprint]) -> Optional[Resemblance]:
    """The remembered fingerprint that an utterance comes nearest to.

    All are looked at in a quarter of the bands, the nearest few in full.

    Returns:
        None when nothing is remembered, or too little speech overlaps.
    """
    if not remembered or not heard.usable:
        return None
    values, speech = heard.views((0.0,), (0,))
    values = np.ascontiguousarray(values[:, :, 8 * _QUICK.start : 8 * _QUICK.stop])
    quick = np.empty(len(remembered), np.float32)
    for start in range(0, len(remembered), _BLOCK):
        block = _Remembered(remembered[start : start + _BLOCK], _QUICK)
        scores, overlap = block.best(values, speech)
        quick[start : start + _BLOCK] = scores - threshold_of(overlap)
    chosen = np.argsort(quick)[::-1][:_FINALISTS]
    final = _Remembered([remembered[index] for index in chosen])
    every_other = range(0, _PHASES, 2)
    found = final.best(*heard.views((0.0,), range(_PHASES)))
    chance: Union[float, FloatArray] = _USUAL_CHANCE
    if _in_doubt(*found):
        chance = final.chance(*heard.views(_WRONG_SPEEDS, every_other))
        nearest = _nearest(found, chance, chosen)
        if nearest is not None and nearest.suspected:
            return nearest
    other = final.best(*heard.views(_SPEEDS, every_other))
    if _in_doubt(*other) and not _in_doubt(*found):
        chance = final.chance(*heard.views(_WRONG_SPEEDS, every_other))
    candidates = (_nearest(each, chance, chosen) for each in (found, other))
    return max(
        (one for one in candidates if one is not None),
        key=lambda one: one.score - one.threshold,
        default=None,
    )


def _in_doubt(scores: FloatArray, overlap: FloatArray) -> bool:
    """Whether any would be suspected if nothing were alike by chance."""
    return bool(np.any(scores >= threshold_of(overlap, 0.0)))


def _nearest(
    best: tuple[FloatArray, FloatArray],
    chance: Union[float, FloatArray],
    chosen: NDArray[np.intp],
) -> Optional[Resemblance]:
    scores, overlap = best
    threshold = threshold_of(overlap, chance)
    item = int(np.where(scores > -1.0, scores - threshold, -np.inf).argmax())
    if not scores[item] > -1.0:
        return None
    return Resemblance(
        index=int(chosen[item]),
        score=float(scores[item]),
        threshold=float(threshold[item]),
        overlap_s=float(overlap[item]) * FRAME_S,
    )

"""Finds the stored fingerprint that an utterance matches best.

A recording may be played faster or slower, and pitch and tempo may be changed one by one. So two
are compared at every shift in time, at pitches up to 12 % apart and at tempos up to 12 % apart.
Matching patterns of bits along the time axis follows J. Haitsma and T. Kalker, "A highly robust
audio fingerprinting system", ISMIR 2002.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.replay.fingerprint import (
    BANDS,
    FRAME_S,
    MIN_OVERLAP,
    PHASES,
    WIDEST,
    Fingerprint,
    Mask,
    UtterancePeaks,
)
from edge.types import FloatArray

_ABOVE_CHANCE = 0.135
"""How far above chance a replay is suspected, however much is compared."""
_ABOVE_CHANCE_SHORT = 2.1
"""The same for short pieces, divided by the frames that are compared."""
_CHANCE_SHARE = 0.75
"""Share of what is reached by chance that is added to the threshold."""
_LEAST_CHANCE = 0.4
"""Correlation of one frame that two utterances reach by chance at some pitch, at least."""
_MOST = 1.5
"""How much one frame counts at most, as a multiple of the mean: a recording matches from its
beginning to its end, a repetition here and there."""
_MIN_SHARE = 0.4
"""Share of the shorter utterance's speech that must overlap the other's."""

_FINALISTS = 4
"""Fingerprints that are compared in full, after a quick comparison with all."""
_QUICK_BANDS = slice(40, 168)
"""Bands of the quick comparison, 350 to 850 Hz: every loudspeaker plays those."""
_QUICK_STEP = 2
"""Only every second frame is compared quickly; windows are four frames long."""
_QUICK_FRAMES = 12
"""Frames of a piece, 1.5 s: a tempo of 12 % moves its ends by less than half a window."""
_SPAN = _QUICK_FRAMES * _QUICK_STEP
_QUICK_PITCHES = 0.009 * np.arange(-14, 15)
_BLOCK = 64
"""Fingerprints compared quickly at once; bounds the memory."""

_STEP = 2
"""Every second frame of an utterance is compared in full, 32 ms apart."""
_FINE = 0.0025
"""From one pitch to the next in the full comparison."""
_AROUND = 4
"""Pitches on both sides of the one that the quick comparison found, and of the same pitch."""
_FAR = 0.014
"""From another pitch that is farther away, two utterances match by chance only."""
_FAR_PITCHES = 0.015 * np.arange(-8, 9)
_TEMPOS = 3
"""Tempos on both sides of the same tempo, at least."""
_FRAMES_OF_A_TEMPO = 12
"""One more on both sides for so many frames, so that the next moves no end far out of step."""


@dataclass(frozen=True)
class FingerprintMatch:
    """How closely an utterance matches a fingerprint.

    Attributes:
        score: correlation of the peaks at the best shift, pitch and tempo: 1 for the same samples,
            about 0.1 for others.
        threshold: score from which this is the same recording; higher where less speech overlaps.
        overlap_s: seconds of speech that were compared.
    """

    index: int
    score: float
    threshold: float
    overlap_s: float

    @property
    def suspected(self) -> bool:
        """Whether this is the same recording."""
        return self.score >= self.threshold


def best_match(
    peaks: UtterancePeaks, fingerprints: Sequence[Fingerprint]
) -> FingerprintMatch | None:
    """The fingerprint that an utterance matches best; None if there is none, or too little overlap.

    All are compared in pieces and in a quarter of the bands, the best few in full.
    """
    if not fingerprints or not peaks.usable:
        return None
    above, pitches = _quick(peaks, fingerprints)
    view = functools.cache(lambda higher: peaks.at_pitch(higher, step=_STEP))
    matches = (
        _compare(peaks.speech[::_STEP], view, fingerprints[index], pitches[index], int(index))
        for index in np.argsort(above)[::-1][:_FINALISTS]
    )
    return max(
        (match for match in matches if match is not None),
        key=lambda match: match.score - match.threshold,
        default=None,
    )


def _quick(
    peaks: UtterancePeaks, fingerprints: Sequence[Fingerprint]
) -> tuple[FloatArray, FloatArray]:
    """How far each fingerprint is above chance at its best pitch, and that pitch."""
    before = (_SPAN - MIN_OVERLAP) * PHASES
    starts = np.arange(0, before + len(peaks.speech) - MIN_OVERLAP * PHASES, PHASES)[:, np.newaxis]
    at = starts + np.arange(_QUICK_FRAMES) * _QUICK_STEP * PHASES
    around = ((before, _SPAN * PHASES), (0, 0))
    views = [np.pad(peaks.at_pitch(higher, _QUICK_BANDS), around) for higher in _QUICK_PITCHES]
    scores = []
    for first in range(0, len(fingerprints), _BLOCK):
        pieces, counts = _pieces(fingerprints[first : first + _BLOCK])
        # One pitch at a time: all windows of all of them take tens of megabytes.
        found = np.stack(
            [(view[at].reshape(len(starts), -1) @ pieces.T).max(axis=0) for view in views]
        )
        firsts = np.cumsum(counts) - counts
        scores.append(np.add.reduceat(found, firsts, axis=1) / np.sqrt(counts))
    score = np.concatenate(scores, axis=1)
    return score.max(axis=0) - score.mean(axis=0), _QUICK_PITCHES[score.argmax(axis=0)]


def _pieces(fingerprints: Sequence[Fingerprint]) -> tuple[FloatArray, NDArray[np.intp]]:
    """Fingerprints in pieces of equal length and power, and how many there are of each.

    Only every `_QUICK_STEP`th frame, and the quick bands; at the end, they are filled with 0.
    """
    lengths = np.array([len(one.speech) for one in fingerprints])
    longest = max(int(lengths.max()), _SPAN)
    part = slice(_QUICK_BANDS.start // 8, _QUICK_BANDS.stop // 8)
    bits = np.zeros((len(lengths), longest, part.stop - part.start), np.uint8)
    speech = np.zeros((len(lengths), longest, 1), np.float32)
    for row, one in enumerate(fingerprints):
        bits[row, : lengths[row]] = one.peaks[:, part]
        speech[row, : lengths[row], 0] = one.speech
    values = np.unpackbits(bits[:, ::_QUICK_STEP], axis=2).astype(np.float32)
    speech = speech[:, ::_QUICK_STEP]
    values -= values.sum(axis=1, keepdims=True) / speech.sum(axis=1, keepdims=True)
    values *= speech
    counts = np.maximum(1, np.round(lengths / _SPAN)).astype(np.intp)
    owners = np.repeat(np.arange(len(lengths)), counts)
    starts = np.concatenate(
        [np.linspace(0, max(0, n - _SPAN), k) for n, k in zip(lengths, counts, strict=True)]
    )
    at = (starts / _QUICK_STEP).astype(np.intp)[:, np.newaxis] + np.arange(_QUICK_FRAMES)
    pieces = values[owners[:, np.newaxis], at].reshape(len(owners), -1)
    return pieces / (np.linalg.norm(pieces, axis=1, keepdims=True) + np.float32(1e-6)), counts


def _compare(
    speech: Mask,
    view: Callable[[float], FloatArray],
    fingerprint: Fingerprint,
    pitch: float,
    index: int,
) -> FingerprintMatch | None:
    """One fingerprint in full, near the pitch that was found and near the same pitch."""
    pair = _Pair(speech, fingerprint)
    near = _FINE * np.arange(-_AROUND, _AROUND + 1)
    center = round(pitch / _FINE) * _FINE
    pitches = np.unique(np.round(np.concatenate((near, near + center)), 6))
    pitches = pitches[np.abs(pitches) <= WIDEST]
    correlation, overlap = pair.correlations([view(float(each)) for each in pitches])
    above = np.where(correlation > -1.0, correlation - _threshold(overlap), -np.inf)
    at_pitch, tempo, shift = (int(each) for each in np.unravel_index(above.argmax(), above.shape))
    if above[at_pitch, tempo, shift] == -np.inf:
        return None
    higher = float(pitches[at_pitch])
    frames = overlap[tempo, shift]
    single = pair.single_frames(view(higher), tempo, shift)
    score = float(np.minimum(single, _MOST * single.mean()).mean())
    chance = _LEAST_CHANCE
    if score >= _threshold(frames):
        far = [float(each) for each in _FAR_PITCHES if abs(each - higher) > _FAR]
        others, beside = pair.correlations([view(each) for each in far])
        chance = max(chance, float((others * np.sqrt(beside)).max()))
    threshold = float(_threshold(frames, chance))
    return FingerprintMatch(index, score, threshold, float(frames) * FRAME_S)


class _Pair:
    """The frames of an utterance that are speech, and a fingerprint."""

    def __init__(self, speech: Mask, fingerprint: Fingerprint) -> None:
        self._speech = speech
        self._other = fingerprint.speech
        self._peaks = fingerprint.unpacked(slice(0, BANDS))
        share = np.mean(np.square(self._peaks[self._other]))
        self._scale = BANDS * (np.sqrt(share) + np.float32(1e-9))
        hop = PHASES // _STEP
        length = len(self._other)
        count = max(_TEMPOS, length // _FRAMES_OF_A_TEMPO)
        tempos = np.exp(WIDEST * np.linspace(-1.0, 1.0, 2 * count + 1))
        self._at = np.round(np.arange(length) * hop / tempos[:, np.newaxis]).astype(int)
        self._room = int(self._at.max())
        shorter = min(int(speech.sum()) / hop, int(self._other.sum()))
        self._required = max(_MIN_SHARE * shorter, MIN_OVERLAP)

    def correlations(self, views: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Correlation of each view at each tempo and shift, and the frames that overlap there.

        Shapes (views, tempos, shifts) and (tempos, shifts); correlations are -1 where too little
        overlaps.
        """
        frames = len(self._speech)
        values = np.concatenate(views)
        products = (self._peaks @ values.T).reshape(len(self._other), len(views), frames)
        total = self._along_tempos(products)
        both = np.outer(self._other, self._speech).astype(np.float32)
        overlap = self._along_tempos(both[:, np.newaxis])[0]
        correlation = total / (np.maximum(overlap, 1.0) * self._scale)
        enough = overlap >= self._required - 0.5
        return np.where(enough, correlation, np.float32(-1.0)), overlap

    def single_frames(self, view: FloatArray, tempo: int, shift: int) -> FloatArray:
        """Correlation of each frame that overlaps at a tempo and shift."""
        at = self._at[tempo] + shift - self._room
        both = self._other & (at >= 0) & (at < len(view))
        both[both] = self._speech[at[both]]
        products: FloatArray = (self._peaks[both] * view[at[both]]).sum(axis=1) / self._scale
        return products

    def _along_tempos(self, products: FloatArray) -> FloatArray:
        """Sums along each tempo and shift: shape (length, v, frames) to (v, tempos, shifts)."""
        length, views, frames = products.shape
        shifts = frames + self._room
        padded = np.zeros((length, views, shifts + self._room), np.float32)
        padded[:, :, self._room : self._room + frames] = products
        total = np.zeros((views, len(self._at), shifts), np.float32)
        for number, places in enumerate(self._at):
            for row, place in zip(padded, places, strict=True):
                total[:, number] += row[:, place : place + shifts]
        return total


def _threshold(overlap: FloatArray, chance: float = _LEAST_CHANCE) -> FloatArray:
    """Score from which a replay is suspected, from frames of overlap and the chance of one frame.

    Repetitions match better by chance the less there is to compare: scores fall with the root of
    the overlap. Voices differ too: a monotonous one resembles itself whenever it speaks.
    """
    frames = np.maximum(overlap, 1.0)
    above = np.maximum(_ABOVE_CHANCE, _ABOVE_CHANCE_SHORT / frames)
    return np.asarray(above + _CHANCE_SHARE * chance / np.sqrt(frames), np.float32)

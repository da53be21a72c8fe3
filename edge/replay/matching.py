"""Finds the stored fingerprint that an utterance matches best.

They are compared at every shift in time and at a few speeds, since the clocks of players and
microphones differ. Matching patterns of bits along the time axis follows J. Haitsma and T. Kalker,
"A highly robust audio fingerprinting system", ISMIR 2002.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.replay.fingerprint import (
    BANDS,
    FRAME_S,
    MIN_OVERLAP,
    PHASES,
    Fingerprint,
    Mask,
    UtterancePeaks,
)
from edge.types import FloatArray

_SPEEDS = (-0.0025, 0.0025, -0.005, 0.005)
"""Relative speeds that are tried where the same speed does not match; half a step costs little."""
_WRONG_SPEEDS = (-0.021, -0.0185, -0.016, 0.016, 0.0185, 0.021)
"""Speeds at which nothing is played, to measure how well two utterances match by chance."""
_CHANCE_SHARE = 0.75
"""Share of that measure which is added to the threshold; it is partly chance itself."""
_USUAL_CHANCE = 0.45
"""Its usual value, as the correlation of one frame."""
_ABOVE_CHANCE = 0.164
"""How far above chance a replay is suspected, however much is compared."""
_ABOVE_CHANCE_SHORT = 2.1
"""The same for short pieces, divided by the frames that are compared."""
_MIN_SHARE = 0.4
"""Share of the shorter utterance's speech that must overlap the other's."""
_FINALISTS = 4
"""Fingerprints that are compared in full, after a quick comparison with all."""
_QUICK = slice(8, 24)
"""Bytes of a frame for the quick comparison, 450 to 950 Hz: every loudspeaker plays those, and
another speed hardly moves them."""
_BLOCK = 256
"""Fingerprints compared at once; bounds the memory."""


@dataclass(frozen=True)
class FingerprintMatch:
    """How closely an utterance matches a fingerprint.

    Attributes:
        score: correlation of the peaks at the best shift and speed: 1 for the same samples, about
            0 for others.
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

    All are compared in a quarter of the bands, the best few in full.
    """
    if not fingerprints or not peaks.usable:
        return None
    values, speech = peaks.views((0.0,), (0,))
    values = np.ascontiguousarray(values[:, :, 8 * _QUICK.start : 8 * _QUICK.stop])
    quick = np.empty(len(fingerprints), np.float32)
    for start in range(0, len(fingerprints), _BLOCK):
        block = _Batch(fingerprints[start : start + _BLOCK], _QUICK)
        scores, overlap = block.best(values, speech)
        quick[start : start + _BLOCK] = scores - _threshold(overlap)
    chosen = np.argsort(quick)[::-1][:_FINALISTS]
    final = _Batch([fingerprints[index] for index in chosen])
    every_other = range(0, PHASES, 2)
    same_speed = final.best(*peaks.views((0.0,), range(PHASES)))
    chance: float | FloatArray = _USUAL_CHANCE
    if _may_match(*same_speed):
        chance = final.chance(*peaks.views(_WRONG_SPEEDS, every_other))
        match = _match(same_speed, chance, chosen)
        if match is not None and match.suspected:
            return match
    other_speed = final.best(*peaks.views(_SPEEDS, every_other))
    if _may_match(*other_speed) and not _may_match(*same_speed):
        chance = final.chance(*peaks.views(_WRONG_SPEEDS, every_other))
    matches = (_match(best, chance, chosen) for best in (same_speed, other_speed))
    return max(
        (match for match in matches if match is not None),
        key=lambda match: match.score - match.threshold,
        default=None,
    )


class _Batch:
    """Several fingerprints, or a part of their bands, unpacked and padded to the same length."""

    def __init__(
        self, fingerprints: Sequence[Fingerprint], part: slice = slice(0, BANDS // 8)
    ) -> None:
        frames = max(len(one.speech) for one in fingerprints)
        bits = np.zeros((len(fingerprints), frames, part.stop - part.start), np.uint8)
        self._speech = np.zeros((len(fingerprints), frames), np.bool_)
        for index, one in enumerate(fingerprints):
            bits[index, : len(one.peaks)] = one.peaks[:, part]
            self._speech[index, : len(one.speech)] = one.speech
        self._peaks = np.unpackbits(bits, axis=2).astype(np.float32)
        count = self._speech.sum(axis=1).astype(np.float32)[:, np.newaxis]
        self._mean = self._peaks.sum(axis=1) / count
        self._scale = np.sqrt(np.mean(self._mean * (1.0 - self._mean), axis=1)) + np.float32(1e-9)

    def best(self, values: FloatArray, speech: Mask) -> tuple[FloatArray, FloatArray]:
        """Best correlation of any view with each fingerprint, and the overlapping frames there.

        Both of shape (fingerprints,); correlations are -1 where too little overlaps.
        """
        correlation, overlap = (
            # From (views, fingerprints, shifts) to (fingerprints, views * shifts).
            each.transpose(1, 0, 2).reshape(each.shape[1], -1)
            for each in self._correlations(values, speech)
        )
        above = np.where(correlation > -1.0, correlation - _threshold(overlap), -np.inf)
        at = above.argmax(axis=1)[:, np.newaxis]
        found = np.take_along_axis(correlation, at, 1), np.take_along_axis(overlap, at, 1)
        return found[0][:, 0], found[1][:, 0]

    def chance(self, values: FloatArray, speech: Mask) -> FloatArray:
        """Correlation with each fingerprint by chance, as that of one frame, shape (fingerprints,).

        `values` are at `_WRONG_SPEEDS`, shape (views, frames, BANDS), `speech` (views, frames).
        """
        correlation, overlap = self._correlations(values, speech)
        best = np.maximum(correlation * np.sqrt(overlap), 0.0).max(axis=2)
        mean: FloatArray = best.reshape(len(_WRONG_SPEEDS), -1, best.shape[1]).max(1).mean(0)
        return mean

    def _correlations(self, values: FloatArray, speech: Mask) -> tuple[FloatArray, FloatArray]:
        """Correlation and overlapping frames of each view and fingerprint at each shift.

        Both of shape (views, fingerprints, shifts); correlations are -1 where too little overlaps.
        """
        views, frames, bands = values.shape
        items, length, _ = self._peaks.shape
        flat = values.reshape(views * frames, bands)
        raw = (flat @ self._peaks.reshape(items * length, bands).T).reshape(
            views, frames, items, length
        )
        # The mean of a band depends on the room, not on what was said when.
        raw -= (flat @ self._mean.T).reshape(views, frames, items, 1) * self._speech
        total = _diagonals(raw)
        both = speech.astype(np.float32)[:, :, np.newaxis, np.newaxis] * self._speech
        overlap = _diagonals(both)
        shorter = np.minimum.outer(speech.sum(axis=1), self._speech.sum(axis=1))
        required = np.maximum(_MIN_SHARE * shorter, MIN_OVERLAP)[:, :, np.newaxis]
        correlation = total / (np.maximum(overlap, 1.0) * bands * self._scale[:, np.newaxis])
        return np.where(overlap >= required - 0.5, correlation, np.float32(-1.0)), overlap


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


def _threshold(overlap: FloatArray, chance: float | FloatArray = _USUAL_CHANCE) -> FloatArray:
    """Score from which a replay is suspected, from frames of overlap and the chance of one frame.

    Repetitions match better by chance the less there is to compare: scores fall with the root of
    the overlap. Voices differ too: a monotonous one resembles itself whenever it speaks.
    """
    frames = np.maximum(overlap, 1.0)
    above = np.maximum(_ABOVE_CHANCE, _ABOVE_CHANCE_SHORT / frames)
    return (above + _CHANCE_SHARE * chance / np.sqrt(frames)).astype(np.float32)


def _may_match(scores: FloatArray, overlap: FloatArray) -> bool:
    """Whether a replay would be suspected if nothing matched by chance."""
    return bool(np.any(scores >= _threshold(overlap, 0.0)))


def _match(
    best: tuple[FloatArray, FloatArray], chance: float | FloatArray, chosen: NDArray[np.intp]
) -> FingerprintMatch | None:
    scores, overlap = best
    threshold = _threshold(overlap, chance)
    item = int(np.where(scores > -1.0, scores - threshold, -np.inf).argmax())
    if not scores[item] > -1.0:
        return None
    return FingerprintMatch(
        index=int(chosen[item]),
        score=float(scores[item]),
        threshold=float(threshold[item]),
        overlap_s=float(overlap[item]) * FRAME_S,
    )

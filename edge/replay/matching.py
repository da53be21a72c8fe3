"""How alike what is heard and what is remembered are, and from where on it is the same sound.

Two fingerprints are held against each other at every shift in time and at a few speeds (clocks of
players and microphones differ). The idea of matching patterns of bits along the time axis is that
of J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system", ISMIR 2002.
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
    HeardFingerprint,
    Mask,
)
from edge.types import FloatArray

_SPEEDS = (-0.0025, 0.0025, -0.005, 0.005)
"""Relative speeds that are tried where the same speed does not fit; half a step costs little."""
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
_BLOCK = 256
"""Fingerprints that are worked on at once; bounds the memory."""


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


def threshold_of(overlap: FloatArray, chance: float | FloatArray = _USUAL_CHANCE) -> FloatArray:
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


def most_alike(heard: HeardFingerprint, remembered: Sequence[Fingerprint]) -> Resemblance | None:
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
    every_other = range(0, PHASES, 2)
    found = final.best(*heard.views((0.0,), range(PHASES)))
    chance: float | FloatArray = _USUAL_CHANCE
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
    chance: float | FloatArray,
    chosen: NDArray[np.intp],
) -> Resemblance | None:
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

"""The calibration of the speaker model: log-likelihood ratio and operating curve.

Trials are made among the given speakers: signatures of one to five whole recordings against
everyone's recordings, whole, cut and in noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.recognition.dtw import unit
from edge.recognition.scoring import (
    USUAL_ENROLLMENTS,
    VoiceCalibration,
    centered,
    quality_terms,
    similarities,
)
from edge.types import VOICE_VARIANTS, FloatArray
from tools.calibration.curves import RATES, rising
from tools.calibration.logistic import fit
from tools.calibration.quantiles import fit_quantile
from tools.calibration.voices import Voices

PRIOR = 0.01
SIZES = (1, 3, 5)
"""Numbers of enrolled recordings."""
SIGNATURES = 6
"""Signatures of each size and speaker."""
_NEAREST = 0.01
_ASKED = 0.001
"""False-accept rate at which strangers with little to say pass as often as others."""


@dataclass(frozen=True, eq=False)
class FittedVoice:
    """A calibration and what it is for.

    Attributes:
        center: what is taken off every voice first, shape (d,).
        allowances: what is added to similarities, shape (2, 3); see `scoring.similarities`.
        calibration: from similarity to ratio.
        trials: non-target trials behind the operating curve.
    """

    center: FloatArray
    allowances: FloatArray
    calibration: VoiceCalibration
    trials: int

    def document(self) -> dict[str, Any]:
        """The calibration in the form of the card, without the model's hash."""
        found = self.calibration
        names = ("offset", "similarity", "speech", "enrollments")
        return {
            "ratio": {name: round(getattr(found, name), 4) for name in names},
            "operating_curve": [[rate, round(ratio, 3)] for rate, ratio in found.curve.points],
            "trials": self.trials,
            "allowances": [[round(each, 4) for each in row] for row in self.allowances.tolist()],
            "center": [round(value, 5) for value in self.center.tolist()],
        }


def fit_voice(voices: Voices, center: FloatArray, seed: int = 0) -> FittedVoice:
    """Derive the calibration from recordings of many speakers.

    Args:
        voices: the recordings.
        center: what is taken off every voice first, shape (d,).
        seed: of the choice of enrollments.
    """
    whole = voices.of(voices.whole)
    allowances = _allowances(voices, center, np.random.default_rng(seed))
    features, targets, curve_rows = [], [], []
    chance = np.random.default_rng(seed)
    for size in SIZES:
        signatures, owners, members = _signatures(whole, size, chance)
        similarity = similarities(signatures, voices.looks, center, allowances)
        own = owners[:, None] == voices.speaker[None]
        enrolled = np.asarray([np.isin(voices.recording, rows) for rows in members])
        rows, columns = quality_terms([size] * len(owners), voices.net_speech_s.tolist())
        table = np.stack(
            (
                np.ones_like(similarity),
                similarity,
                np.broadcast_to(columns, similarity.shape),
                np.broadcast_to(rows[:, None], similarity.shape),
            ),
            axis=-1,
        ).astype(np.float64)
        # There are a hundred times as many non-targets; a sample of them is enough.
        few = ~own & (chance.random(own.shape) < 0.1)
        chosen = (own & ~enrolled) | few
        features.append(table[chosen])
        targets.append(own[chosen])
        if size == USUAL_ENROLLMENTS:
            # Strangers come less near in noise and echo, and could add them. What is asked of a
            # voice is what has to be asked in quiet.
            curve_rows.append(table[~own & ~voices.altered])
    every, wrong = np.concatenate(features), np.concatenate(curve_rows)
    nearer = _nearer_when_short(wrong)
    every[:, 1] -= nearer * every[:, 2]
    offset, slope, enrollments = fit(every[:, (0, 1, 3)], np.concatenate(targets), PRIOR).tolist()
    speech = abs(slope * nearer)  # `nearer` is 0 or less
    ratios = wrong @ np.asarray([offset, slope, speech, enrollments])
    curve = rising(float(np.quantile(ratios, 1 - rate)) for rate in RATES)
    calibration = VoiceCalibration(offset, slope, speech, enrollments, curve)
    return FittedVoice(center, allowances, calibration, len(wrong))


def _allowances(voices: Voices, center: FloatArray, chance: np.random.Generator) -> FloatArray:
    """How much further strangers are than where both sides are as said, shape (2, 3).

    For each look at a voice and each kind of signature: of one in a hundred, the nearest ones, in
    what was altered or in what was not, whichever brings them nearer.
    """
    signatures, owners, _ = _signatures(voices.of(voices.whole), USUAL_ENROLLMENTS, chance)
    known, heard = centered(signatures, center), centered(voices.looks, center)
    wrong = owners[:, None] != voices.speaker[None]

    def nearest(look: int, kind: int, some: NDArray[np.bool_]) -> float:
        similarity = known[:, kind] @ heard[some, look].T
        return float(np.quantile(similarity[wrong[:, some]], 1.0 - _NEAREST))

    both = (~voices.altered, voices.altered) if voices.altered.any() else (~voices.altered,)
    rows = [
        [max(nearest(look, kind, some) for some in both) for kind in range(VOICE_VARIANTS)]
        for look in range(2)
    ]
    found: FloatArray = (rows[0][0] - np.asarray(rows)).astype(np.float32)
    return found


def _nearer_when_short(wrong: NDArray[np.float64]) -> float:
    """What each factor of e in speech adds to the similarity of the nearest strangers, 0 at most.

    The columns of `wrong` are one, the similarity, and the logarithm of the speech.
    """
    return min(0.0, float(fit_quantile(wrong[:, (0, 2)], wrong[:, 1], 1.0 - _ASKED)[1]))


def _signatures(
    whole: Voices, size: int, chance: np.random.Generator
) -> tuple[FloatArray, NDArray[np.str_], list[NDArray[np.intp]]]:
    """Signatures of `size` recordings, shape (n, 3, d), whose they are, and of which recordings."""
    vectors, owners, members = [], [], []
    weights = np.minimum(whole.net_speech_s, 3.0)
    for speaker in whole.speakers:
        own = np.flatnonzero(whole.speaker == speaker)
        if len(own) <= size:
            continue
        for _ in range(SIGNATURES):
            rows = chance.choice(own, size, replace=False)
            vectors.append(np.tensordot(weights[rows], whole.variants[rows], 1))
            owners.append(speaker)
            members.append(whole.recording[rows])
    return unit(np.stack(vectors).astype(np.float32)), np.asarray(owners), members

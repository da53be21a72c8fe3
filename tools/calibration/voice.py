"""The calibration of the speaker model: cohort, log-likelihood ratio, operating curve.

Trials are made among the given speakers: signatures of one to five whole recordings against
everyone's recordings, whole, cut and in noise. The cohort has the same speakers, so in each trial
both of its speakers are left out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.recognition.dtw import unit
from edge.recognition.scoring import USUAL_ENROLLMENTS, Cohort, VoiceCalibration, quality_terms
from edge.types import FloatArray
from tools.calibration.curves import RATES, rising
from tools.calibration.logistic import fit
from tools.calibration.quantiles import fit_quantile
from tools.calibration.voices import Voices

NEAREST = 20
WEIGHT = 0.15
"""Part of the cohort similarity that is subtracted. All of it helps most on the cohort's own corpus
and lets in strangers of every other one; see docs/accuracy.md."""
PRIOR = 0.01
SIZES = (1, 3, 5)
"""Numbers of enrolled recordings."""
SIGNATURES = 6
"""Signatures of each size and speaker."""
_ASKED = 0.001
"""False-accept rate at which strangers with little to say pass as often as others."""
_KEPT = 80
"""Neighbors kept for each voice, so that `NEAREST` remain without two of the speakers."""


@dataclass(frozen=True, eq=False)
class FittedVoice:
    """A calibration and its cohort.

    Attributes:
        cohort: the voices to normalize against.
        calibration: from normalized similarity to ratio.
        trials: non-target trials behind the operating curve.
    """

    cohort: Cohort
    calibration: VoiceCalibration
    trials: int

    def document(self) -> dict[str, Any]:
        """The calibration in the form of the card, without the cohort and the model's hash."""
        found = self.calibration
        names = ("offset", "similarity", "speech", "enrollments")
        return {
            "ratio": {name: round(getattr(found, name), 4) for name in names},
            "operating_curve": [[rate, round(ratio, 3)] for rate, ratio in found.curve.points],
            "trials": self.trials,
            "cohort": {"nearest": self.cohort.nearest, "weight": self.cohort.weight},
        }


def fit_voice(voices: Voices, seed: int = 0, weight: float = WEIGHT) -> FittedVoice:
    """Derive cohort and calibration from recordings of many speakers.

    Args:
        voices: the recordings.
        seed: of the choice of enrollments.
        weight: part of the cohort similarity that is subtracted, 0 to 1.
    """
    cohort = voices.of(voices.whole)
    normal = Cohort(cohort.embeddings, NEAREST, weight)
    features, targets, curve_rows = [], [], []
    chance = np.random.default_rng(seed)
    for size in SIZES:
        signatures, owners, members = _signatures(cohort, size, chance)
        similarity = signatures @ voices.embeddings.T
        common = _nearness(signatures, owners, cohort, voices.speaker)
        common += _nearness(voices.embeddings, voices.speaker, cohort, owners).T
        normalized = similarity - np.float32(weight) * common / np.float32(2)
        own = owners[:, None] == voices.speaker[None]
        enrolled = np.asarray([np.isin(voices.recording, rows) for rows in members])
        rows, columns = quality_terms([size] * len(owners), voices.net_speech_s.tolist())
        table = np.stack(
            (
                np.ones_like(normalized),
                normalized,
                np.broadcast_to(columns, normalized.shape),
                np.broadcast_to(rows[:, None], normalized.shape),
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
    offset, similarity_, enrollments = fit(
        every[:, (0, 1, 3)], np.concatenate(targets), PRIOR
    ).tolist()
    speech = abs(similarity_ * nearer)  # `nearer` is 0 or less
    ratios = wrong @ np.asarray([offset, similarity_, speech, enrollments])
    curve = rising(float(np.quantile(ratios, 1 - rate)) for rate in RATES)
    calibration = VoiceCalibration(offset, similarity_, speech, enrollments, curve)
    return FittedVoice(normal, calibration, len(wrong))


def _nearer_when_short(wrong: NDArray[np.float64]) -> float:
    """What each factor of e in speech adds to the similarity of the nearest strangers, 0 at most.

    The columns of `wrong` are one, the similarity, and the logarithm of the speech.
    """
    return min(0.0, float(fit_quantile(wrong[:, (0, 2)], wrong[:, 1], 1.0 - _ASKED)[1]))


def _signatures(
    cohort: Voices, size: int, chance: np.random.Generator
) -> tuple[FloatArray, NDArray[np.str_], list[NDArray[np.intp]]]:
    """Signatures of `size` recordings: the vectors, whose they are, and of which recordings."""
    vectors, owners, members = [], [], []
    weights = np.minimum(cohort.net_speech_s, 3.0)
    for speaker in cohort.speakers:
        own = np.flatnonzero(cohort.speaker == speaker)
        if len(own) <= size:
            continue
        for _ in range(SIGNATURES):
            rows = chance.choice(own, size, replace=False)
            vectors.append(weights[rows] @ cohort.enrolled[rows])
            owners.append(speaker)
            members.append(cohort.recording[rows])
    return unit(np.stack(vectors).astype(np.float32)), np.asarray(owners), members


def _nearness(
    voices: FloatArray, own: NDArray[np.str_], cohort: Voices, other: NDArray[np.str_]
) -> FloatArray:
    """Similarity of each voice to the cohort without its own speaker and another one.

    Args:
        voices: shape (n, d).
        own: their speakers, shape (n,).
        cohort: everyone.
        other: the other speakers to leave out, shape (m,).

    Returns:
        Shape (n, m).
    """
    similarity = voices @ cohort.embeddings.T
    similarity[own[:, None] == cohort.speaker[None]] = -2.0
    kept = min(_KEPT, similarity.shape[1])
    order = np.argsort(-similarity, axis=1)[:, :kept]
    nearest = np.take_along_axis(similarity, order, axis=1)
    speakers = cohort.speaker[order]
    names, index = np.unique(other, return_inverse=True)
    found = np.empty((len(voices), len(names)), dtype=np.float32)
    for column, name in enumerate(names):
        allowed = speakers != name
        counted = allowed & (np.cumsum(allowed, axis=1) <= NEAREST)
        found[:, column] = (nearest * counted).sum(axis=1) / counted.sum(axis=1)
    nearness: FloatArray = found[:, index]
    return nearness

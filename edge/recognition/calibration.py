"""Calibration: from scores to log-likelihood ratios, and the threshold of a false-accept rate.

A log-likelihood ratio says how much likelier a score is if the voice (or the phrase) is the right
one than if it is not, as a natural logarithm: 0 says nothing, 4.6 is a hundred to one. It is an
affine function of the score and of the recording's quality, fitted by logistic regression
(N. Brümmer and J. du Preez, "Application-independent evaluation of speaker detection", 2006; with
quality measures as in M. I. Mandasari et al., "Quality measure functions for calibration of speaker
recognition systems in various duration conditions", 2013).

A ratio alone does not say how often a stranger exceeds it. So the calibration also holds the ratios
that given shares of wrong trials exceeded in measurements: the operating curve.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.errors import ModelError
from edge.inference import ModelCard
from edge.types import FloatArray

REFERENCE_SPEECH_S = 2.0
"""Net speech that adds nothing to a ratio."""
REFERENCE_SNR_DB = 25.0
"""Signal-to-noise ratio that adds nothing."""
SPEECH_RANGE_S = (0.4, 6.0)
SNR_RANGE_DB = (0.0, 40.0)
PHRASE_SNR_RANGE_DB = (5.0, 25.0)
ENROLLMENTS_RANGE = (1.0, 5.0)
"""Values outside these measured ranges are clipped to them."""
USUAL_ENROLLMENTS = 3
"""Enrollment utterances of the trials behind the operating curve."""
_LARGEST = 1e6
"""No figure of a calibration comes near; a larger one is damage."""


@dataclass(frozen=True)
class OperatingCurve:
    """Which share of wrong trials exceeds which ratio.

    Attributes:
        points: (false-accept rate, log-likelihood ratio), rates falling, ratios rising.
    """

    points: tuple[tuple[float, float], ...]

    def threshold(self, rate: float) -> float:
        """The log-likelihood ratio that a share `rate` of wrong trials exceeds.

        It is linear in the logarithm of the rate between the points, and beyond them.

        Raises:
            ValueError: `rate` is not between 0 and 1.
        """
        if not 0.0 < rate < 1.0:
            raise ValueError(f"a false-accept rate lies between 0 and 1, not {rate}")
        points = self.points
        index = next((i for i in range(1, len(points)) if points[i][0] <= rate), len(points) - 1)
        (before, low), (after, high) = points[index - 1], points[index]
        share = math.log(rate / before) / math.log(after / before)
        return low + share * (high - low)

    def rarity(self, ratio: Any) -> Any:
        """How rarely a wrong trial exceeds log-likelihood ratios: the inverse of `threshold`.

        Returns:
            The negative logarithm of the false-accept rate at which each would just be accepted,
            of the same shape: 6.9 is one in a thousand. Below 0 it only orders.
        """
        rarities = -np.log([rate for rate, _ in self.points])
        ratios = np.asarray([value for _, value in self.points])
        index = np.clip(np.searchsorted(ratios, ratio), 1, len(ratios) - 1)
        slope = (rarities[index] - rarities[index - 1]) / (ratios[index] - ratios[index - 1])
        return (rarities[index - 1] + slope * (ratio - ratios[index - 1])).astype(np.float32)


@dataclass(frozen=True)
class VoiceCalibration:
    """From a normalized similarity to the log-likelihood ratio of a voice.

    Attributes:
        offset: added to everything.
        similarity: what one unit of normalized similarity adds.
        speech: what each factor of e in net speech adds: a long utterance should be nearer.
        enrollments: what each factor of e in enrollment utterances adds.
        snr: what each 10 dB of signal-to-noise ratio add.
        curve: the operating curve, of signatures of `USUAL_ENROLLMENTS` utterances.
    """

    offset: float
    similarity: float
    speech: float
    enrollments: float
    snr: float
    curve: OperatingCurve

    def ratio(
        self,
        normalized: FloatArray,
        enrollments: Sequence[int],
        net_speech_s: Sequence[float],
        snr_db: Sequence[float],
    ) -> FloatArray:
        """Log-likelihood ratios of voices, shape (n, m).

        Args:
            normalized: similarity of each signature to each voice, shape (n, m).
            enrollments: utterances of each of the n signatures.
            net_speech_s: seconds of speech of each of the m voices.
            snr_db: signal-to-noise ratio of each of the m voices.
        """
        rows, columns = quality_terms(enrollments, net_speech_s, snr_db)
        of_test = self.speech * columns[0] + self.snr * columns[1]
        ratios: FloatArray = np.asarray(
            self.offset
            + self.similarity * normalized.astype(np.float64)
            + (self.enrollments * rows)[:, None]
            + of_test[None, :],
            dtype=np.float32,
        )
        return ratios

    def shift(self, enrollments: int) -> float:
        """What a number of enrollment utterances adds to a ratio, relative to the usual number.

        A signature of fewer utterances is further from its owner, but no nearer to strangers. So
        the threshold of a false-accept rate is higher by this.
        """
        known = float(np.clip(enrollments, *ENROLLMENTS_RANGE))
        return self.enrollments * math.log(known / USUAL_ENROLLMENTS)


def quality_terms(
    enrollments: Sequence[int], net_speech_s: Sequence[float], snr_db: Sequence[float]
) -> tuple[Any, Any]:
    """The quality terms of signatures and voices, each clipped to its range.

    Returns:
        Of the signatures, shape (n,): the logarithm of the utterances. Of the voices, shape (2, m):
        the logarithm of the speech over `REFERENCE_SPEECH_S`, and tens of dB above
        `REFERENCE_SNR_DB`.
    """
    rows = np.log(np.clip(np.asarray(enrollments, dtype=np.float64), *ENROLLMENTS_RANGE))
    speech = np.log(np.clip(np.asarray(net_speech_s), *SPEECH_RANGE_S) / REFERENCE_SPEECH_S)
    snr = (np.clip(np.asarray(snr_db), *SNR_RANGE_DB) - REFERENCE_SNR_DB) / 10.0
    return rows, np.stack((speech, snr))


@dataclass(frozen=True)
class PhraseCalibration:
    """From a DTW distance to the log-likelihood ratio of a phrase.

    Attributes:
        offset: the ratio at distance 0, in a quiet room.
        distance: what one unit of distance adds; negative.
        snr: what each 10 dB of signal-to-noise ratio add; negative, since noise adds to a distance.
        curve: the operating curve.
    """

    offset: float
    distance: float
    snr: float
    curve: OperatingCurve

    def ratio(self, distance: Any, snr_db: Any) -> Any:
        """Log-likelihood ratios of DTW distances, of the recordings' signal-to-noise ratios."""
        return self.offset + self.distance * distance + self.snr * phrase_term(snr_db)


def phrase_term(snr_db: Any) -> Any:
    """The noise term of a phrase: tens of dB below a quiet room's."""
    low, high = PHRASE_SNR_RANGE_DB
    return (np.clip(snr_db, low, high) - high) / 10.0


def voice_calibration(card: ModelCard) -> VoiceCalibration:
    """The calibration of a speaker model, from its card.

    Raises:
        ModelError: the card has none, it is damaged, or it was made for another model file.
    """
    ratio = _ratio(card)
    if not _number(card, ratio, "similarity") > 0.0:
        raise _damaged(card, "ratio.similarity")  # it would accept the least similar one
    return VoiceCalibration(
        offset=_number(card, ratio, "offset"),
        similarity=_number(card, ratio, "similarity"),
        speech=_number(card, ratio, "speech"),
        enrollments=_number(card, ratio, "enrollments"),
        snr=_number(card, ratio, "snr"),
        curve=_curve(card),
    )


def phrase_calibration(card: ModelCard) -> PhraseCalibration:
    """The calibration of a phrase model, from its card.

    Raises:
        ModelError: the card has none, it is damaged, or it was made for another model file.
    """
    ratio = _ratio(card)
    if not _number(card, ratio, "distance") < 0.0:
        raise _damaged(card, "ratio.distance")  # it would accept the furthest one
    return PhraseCalibration(
        offset=_number(card, ratio, "offset"),
        distance=_number(card, ratio, "distance"),
        snr=_number(card, ratio, "snr"),
        curve=_curve(card),
    )


def require_calibrated(card: ModelCard) -> Mapping[str, Any]:
    """The card's calibration, if it was made for the card's own model.

    Raises:
        ModelError: there is none, or it belongs to another model file.
    """
    made_for = card.calibration.get("made_for")
    if made_for != card.sha256:
        made = "none" if not card.calibration else f"one for the model {str(made_for)[:12]}..."
        raise ModelError(
            f"the card of {card.file} holds {made} in place of a calibration for this model "
            f"({card.sha256[:12]}...), and scores of an uncalibrated model mean nothing; reinstall "
            "the software, or run tools/calibrate_models.py"
        )
    return card.calibration


def _ratio(card: ModelCard) -> Mapping[str, Any]:
    ratio = require_calibrated(card).get("ratio")
    if not isinstance(ratio, dict):
        raise _damaged(card, "ratio")
    return ratio


def _number(card: ModelCard, values: Mapping[str, Any], key: str) -> float:
    value = values.get(key)
    if not _is_number(value):
        raise _damaged(card, f"ratio.{key}")
    return float(value)  # type: ignore[arg-type]  # a number: checked just above


def _curve(card: ModelCard) -> OperatingCurve:
    points = card.calibration.get("operating_curve")
    if not isinstance(points, list) or len(points) < 2:
        raise _damaged(card, "operating_curve")
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or not all(map(_is_number, point)):
            raise _damaged(card, "operating_curve")
    for (before, low), (after, high) in itertools.pairwise(points):
        if not 0.0 < after < before < 1.0 or high <= low:
            raise _damaged(card, "operating_curve")
    return OperatingCurve(tuple((float(rate), float(ratio)) for rate, ratio in points))


def _is_number(value: object) -> bool:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return known and -_LARGEST < value < _LARGEST  # type: ignore[operator]  # not so for NaN


def _damaged(card: ModelCard, key: str) -> ModelError:
    return ModelError(
        f"the card of {card.file} holds no usable calibration.{key}; reinstall the software, or "
        "run tools/calibrate_models.py"
    )

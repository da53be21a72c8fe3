"""Scoring: what voices have in common taken off, log-likelihood ratios, thresholds.

A log-likelihood ratio says how much likelier a score is if the voice (or the phrase) is the right
one than if it is not, as a natural logarithm: 0 says nothing, 4.6 is a hundred to one. It is an
affine function of the score and of the recording's quality, fitted by logistic regression
(N. Brümmer and J. du Preez, "Application-independent evaluation of speaker detection", 2006; with
quality measures as in M. I. Mandasari et al., "Quality measure functions for calibration of speaker
recognition systems in various duration conditions", 2013).

A ratio alone does not say how often a stranger exceeds it. So the calibration also holds the ratios
that given shares of wrong trials exceeded in measurements: the operating curve. Every threshold
follows from it and from one figure, the false-accept rate.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.errors import ModelError
from edge.inference import ModelCard
from edge.inference.card import is_number
from edge.recognition.dtw import unit
from edge.recognition.embedders import Models
from edge.recognition.results import Analysis
from edge.types import (
    STRETCHES,
    VOICE_VARIANTS,
    Confidence,
    EnrollmentSample,
    FloatArray,
    Profile,
)

REFERENCE_SPEECH_S = 2.0
"""Net speech from which on its length makes no difference."""
SPEECH_RANGE_S = (0.4, REFERENCE_SPEECH_S)
PHRASE_SNR_RANGE_DB = (3.0, 25.0)
PHRASE_ECHO_RANGE_S = (0.0, 1.5)
ENROLLMENTS_RANGE = (1.0, 5.0)
"""Values outside these measured ranges are clipped to them."""
USUAL_ENROLLMENTS = 3
"""Enrollment utterances of the trials behind the operating curve."""
_MOST_ALLOWED = 0.2
NORMAL_FROM = math.log(3.0)
"""Margin over the threshold for normal confidence: three times the odds."""
HIGH_FROM = math.log(10.0)
"""Margin for high confidence: ten times the odds."""


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
    """From a similarity to the log-likelihood ratio of a voice.

    Attributes:
        offset: added to everything.
        similarity: what one unit of similarity adds.
        speech: what each factor of e in net speech adds, 0 or more: a short utterance has to be
            nearer.
        enrollments: what each factor of e in enrollment utterances adds.
        curve: of signatures of `USUAL_ENROLLMENTS` utterances.
    """

    offset: float
    similarity: float
    speech: float
    enrollments: float
    curve: OperatingCurve

    def ratio(
        self,
        similarity: FloatArray,
        enrollments: Sequence[int],
        net_speech_s: Sequence[float],
    ) -> FloatArray:
        """Log-likelihood ratios of n signatures and m voices, shape (n, m).

        `similarity` has the shape (n, m); `enrollments` the utterances of each
        signature, `net_speech_s` the seconds of speech of each voice. Noise, echo and level make no
        difference: whoever speaks could make them, to have less asked of the voice.
        """
        rows, columns = quality_terms(enrollments, net_speech_s)
        of_test = self.speech * columns
        ratios: FloatArray = np.asarray(
            self.offset
            + self.similarity * similarity.astype(np.float64)
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


def quality_terms(enrollments: Sequence[int], net_speech_s: Sequence[float]) -> tuple[Any, Any]:
    """The quality terms of signatures and voices, each clipped to its range.

    Returns:
        Of the signatures, shape (n,): the logarithm of the utterances. Of the voices, shape (m,):
        the logarithm of the speech over `REFERENCE_SPEECH_S`, 0 at most.
    """
    rows = np.log(np.clip(np.asarray(enrollments, dtype=np.float64), *ENROLLMENTS_RANGE))
    speech = np.log(np.clip(np.asarray(net_speech_s), *SPEECH_RANGE_S) / REFERENCE_SPEECH_S)
    return rows, speech


@dataclass(frozen=True)
class PhraseCalibration:
    """From a DTW distance to the log-likelihood ratio of a phrase.

    `offset` is the ratio at distance 0 in a quiet, dry room. Each unit of distance adds `distance`,
    each 10 dB of signal-to-noise ratio `snr` and each second of reverberation time `echo`. Noise
    and echo add to all distances, also to those of other phrases, so `snr` is negative and `echo`
    positive: what counts as the phrase is as rare among other phrases in every condition.
    """

    offset: float
    distance: float
    snr: float
    echo: float
    curve: OperatingCurve

    def ratio(self, distance: Any, snr_db: Any, reverberation_s: Any) -> Any:
        """Log-likelihood ratios of DTW distances, of recordings with that noise and echo."""
        noise, echo = phrase_terms(snr_db, reverberation_s)
        return self.offset + self.distance * distance + self.snr * noise + self.echo * echo


def phrase_terms(snr_db: Any, reverberation_s: Any) -> tuple[Any, Any]:
    """The terms of a phrase: tens of dB below a quiet room's, and seconds of reverberation."""
    low, high = PHRASE_SNR_RANGE_DB
    noise = (np.clip(snr_db, low, high) - high) / 10.0
    return noise, np.clip(reverberation_s, *PHRASE_ECHO_RANGE_S)


def voice_calibration(card: ModelCard) -> VoiceCalibration:
    """The calibration of a speaker model, from its card.

    Raises:
        ModelError: the card has none, it is damaged, or it was made for another model file.
    """
    ratio = _ratio(card, "offset", "similarity", "speech", "enrollments")
    if not ratio["similarity"] > 0.0:
        raise _damaged(card, "ratio.similarity")  # it would accept the least similar one
    if ratio["speech"] < 0.0:
        raise _damaged(card, "ratio.speech")  # it would ask less of whoever says less
    return VoiceCalibration(**ratio, curve=_curve(card))


def voice_center(card: ModelCard, dimensions: int) -> FloatArray:
    """What voices have in common, shape (`dimensions`,), from a speaker model's card.

    Raises:
        ModelError: as `voice_calibration`.
    """
    values = require_calibrated(card).get("center")
    if not isinstance(values, list) or not all(map(is_number, values)):
        raise _damaged(card, "center")
    center = np.asarray(values, dtype=np.float32)
    # As long as a voice it would leave nothing of one that points there.
    if len(center) != dimensions or not float(np.linalg.norm(center)) < 1.0:
        raise _damaged(card, "center")
    return center


def voice_allowances(card: ModelCard) -> FloatArray:
    """What `similarities` adds, shape (2, 3), from a speaker model's card.

    Raises:
        ModelError: as `voice_calibration`.
    """
    rows = require_calibrated(card).get("allowances")
    if not isinstance(rows, list) or len(rows) != 2:
        raise _damaged(card, "allowances")
    for row in rows:
        if not isinstance(row, list) or len(row) != VOICE_VARIANTS:
            raise _damaged(card, "allowances")
        if not all(is_number(each) and abs(each) < _MOST_ALLOWED for each in row):
            raise _damaged(card, "allowances")  # as large as that it would accept anyone
    return np.asarray(rows, dtype=np.float32)


def stretch_allowance(card: ModelCard) -> float:
    """What is added to the mean similarity of stretches, from a speaker model's card.

    Raises:
        ModelError: as `voice_calibration`.
    """
    value = require_calibrated(card).get("stretch_allowance")
    if not is_number(value) or not abs(value) < _MOST_ALLOWED:
        raise _damaged(card, "stretch_allowance")
    return float(value)


def phrase_calibration(card: ModelCard) -> PhraseCalibration:
    """The calibration of a phrase model, from its card.

    Raises:
        ModelError: the card has none, it is damaged, or it was made for another model file.
    """
    ratio = _ratio(card, "offset", "distance", "snr", "echo")
    if not ratio["distance"] < 0.0:
        raise _damaged(card, "ratio.distance")  # it would accept the furthest one
    return PhraseCalibration(**ratio, curve=_curve(card))


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


def _ratio(card: ModelCard, *keys: str) -> dict[str, float]:
    ratio = require_calibrated(card).get("ratio")
    if not isinstance(ratio, dict):
        raise _damaged(card, "ratio")
    for key in keys:
        if not is_number(ratio.get(key)):
            raise _damaged(card, f"ratio.{key}")
    return {key: float(ratio[key]) for key in keys}


def _curve(card: ModelCard) -> OperatingCurve:
    points = card.calibration.get("operating_curve")
    if not isinstance(points, list) or len(points) < 2:
        raise _damaged(card, "operating_curve")
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or not all(map(is_number, point)):
            raise _damaged(card, "operating_curve")
    for (before, low), (after, high) in itertools.pairwise(points):
        if not 0.0 < after < before < 1.0 or high <= low:
            raise _damaged(card, "operating_curve")
    return OperatingCurve(tuple((float(rate), float(ratio)) for rate, ratio in points))


def _damaged(card: ModelCard, key: str) -> ModelError:
    return ModelError(
        f"the card of {card.file} holds no usable calibration.{key}; reinstall the software, or "
        "run tools/calibrate_models.py"
    )


def confidence_of(margins: Iterable[float]) -> Confidence:
    """Confidence in a result from the margins of its parts, log-likelihood ratios.

    It is accepted only if every part is, so the weakest part counts; it is rejected if any part is,
    so then the most clearly missed part counts.
    """
    margin = abs(min(margins))
    if margin >= HIGH_FROM:
        return Confidence.HIGH
    return Confidence.NORMAL if margin >= NORMAL_FROM else Confidence.LOW


def signature_of(samples: Sequence[EnrollmentSample]) -> FloatArray:
    """The common direction of a profile's embeddings: unit length, shape (d,).

    Each sample counts by its seconds of speech, up to 3 s: beyond that an embedding hardly gets
    any better. Learned samples count for at most as much as enrolled ones, in weight and in length
    of the sum. So the signature lies at most halfway between the two directions: if every learned
    sample has a cosine of at least c with the enrolled signature, so has their sum, and the
    signature one of at least sqrt((1 + c) / 2), the half-angle formula.

    Raises:
        ValueError: no sample was enrolled.
    """
    return _combined(samples, [sample.speaker_embedding for sample in samples])


def signatures_of(samples: Sequence[EnrollmentSample]) -> FloatArray:
    """A profile's voice as it was said, as in an echoing room and as in noise, shape (3, d).

    Each is made as `signature_of` makes one. Echo and noise move a voice far, so a mean of them
    all is near to none.
    """
    by_kind = zip(*(sample.voices for sample in samples))
    return np.stack([_combined(samples, voices) for voices in by_kind])


def stretch_signatures_of(samples: Sequence[EnrollmentSample]) -> FloatArray | None:
    """The voice of each stretch of an enrolled phrase, of as many kinds as `signatures_of` has.

    Shape (3, stretches, d); None where there are none. What was learned has no stretches.
    """
    known = [
        np.stack(sample.stretches).reshape(-1, len(STRETCHES), len(sample.speaker_embedding))
        for sample in samples
        if sample.stretches
    ]
    if not known:
        return None
    kinds = min(map(len, known))  # an older version enrolled them as said alone
    return unit(np.sum([one[:kinds] for one in known], axis=0))


def _combined(samples: Sequence[EnrollmentSample], voices: Sequence[FloatArray]) -> FloatArray:
    pairs = list(zip(samples, voices))
    enrolled = [pair for pair in pairs if not pair[0].adapted]
    if not enrolled:
        raise ValueError("a signature needs at least one enrollment sample")
    total, weight = _sum(enrolled)
    learned = [pair for pair in pairs if pair[0].adapted]
    if learned:
        more, more_weight = _sum(learned)
        share = min(1.0, weight / max(more_weight, 1e-9), _length(total) / max(_length(more), 1e-9))
        total = total + np.float32(share) * more
    unit: FloatArray = total / max(_length(total), 1e-9)
    return unit


def _sum(
    pairs: Sequence[tuple[EnrollmentSample, FloatArray]],
) -> tuple[FloatArray, float]:
    weights = np.asarray([min(s.net_speech_s, 3.0) for s, _ in pairs], dtype=np.float32)
    return weights @ np.stack([voice for _, voice in pairs]), float(weights.sum())


def _length(vector: FloatArray) -> float:
    return float(np.linalg.norm(vector))


def cosine(one: FloatArray, other: FloatArray) -> float:
    """Cosine similarity of two embeddings of unit length, -1 to 1."""
    return float(np.clip(one @ other, -1.0, 1.0))


def centered(voices: FloatArray, center: FloatArray) -> FloatArray:
    """Voices, shape (..., d), of unit length after what they have in common, (d,), is taken off.

    People who are recorded with one microphone in one room, or speak one language, point in one
    direction together. Taken for likeness, it lets strangers in (docs/accuracy.md).
    """
    return unit(voices - center)


def similarities(
    signatures: FloatArray, voices: FloatArray, center: FloatArray, allowances: FloatArray
) -> FloatArray:
    """How near m voices, shape (m, looks, d), come to signatures of n people, shape (n, 3, d).

    A voice is looked at as it was heard and, if there are two looks, without echo; a signature has
    the `EnrollmentSample.voices`. The largest of the centered cosines counts. `allowances` of shape
    (2, 3), for a look and a kind of signature, are added first, so that strangers come equally
    near in any pair: a voice in echo or noise is less like any other.

    Returns:
        Similarities, at most 1, shape (n, m).
    """
    known, heard = centered(signatures, center), centered(voices, center)
    pairs = [
        known[:, kind] @ heard[:, look].T + allowances[look, kind]
        for look in range(voices.shape[1])
        for kind in range(signatures.shape[1])
    ]
    nearest: FloatArray = np.clip(np.max(pairs, axis=0), -1.0, 1.0)
    return nearest


def stretch_similarities(
    signatures: FloatArray, looks: FloatArray, center: FloatArray, allowances: FloatArray
) -> FloatArray:
    """How near each stretch of an utterance comes to that of a signature, shape (stretches,).

    As `similarities`: `signatures` has the shape (3, stretches, d), `looks` (looks, stretches, d).
    """
    known, heard = centered(signatures, center), centered(looks, center)
    pairs = np.einsum("ksd,lsd->lks", known, heard)
    nearest: FloatArray = np.max(pairs + allowances[: len(looks), : len(known), None], axis=(0, 1))
    return nearest


@dataclass(frozen=True, eq=False)
class VoiceScores:
    """Similarity, as of `similarities`, and log-likelihood ratio, both of shape (n, m)."""

    similarity: FloatArray = field(repr=False)
    ratio: FloatArray = field(repr=False)


def _no_allowances() -> FloatArray:
    return np.zeros((2, VOICE_VARIANTS), np.float32)


@dataclass(frozen=True, eq=False)
class Scorer:
    """The calibrations of both models, and the configured false-accept rate, between 0 and 1.

    `center` is what voices have in common, shape (d,); `allowances` as for `similarities`, and
    `stretch_allowance` what is added where a stretch is compared in place of a whole utterance.
    """

    center: FloatArray = field(repr=False)
    voice: VoiceCalibration
    phrase: PhraseCalibration
    rate: float
    allowances: FloatArray = field(default_factory=_no_allowances, repr=False)
    stretch_allowance: float = 0.0

    @classmethod
    def of(cls, models: Models, rate: float) -> Scorer:
        """From the models' cards.

        Raises:
            ModelError: a card holds no calibration, or that of another model.
        """
        return cls(
            voice_center(models.speaker.card, models.speaker.dimensions),
            voice_calibration(models.speaker.card),
            phrase_calibration(models.phrase.card),
            rate,
            voice_allowances(models.speaker.card),
            stretch_allowance(models.speaker.card),
        )

    def voice_scores(
        self, profiles: Sequence[Profile], analyses: Sequence[Analysis]
    ) -> VoiceScores:
        """Compare each of m voices with each of n signatures.

        Where a phrase was enrolled and the stretches of the voice are known, the mean of their
        similarities counts as much as that of the whole: they are compared sound by sound.
        """
        signatures = np.stack([signatures_of(profile.samples) for profile in profiles])
        similarity = np.concatenate(
            [
                similarities(signatures, np.stack(one.looks)[None], self.center, self.allowances)
                for one in analyses
            ],
            axis=1,
        )
        for row, profile in enumerate(profiles):
            for column, analysis in enumerate(analyses):
                stretches = self.stretch_similarities(profile, analysis)
                if stretches is not None:
                    of_all = np.mean(stretches) + self.stretch_allowance
                    similarity[row, column] = np.minimum((similarity[row, column] + of_all) / 2, 1)
        ratio = self.voice.ratio(
            similarity,
            [len(profile.enrolled) for profile in profiles],
            [analysis.quality.net_speech_s for analysis in analyses],
        )
        return VoiceScores(similarity, ratio)

    def stretch_similarities(self, profile: Profile, analysis: Analysis) -> FloatArray | None:
        """How near each stretch comes to what was enrolled, shape (stretches,); None without."""
        looks = analysis.stretch_looks
        signatures = stretch_signatures_of(profile.enrolled) if looks else None
        if signatures is None:
            return None
        heard = np.asarray(looks, dtype=np.float32)
        return stretch_similarities(signatures, heard, self.center, self.allowances)

    def voice_threshold(
        self, among: int = 1, *, enrollments: int = USUAL_ENROLLMENTS, rate: float | None = None
    ) -> float:
        """The ratio from which a voice is accepted; `rate` None is the configured one.

        A stranger has as many chances as there are people (`among`). So that all of them together
        stay at the rate, each gets its part of it (Bonferroni's bound). `enrollments` are the
        signature's.
        """
        rate = self.rate if rate is None else rate
        return self.voice.curve.threshold(rate / among) + self.voice.shift(enrollments)

    def phrase_threshold(self, rate: float | None = None) -> float:
        """The ratio from which a phrase is accepted; `rate` as for `voice_threshold`."""
        return self.phrase.curve.threshold(self.rate if rate is None else rate)

    @property
    def joint_threshold(self) -> float:
        """The joint score from which voice and phrase together are accepted."""
        return -math.log(self.rate)

    def joint(
        self, voice: float, phrase: float, among: int = 1, *, enrollments: int = USUAL_ENROLLMENTS
    ) -> float:
        """One score of voice and phrase together: how rare such a wrong attempt is.

        Whether the voice, the phrase or both are wrong, the worse of the two has to show it. So
        that one counts, each on the scale of its own operating curve. Accepting from -log(rate) on
        keeps each of the three kinds of wrong attempt at the rate. Both are log-likelihood ratios;
        `among` and `enrollments` are as in `voice_threshold`.
        """
        return float(self.joints(voice - self.voice.shift(enrollments), phrase, among))

    def joints(self, voice: Any, phrase: Any, among: int = 1) -> Any:
        """`joint` of arrays of one shape, for signatures of the usual number of utterances."""
        alone = self.voice.curve.rarity(voice) - np.float32(math.log(among))
        return np.minimum(alone, self.phrase.curve.rarity(phrase))

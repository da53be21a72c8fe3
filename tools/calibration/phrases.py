"""The calibration of the phrase model, from simulated repetitions and near misses.

Noise and echo add to every distance. So the limit is put where, in each noise and echo as the
product itself measures them, the same share of near misses comes nearer (quantile regression).

Nobody in the corpus says anything twice. So repetitions are simulated: faster or slower, in noise,
in a room, cut a little earlier or later. They are enrolled as in the product, with its variants.
Wrong trials are of two kinds: other sentences by the same voice, and near misses, where a third of
the phrase is replaced by other speech of the same voice.

A near miss can be as close as a genuine repetition spoken in haste, so one rate for both kinds
would shut the door. One in eight near misses may pass at the rate of 1 in 1,000, twice as many at
ten times that rate, half as many at a tenth of it. (They are spliced without a break in voice or
room, and so come closer than what people really confuse.)
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from rich.progress import track

from edge.audio.blocks import FRAME_SAMPLES
from edge.audio.quality import measure_quality
from edge.recognition.augmentation import AUGMENTATIONS, augmented
from edge.recognition.dtw import dtw_distances, example_distances
from edge.recognition.embedders import phrase_samples, voice_samples
from edge.recognition.engine import Analyzer
from edge.recognition.scoring import PHRASE_SNR_RANGE_DB, PhraseCalibration, phrase_terms
from edge.types import SAMPLE_RATE, FloatArray, Utterance
from tools.acoustics.noise import add_noise, pink_noise
from tools.acoustics.rooms import PLACEMENTS, ROOMS, reverberate, room_response
from tools.calibration.curves import RATES, rising
from tools.calibration.logistic import Array, fit
from tools.calibration.quantiles import fit_quantile
from tools.calibration.voices import CorpusUtterance

ENROLLED = 3
LENGTHS_S = (1.2, 3.2)
"""Sentences of the length of a passphrase."""
REPLACED = 1 / 3
_ENROLLED_SPEEDS = (1.0, 0.93, 1.07)
_SPOKEN_SPEEDS = (0.85, 0.95, 1.12, 1.2)
_IN_ROOMS = 0.5
"""Share of repetitions and near misses in a room with an echo."""
_IN_NOISE = 0.5
"""Share of repetitions and near misses in noise."""
_CUT_AMISS_S = 0.12
"""How much too early or too late the end-pointer may cut in noise."""
QUIET_DB = PHRASE_SNR_RANGE_DB[1]
_PRIOR = 0.5
_NEAR_MISSES = 0.125
_NEAR_MISSES_AT = 0.001
_NEAR_MISS_POWER = float(np.log10(2.0))
_RAREST_OTHER = 0.001
"""Rate below which there are too few pairs of sentences to find a distance."""


@dataclass(frozen=True, eq=False)
class Distances:
    """DTW distances to the nearest of three enrolled repetitions.

    Attributes:
        right: of the phrase, repeated.
        right_noise, right_echo: `phrase_terms` of each of these, as measured.
        near: of near misses.
        near_noise, near_echo: `phrase_terms` of each of these, as measured.
        other: of other sentences by the same voice.
        single: of other sentences to one enrolled utterance, by the same voice.
    """

    right: FloatArray
    right_noise: FloatArray
    right_echo: FloatArray
    near: FloatArray
    near_noise: FloatArray
    near_echo: FloatArray
    other: FloatArray
    single: FloatArray


def measure(analyzer: Analyzer, utterances: Sequence[CorpusUtterance], seed: int = 0) -> Distances:
    """All distances among the recordings of each speaker."""
    chance = np.random.default_rng(seed)
    found: dict[str, list[float]] = {field.name: [] for field in fields(Distances)}
    speakers = sorted({one.item.speaker for one in utterances})
    for speaker in track(speakers, description="phrases", transient=True):
        said = [one.utterance for one in utterances if one.item.speaker == speaker]
        _among_sentences([_enrolled(analyzer, one) for one in said], found)
        fitting = [one for one in said if LENGTHS_S[0] < _speech_s(one) < LENGTHS_S[1]]
        if len(fitting) > 1:
            _said_again(analyzer, fitting[0], fitting[1], chance, found)
            _said_again(analyzer, fitting[1], fitting[0], chance, found)
    return Distances(**{name: np.asarray(values, np.float32) for name, values in found.items()})


def _among_sentences(
    sentences: Sequence[tuple[FloatArray, ...]], found: dict[str, list[float]]
) -> None:
    count = len(sentences)
    matrix = np.asarray([example_distances(sentences, one[0]) for one in sentences]).T
    for enrolled in itertools.combinations(range(count), ENROLLED):
        others = np.setdiff1d(np.arange(count), enrolled)
        found["other"] += list(matrix[np.ix_(np.asarray(enrolled), others)].min(axis=0))
    plain = [one[0] for one in sentences]
    single = np.asarray([dtw_distances(plain, one) for one in plain]).T
    found["single"] += list(single[~np.eye(count, dtype=bool)])


def _said_again(
    analyzer: Analyzer,
    phrase: Utterance,
    foreign: Utterance,
    chance: np.random.Generator,
    found: dict[str, list[float]],
) -> None:
    enrolled = [_enrolled(analyzer, _altered(phrase, speed, chance)) for speed in _ENROLLED_SPEEDS]
    for speed in _SPOKEN_SPEEDS:
        again = _altered(phrase, speed, chance)
        missed = _with_a_part_replaced(again, _altered(foreign, speed, chance), chance)
        both = [again, missed]
        if chance.random() < _IN_ROOMS:
            both = [_in_a_room(one, chance) for one in both]
        if chance.random() < _IN_NOISE:
            snr_db = float(chance.uniform(*PHRASE_SNR_RANGE_DB))
            both = [_noisy(one, snr_db, chance) for one in both]
        for name, said in zip(("right", "near"), both):
            noise, echo = _measured(said)
            embedding = analyzer.models.phrase.embed(phrase_samples(_cut_amiss(said, chance)))
            found[name].append(min(example_distances(enrolled, embedding)))
            found[f"{name}_noise"].append(noise)
            found[f"{name}_echo"].append(echo)


def _altered(one: Utterance, speed: float, chance: np.random.Generator) -> Utterance:
    """Faster or slower (the pitch follows), with a little noise."""
    samples = np.asarray(soxr.resample(one.samples, SAMPLE_RATE * speed, SAMPLE_RATE), np.float32)
    said = Utterance(
        samples,
        start_s=0.0,
        end_s=len(samples) / SAMPLE_RATE - one.tail_s / speed,
        quality=one.quality,
        lead_s=one.lead_s / speed,
    )
    return _noisy(said, QUIET_DB, chance)


def _noisy(one: Utterance, snr_db: float, chance: np.random.Generator) -> Utterance:
    seed = int(chance.integers(1 << 31))
    noise = pink_noise(one.duration_s + 0.1, seed)
    return replace(one, samples=add_noise(one.samples, noise, snr_db, seed))


def _measured(one: Utterance) -> tuple[float, float]:
    """The terms of noise and echo, as the product measures them."""
    frames = len(one.samples) // FRAME_SAMPLES
    speech: NDArray[np.bool_] = np.zeros(frames, np.bool_)
    first = round(one.lead_s * SAMPLE_RATE) // FRAME_SAMPLES
    speech[first : frames - round(one.tail_s * SAMPLE_RATE) // FRAME_SAMPLES] = True
    quality = measure_quality(one.samples, speech)
    noise, echo = phrase_terms(quality.snr_db, quality.reverberation_s)
    return float(noise), float(echo)


def _in_a_room(one: Utterance, chance: np.random.Generator) -> Utterance:
    room = ROOMS[int(chance.integers(len(ROOMS)))]
    response = room_response(room, int(chance.integers(PLACEMENTS)))
    return replace(one, samples=reverberate(one.samples, response))


def _with_a_part_replaced(
    one: Utterance, foreign: Utterance, chance: np.random.Generator
) -> Utterance:
    said, other = voice_samples(one), voice_samples(foreign)
    length = min(int(REPLACED * len(said)), len(other))
    start = int(chance.integers(0, len(said) - length + 1)) + round(one.lead_s * SAMPLE_RATE)
    source = int(chance.integers(0, len(other) - length + 1))
    missed = one.samples.copy()
    missed[start : start + length] = other[source : source + length]
    return replace(one, samples=missed)


def _cut_amiss(one: Utterance, chance: np.random.Generator) -> Utterance:
    early, late = chance.uniform(-_CUT_AMISS_S, _CUT_AMISS_S, 2)
    return replace(one, lead_s=max(0.0, one.lead_s + early), end_s=one.end_s + late)


def _enrolled(analyzer: Analyzer, one: Utterance) -> tuple[FloatArray, ...]:
    return tuple(
        analyzer.models.phrase.embed(phrase_samples(said))
        for said in (one, *(augmented(one, place) for place in AUGMENTATIONS))
    )


def _speech_s(one: Utterance) -> float:
    return len(voice_samples(one)) / SAMPLE_RATE


def fit_phrase(distances: Distances) -> PhraseCalibration:
    """Log-likelihood ratios from distances, and the operating curve."""
    quality = np.stack(
        (np.ones_like(distances.near), distances.near_noise, distances.near_echo), axis=1
    )
    weights = fit_quantile(quality.astype(np.float64), distances.near.astype(float), _NEAR_MISSES)
    # Noise and echo can only add to a distance.
    noise, echo = min(float(weights[1]), 0.0), max(float(weights[2]), 0.0)

    def quiet(values: FloatArray, of_noise: FloatArray, of_echo: FloatArray) -> Array:
        """The distances as they would be in quiet."""
        return np.asarray(values - noise * of_noise - echo * of_echo, np.float64)

    right = quiet(distances.right, distances.right_noise, distances.right_echo)
    near = quiet(distances.near, distances.near_noise, distances.near_echo)
    other = distances.other.astype(np.float64)
    values = np.concatenate((right, near, _as_many(other, len(near))))
    features = np.stack((np.ones_like(values), values), axis=1)
    offset, slope = (
        float(weight) for weight in fit(features, np.arange(len(values)) < len(right), _PRIOR)
    )
    curve = rising(_limit(offset + slope * near, offset + slope * other, rate) for rate in RATES)
    return PhraseCalibration(offset, slope, -slope * noise, -slope * echo, curve)


def _limit(near: Array, other: Array, rate: float) -> float:
    """The lowest ratio at which neither kind passes more often than allowed."""
    near_rate = _NEAR_MISSES * (rate / _NEAR_MISSES_AT) ** _NEAR_MISS_POWER
    other_rate = max(rate, _RAREST_OTHER)
    return float(max(np.quantile(other, 1 - other_rate), np.quantile(near, 1 - near_rate)))


def _as_many(values: Array, count: int) -> Array:
    """A sample of the values, evenly over their range."""
    spread: Array = np.sort(values)[np.linspace(0, len(values) - 1, count).astype(int)]
    return spread


def document(distances: Distances, found: PhraseCalibration) -> dict[str, Any]:
    """The calibration in the form of the card, without the model's hash."""
    return {
        "ratio": {
            "offset": round(found.offset, 4),
            "distance": round(found.distance, 4),
            "snr": round(found.snr, 4),
            "echo": round(found.echo, 4),
        },
        "operating_curve": [[rate, round(ratio, 3)] for rate, ratio in found.curve.points],
        "trials": {
            "said again": len(distances.right),
            "near misses": len(distances.near),
            "other sentences": len(distances.other),
        },
    }

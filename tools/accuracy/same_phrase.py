"""Voice and phrase together: the four kinds of trial, calm and excited, in noise and in rooms.

Three calm repetitions are enrolled. TC is the right voice with the right phrase, TW its wrong
phrase, IC a stranger with the right phrase, IW a stranger with the wrong one. Without calibration,
a trial's score is how far the worse of cosine and DTW distance is from its fixed threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.evaluation.corpus import CorpusFile, Spoken
from edge.evaluation.trials import profile_of
from edge.recognition import Engine
from edge.recognition.dtw import example_distances
from edge.recognition.results import Analysis
from edge.types import FloatArray, Profile, ProfileKind
from tools.accuracy.figures import PLAIN_PHRASE, PLAIN_VOICE, PRESETS, Row, Scores
from tools.conditions import Condition
from tools.trials import enrollments

CALM = ("neutral", "calm")
ENROLLED = 3
ENROLLMENTS = 5
"""Enrollments tried for each speaker and phrase."""
_REFUSED = -1e3
"""Score of a refused recording: it does not open."""
_PLAIN_STEPS = (0.05, 0.06)
"""One step of cosine and of distance, for comparing the two."""
KINDS = ("TC", "TW", "IC", "IW")
TARGET, STRANGER = 0, 2
"""Indices into `KINDS`: the right voice with the right phrase, a stranger with it."""


@dataclass(frozen=True, eq=False)
class Enrollment:
    """A profile and its recordings."""

    profile: Profile
    members: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Recordings and the enrollments made from them.

    Attributes:
        spoken: all recordings, clean.
        calm: which of them are neutral or calm; all if the file names have no style.
        enrollments: profiles of three calm recordings each.
        examples: the enrolled phrase embeddings with their variants, by recording.
    """

    spoken: Sequence[Spoken]
    calm: NDArray[np.bool_]
    enrollments: Sequence[Enrollment]
    examples: dict[int, tuple[FloatArray, ...]]


def corpus(engine: Engine, spoken: Sequence[Spoken]) -> Corpus:
    """Enroll everyone, several times."""
    styled = any(one.item.style in CALM for one in spoken)
    calm = np.asarray([not styled or one.item.style in CALM for one in spoken])
    groups: dict[tuple[str, str], list[int]] = {}
    for number, one in enumerate(spoken):
        if calm[number] and one.refusal is None:
            groups.setdefault((one.item.speaker, one.item.phrase), []).append(number)
    found, examples = [], {}
    for own in groups.values():
        if len(own) <= ENROLLED:
            continue
        for chosen in enrollments(len(own), ENROLLED, ENROLLMENTS):
            members = tuple(own[i] for i in chosen)
            found.append(Enrollment(profile_of(engine, [spoken[i] for i in members]), members))
            examples.update({i: enrolled_phrases(spoken[i].analysis) for i in members})
    return Corpus(spoken, calm, found, examples)


@dataclass(frozen=True, eq=False)
class Scored:
    """Every tested recording against every profile.

    Attributes:
        plain: scores without calibration, shape (n, m).
        joint: the product's, shape (n, m).
        kind: index into `KINDS`, -1 for enrolled recordings, shape (n, m).
        refused: which recordings the product refuses, shape (m,).
    """

    plain: Scores
    joint: Scores
    kind: NDArray[np.intp]
    refused: NDArray[np.bool_]

    def rates(self, threshold: float) -> dict[str, float]:
        """Error rate of each kind of trial at a threshold of `joint`, percent."""
        opened = self.joint >= threshold
        rates = {"FR": 100 * float((~opened[self.kind == 0]).mean())}
        for number, name in enumerate(KINDS[1:], start=1):
            rates[name] = 100 * float(opened[self.kind == number].mean())
        return {name: round(rate, 2) for name, rate in rates.items()}

    def row(self, scores: Scores) -> Row:
        """Error rates over all four kinds."""
        return Row.of(scores[self.kind == 0], scores[self.kind > 0])


def score(
    engine: Engine,
    known: Corpus,
    tested: Sequence[int],
    analyses: Sequence[Analysis],
    refused: NDArray[np.bool_],
) -> Scored:
    """Compare recordings with all profiles.

    Args:
        engine: the recognizer.
        known: the enrollments.
        tested: the recordings' numbers, m of them.
        analyses: of the tested recordings, clean or altered.
        refused: which of them the product refuses, shape (m,).
    """
    profiles = [one.profile for one in known.enrollments]
    voice = engine.scorer.voice_scores(profiles, analyses)
    numbers = sorted(known.examples)
    column = {number: index for index, number in enumerate(numbers)}
    examples = [known.examples[number] for number in numbers]
    members = np.asarray([[column[i] for i in one.members] for one in known.enrollments])
    every = np.asarray([example_distances(examples, _phrase(one)) for one in analyses]).T
    distance = every[members].min(axis=1)
    # Without variants, as before.
    as_said = [own[:1] for own in examples]
    every = np.asarray([example_distances(as_said, _phrase(one)) for one in analyses]).T
    plain_distance = every[members].min(axis=1)
    snr_db = np.asarray([one.quality.snr_db for one in analyses])[None]
    phrase = engine.scorer.phrase.ratio(distance, snr_db)
    joint = np.asarray(engine.scorer.joints(voice.ratio, phrase), np.float64)
    plain = np.minimum(
        (voice.similarity - PLAIN_VOICE) / _PLAIN_STEPS[0],
        (PLAIN_PHRASE - plain_distance) / _PLAIN_STEPS[1],
    ).astype(np.float64)
    joint[:, refused] = plain[:, refused] = _REFUSED
    return Scored(plain, joint, kinds(known, tested), refused)


def kinds(known: Corpus, tested: Sequence[int]) -> NDArray[np.intp]:
    """The kind of trial of each recording and profile: an index into `KINDS`, or -1."""
    owner = np.asarray([one.profile.name for one in known.enrollments])[:, None]
    phrase = np.asarray([one.profile.phrase for one in known.enrollments])[:, None]
    speaker = np.asarray([known.spoken[i].item.speaker for i in tested])[None]
    said = np.asarray([known.spoken[i].item.phrase for i in tested])[None]
    kind = 2 * (owner != speaker) + (phrase != said)
    enrolled = np.asarray([np.isin(tested, one.members) for one in known.enrollments])
    return np.where(enrolled, -1, kind).astype(np.intp)


def enrolled_phrases(analysis: Analysis) -> tuple[FloatArray, ...]:
    """The examples stored when a phrase is enrolled."""
    return (_phrase(analysis), *analysis.phrase_variants)


def _phrase(analysis: Analysis) -> FloatArray:
    if analysis.phrase_embedding is None:
        raise ValueError("analyzed without its phrase")
    return analysis.phrase_embedding


def measure(engine: Engine, spoken: Sequence[Spoken]) -> dict[str, Any]:
    """Before and after, calm and excited."""
    known = corpus(engine, spoken)
    results: dict[str, Any] = {}
    for label, keep in (("calm", known.calm), ("excited", ~known.calm)):
        tested = np.flatnonzero(keep).tolist()
        if not tested:
            continue
        refused = np.asarray([spoken[i].refusal is not None for i in tested])
        found = score(engine, known, tested, [spoken[i].analysis for i in tested], refused)
        results[label] = {
            "recordings": len(tested),
            "refused": int(refused.sum()),
            "plain": found.row(found.plain).as_dict(),
            "calibrated": found.row(found.joint).as_dict(),
            "plain, at its fixed thresholds, percent": _plain_rates(found),
            "presets, percent": {
                name: found.rates(-float(np.log(rate))) for name, rate in PRESETS.items()
            },
        }
    return results


def _plain_rates(found: Scored) -> dict[str, float]:
    before = Scored(found.plain, found.plain, found.kind, found.refused)
    return before.rates(0.0)


def in_conditions(
    engine: Engine, spoken: Sequence[Spoken], conditions: Sequence[Condition], track: Any
) -> dict[str, Any]:
    """Calm trials in noise, rooms and through other microphones, enrolled clean."""
    known = corpus(engine, spoken)
    tested = np.flatnonzero(known.calm).tolist()
    threshold = -float(np.log(PRESETS["balanced"]))
    results: dict[str, Any] = {}
    for condition in track(conditions):
        analyses, refused = [], []
        for number in tested:
            heard = _altered(engine, spoken[number].item, condition, number)
            analyses.append(heard[0] or spoken[number].analysis)
            refused.append(heard[0] is None or heard[1])
        found = score(engine, known, tested, analyses, np.asarray(refused))
        judged = found.kind >= 0
        judged &= ~found.refused[None]
        alone = Scored(found.plain, found.joint, np.where(judged, found.kind, -1), found.refused)
        results[condition.name] = {
            "refused_percent": round(100 * float(found.refused.mean()), 1),
            "plain_min_dcf": alone.row(alone.plain).as_dict()["min_dcf"] if judged.any() else None,
            "min_dcf": alone.row(alone.joint).as_dict()["min_dcf"] if judged.any() else None,
            "balanced, percent": found.rates(threshold),
        }
    return results


def _altered(
    engine: Engine, item: CorpusFile, condition: Condition, seed: int
) -> tuple[Analysis | None, bool]:
    """A recording under a condition, and whether it would be refused; None without any speech."""
    utterance = utterance_of(condition.apply(read_audio(item.path).samples, seed))
    if utterance.quality.net_speech_s <= 0.0:
        return None, True
    refused = engine.refusal(utterance, ProfileKind.PHRASE) is not None
    return engine.analyze(utterance), refused

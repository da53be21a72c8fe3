"""Near misses of a phrase, and other people's keywords.

The recordings are of many unlabeled voices. So the voice model groups them, and each voice that
says the phrase often enough is enrolled with three of its repetitions, many times over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from edge.evaluation.corpus import Spoken
from edge.evaluation.trials import profile_of
from edge.recognition import Engine
from edge.recognition.dtw import example_distances
from edge.types import FloatArray
from tools.accuracy.figures import PRESETS, Scores, false_accepts
from tools.accuracy.same_phrase import enrolled_phrases

ENROLLED = 3
ENROLLMENTS = 60
SAME_VOICE = 0.25
"""Mean similarity at which groups of these short recordings are merged into one voice."""
FEWEST_SAYINGS = 8


def voices(spoken: Sequence[Spoken]) -> NDArray[np.intp]:
    """A number for each recording's voice: average-linkage clustering of the embeddings."""
    embeddings = np.stack([one.analysis.speaker_embedding for one in spoken])
    distance = 1.0 - np.clip(embeddings @ embeddings.T, -1.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average")
    return np.asarray(fcluster(tree, 1.0 - SAME_VOICE, "distance"), dtype=np.intp)


def measure(
    engine: Engine, spoken: Sequence[Spoken], strangers: Sequence[Spoken], phrase: str
) -> dict[str, Any]:
    """False accepts of near misses against false rejects, in the same voice.

    Args:
        engine: the recognizer.
        spoken: the phrase and its near misses; `item.speaker` is the word.
        strangers: keywords by other people.
        phrase: the word to enroll.
    """
    voice = voices(spoken)
    said = np.asarray([one.item.speaker for one in spoken])
    chance = np.random.default_rng(0)
    right: list[float] = []
    wrong: list[float] = []
    joint: list[float] = []
    opened = dict.fromkeys(PRESETS, 0)
    near = {name: [0, 0] for name in PRESETS}
    groups = []
    for number in np.unique(voice):
        own = np.flatnonzero((voice == number) & (said == phrase)).tolist()
        others = np.flatnonzero((voice == number) & (said != phrase)).tolist()
        if len(own) < FEWEST_SAYINGS or not others:
            continue
        groups.append({"repetitions": len(own), "near misses": len(others)})
        repetitions = [enrolled_phrases(spoken[i].analysis) for i in own]
        to_own = np.asarray([example_distances(repetitions, one[0]) for one in repetitions])
        to_near = np.asarray([example_distances(repetitions, _phrase(spoken[i])) for i in others])
        to_foreign = np.asarray([example_distances(repetitions, _phrase(one)) for one in strangers])
        noise = [_snr([spoken[i] for i in rows]) for rows in (own, others)]
        ratio = engine.scorer.phrase.ratio
        for _ in range(ENROLLMENTS):
            chosen = chance.choice(len(own), ENROLLED, replace=False)
            rest = np.setdiff1d(np.arange(len(own)), chosen)
            said_again = ratio(to_own[np.ix_(rest, chosen)].min(axis=1), noise[0][rest])
            missed = ratio(to_near[:, chosen].min(axis=1), noise[1])
            right += list(said_again)
            wrong += list(missed)
            profile = profile_of(engine, [spoken[own[i]] for i in chosen])
            ratios = engine.scorer.voice_scores([profile], [one.analysis for one in strangers])
            foreign = ratio(to_foreign[:, chosen].min(axis=1), _snr(strangers))
            joint += list(engine.scorer.joints(ratios.ratio[0], foreign))
            for name, rate in PRESETS.items():
                limit = engine.scorer.phrase_threshold(rate)
                near[name][0] += int((said_again < limit).sum())
                near[name][1] += int((missed >= limit).sum())
    for name, rate in PRESETS.items():
        opened[name] = int((np.asarray(joint) >= -np.log(rate)).sum())
    if not right or not wrong:
        return {"voices": groups}
    targets, nontargets = np.asarray(right), np.asarray(wrong)
    return {
        "voices": groups,
        "near misses accepted at 5 % false rejects, percent": round(
            100 * false_accepts(targets, nontargets, 0.05), 2
        ),
        "phrase alone, by preset, percent": {
            name: {
                "false rejects": round(100 * rejected / len(right), 2),
                "near misses accepted": round(100 * accepted / len(wrong), 2),
            }
            for name, (rejected, accepted) in near.items()
        },
        "keywords by strangers": {"trials": len(joint), "granted": opened},
    }


def _snr(spoken: Sequence[Spoken]) -> Scores:
    return np.asarray([one.analysis.quality.snr_db for one in spoken])


def _phrase(spoken: Spoken) -> FloatArray:
    if spoken.analysis.phrase_embedding is None:
        raise ValueError("analyzed without its phrase")
    return spoken.analysis.phrase_embedding

"""Near misses of a phrase, and other people's keywords.

The recordings are of many unlabeled voices. So the voice model groups them, and each voice that
says the phrase often enough is enrolled with three of its repetitions, many times over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from edge.evaluation.corpus import CorpusFile, Spoken
from edge.evaluation.trials import phrase_scores, profile_of
from tools.accuracy.figures import PRESETS, false_accepts, share, threshold
from tools.accuracy.hearing import Hearing, Sound, joint_scores

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
    hearing: Hearing,
    items: Sequence[CorpusFile],
    strangers: Sequence[CorpusFile],
    phrase: str,
    quick: bool = False,
) -> dict[str, Any]:
    """False accepts of near misses against false rejects, in the same voice.

    Args:
        hearing: the recognizer.
        items: the phrase and its near misses; the speaker is the word.
        strangers: keywords by other people.
        phrase: the word to enroll.
        quick: try a fifth of the enrollments.
    """
    engine = hearing.engine
    spoken = _spoken(hearing, items, phrase)
    others_heard = _spoken(hearing, strangers, "")
    voice = voices(spoken)
    said = np.asarray([one.item.speaker for one in spoken])
    chance = np.random.default_rng(0)
    right: list[float] = []
    wrong: list[float] = []
    joint: list[float] = []
    groups = []
    for number in np.unique(voice):
        own = np.flatnonzero((voice == number) & (said == phrase)).tolist()
        others = np.flatnonzero((voice == number) & (said != phrase)).tolist()
        if len(own) < FEWEST_SAYINGS or not others:
            continue
        groups.append({"repetitions": len(own), "near misses": len(others)})
        chosen = [
            chance.choice(own, ENROLLED, replace=False).tolist()
            for _ in range(ENROLLMENTS // 5 if quick else ENROLLMENTS)
        ]
        profiles = [profile_of(engine, [spoken[i] for i in some]) for some in chosen]
        scores = phrase_scores(engine, profiles, [spoken[i].analysis for i in (*own, *others)])
        enrolled = np.asarray([np.isin(own, some) for some in chosen])
        right += list(scores[:, : len(own)][~enrolled])
        wrong += list(scores[:, len(own) :].ravel())
        asked = np.ones(len(profiles), dtype=np.bool_)
        for one in others_heard:
            joint += list(joint_scores(engine, profiles, one.analysis, asked))
    targets, nontargets, foreign = np.asarray(right), np.asarray(wrong), np.asarray(joint)
    if not right or not wrong:
        return {"voices": groups}
    return {
        "voices": groups,
        "near misses accepted at 5 % false rejects, percent": round(
            100 * false_accepts(targets, nontargets, 0.05), 2
        ),
        "phrase alone, by preset, percent": {
            name: {
                "false rejects": share(targets < engine.scorer.phrase_threshold(rate)),
                "near misses accepted": share(nontargets >= engine.scorer.phrase_threshold(rate)),
            }
            for name, rate in PRESETS.items()
        },
        "keywords by strangers": {
            "trials": len(foreign),
            "granted": {
                name: int((foreign >= threshold(rate)).sum()) for name, rate in PRESETS.items()
            },
        },
    }


def _spoken(hearing: Hearing, items: Sequence[CorpusFile], phrase: str) -> list[Spoken]:
    """The recordings with speech in them; of the phrase to enroll, with all that is kept of it."""
    heard = hearing.hear(
        [Sound((item.path,), to_enroll=item.speaker == phrase) for item in items], "near misses"
    )
    return [
        Spoken(replace(item, phrase=item.speaker), one.analysis, one.refusal)
        for item, one in zip(items, heard)
        if one.analysis is not None
    ]

"""Trials: scores of the right and wrong voice, and of the right and wrong phrase."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.evaluation.corpus import Spoken
from edge.recognition.dtw import dtw_distances
from edge.recognition.scoring import signature_of
from edge.types import FloatArray

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Trials:
    """Scores of trials; higher means more similar.

    Attributes:
        targets: of trials to accept, shape (m,).
        nontargets: of trials to reject, shape (n,).
    """

    targets: Scores
    nontargets: Scores


def signature(spoken: Sequence[Spoken]) -> FloatArray:
    """The voice signature from enrolling these recordings."""
    return signature_of([one.analysis.to_sample(0.0) for one in spoken])


def enrollments(count: int, size: int, most: int = 20) -> list[tuple[int, ...]]:
    """Different ways to enroll `size` of `count` recordings, `most` of them spread evenly."""
    every = list(itertools.combinations(range(count), size))
    if len(every) <= most:
        return every
    return [every[i] for i in np.linspace(0, len(every) - 1, most).astype(int)]


def voice_trials(
    groups: Sequence[tuple[str, Sequence[Spoken], Sequence[Spoken]]], size: int, most: int = 20
) -> Trials:
    """Each voice against all others.

    Args:
        groups: (speaker, recordings to enroll, recordings to test); a trial does not test what it
            enrolls.
        size: recordings enrolled at a time.
        most: enrollments tried for each group.
    """
    targets: list[float] = []
    nontargets: list[float] = []
    tests = [
        (speaker, index, one) for index, (speaker, _, tested) in enumerate(groups) for one in tested
    ]
    matrix = np.stack([one.analysis.speaker_embedding for _, _, one in tests])
    for index, (speaker, enrolled, _) in enumerate(groups):
        for chosen in enrollments(len(enrolled), size, most):
            members = [enrolled[i] for i in chosen]
            paths = {one.item.path for one in members}
            scores = matrix @ signature(members)
            for score, (other, of_group, one) in zip(scores, tests):
                if other != speaker:
                    nontargets.append(float(score))
                elif of_group == index and one.item.path not in paths:
                    targets.append(float(score))
    return Trials(np.asarray(targets), np.asarray(nontargets))


def distance_matrix(spoken: Sequence[Spoken]) -> Scores:
    """DTW distance of every recording (column) from every example (row), shape (n, n)."""
    phrases = [_phrase(one) for one in spoken]
    return np.asarray([dtw_distances(phrases, phrase) for phrase in phrases]).T


def phrase_trials(
    own: Sequence[Spoken],
    tested: Sequence[Spoken],
    others: Sequence[Spoken],
    size: int,
    most: int = 20,
) -> Trials:
    """One voice: its phrase against other phrases, the nearest enrolled example counting.

    Args:
        own: repetitions of the phrase to enroll.
        tested: repetitions of the phrase to test, unless enrolled.
        others: other phrases by the same voice.
        size: recordings enrolled at a time.
        most: enrollments tried.
    """
    examples = [_phrase(one) for one in own]
    right = np.asarray([dtw_distances(examples, _phrase(one)) for one in tested])
    wrong = np.asarray([dtw_distances(examples, _phrase(one)) for one in others])
    targets: list[float] = []
    nontargets: list[float] = []
    for chosen in enrollments(len(own), size, most):
        paths = {own[i].item.path for i in chosen}
        rows = [i for i, one in enumerate(tested) if one.item.path not in paths]
        if rows:
            targets += list(-right[np.ix_(rows, chosen)].min(axis=1))
        if len(others):
            nontargets += list(-wrong[:, chosen].min(axis=1))
    return Trials(np.asarray(targets), np.asarray(nontargets))


def joined(trials: Sequence[Trials]) -> Trials:
    """All trials as one list."""
    return Trials(
        np.concatenate([one.targets for one in trials]),
        np.concatenate([one.nontargets for one in trials]),
    )


def _phrase(spoken: Spoken) -> FloatArray:
    phrase = spoken.analysis.phrase_embedding
    if phrase is None:
        raise ValueError(f"{spoken.item.path} was analyzed without its phrase")
    return phrase

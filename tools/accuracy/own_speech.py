"""The enrolled people's own other speech through the service, in which nothing should open."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.evaluation.corpus import CorpusFile
from tools.accuracy.hearing import Hearing, Sound
from tools.accuracy.running import Person, Stretch, run
from tools.accuracy.surroundings import QUIET, REPETITIONS
from tools.accuracy.words import enrolled_and_other_words

AT_A_TIME = 4
"""People enrolled at a time."""
WORDS_IN_A_ROW = 6


def measure(
    hearing: Hearing,
    sentences: Sequence[CorpusFile],
    words: Sequence[CorpusFile],
    quick: bool = False,
) -> dict[str, Any]:
    """Grants in the other sentences of people enrolled with one, and in people's other words.

    `quick` takes a fifth of them.
    """
    stretches = [*_of_words(words), *_of_sentences(sentences)]
    if quick:
        stretches = stretches[::5]
    found = hearing.each(run, stretches, "their own speech")
    granted: dict[str, int] = {}
    for grant in (grant for one in found for grant in one.grants):
        granted[grant.name] = granted.get(grant.name, 0) + 1
    return {
        "people": sum(one.people for one in found),
        "hours": round(sum(one.hours for one in found), 2),
        "grants": sum(granted.values()),
        "granted": granted,
    }


def _of_sentences(items: Sequence[CorpusFile]) -> Iterable[Stretch]:
    """One sentence of each speaker is enrolled, repeated at another speed; the others are heard."""
    every = [list(said) for _, said in itertools.groupby(items, lambda item: item.speaker)]
    own = [said for said in every if len(said) > 1]
    for first in range(0, len(own), AT_A_TIME):
        some = own[first : first + AT_A_TIME]
        people = tuple(
            Person(
                said[0].speaker,
                tuple(Sound((said[0].path,), each) for each in (QUIET, *REPETITIONS)),
            )
            for said in some
        )
        yield Stretch(people, tuple((item.path,) for said in some for item in said[1:]))


def _of_words(items: Sequence[CorpusFile]) -> Iterable[Stretch]:
    """A phrase of each speaker is enrolled; all words that are not in it are heard, in rows."""
    if not items:
        return
    own = enrolled_and_other_words(items)
    for first in range(0, len(own), AT_A_TIME):
        some = own[first : first + AT_A_TIME]
        rows: list[tuple[Path, ...]] = []
        for _, others in some:
            order = np.random.default_rng(len(rows)).permutation(len(others))
            mixed = [others[i] for i in order]
            rows += [
                tuple(mixed[i : i + WORDS_IN_A_ROW]) for i in range(0, len(mixed), WORDS_IN_A_ROW)
            ]
        people = tuple(
            Person(said[0].speaker, tuple(Sound(one.paths) for one in said)) for said, _ in some
        )
        yield Stretch(people, tuple(rows))

"""Phrases put together from single words: strangers, near misses, and strangers with tricks.

Everybody says the same phrases of four words. Three repetitions of each are enrolled, put together
from other recordings than those that are tested. Speakers recorded with the same equipment, or
related, sound alike: so strangers are counted by pairs of people too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import InputError
from edge.evaluation.corpus import CorpusFile, Spoken
from edge.evaluation.trials import profile_of
from edge.types import Profile
from tools.accuracy.figures import PRESETS, share, threshold
from tools.accuracy.hearing import Hearing, Judged, Sound
from tools.accuracy.surroundings import QUIET, TRICKS

LENGTH = 4
"""Words in a phrase."""
ENROLLED = 3
FEWEST_TAKES = ENROLLED + 2
NOISY = "noise 10 dB"
ALTERED = (*TRICKS, "noise 20 dB", NOISY, "noise 5 dB", "voices 10 dB", "hallway", "stairwell")
"""What strangers may do, and what may happen to them, for which nothing may be owed to them."""
MOST_OF_IT = 0.8

Takes = dict[str, dict[str, list[Path]]]
"""Recordings by speaker and word."""


@dataclass(frozen=True)
class Saying:
    """A phrase as somebody says it; `replaced` says that one word is another."""

    speaker: str
    phrase: int
    paths: tuple[Path, ...]
    replaced: bool = False


@dataclass(frozen=True, eq=False)
class Known:
    """Who is enrolled with which phrase: one profile for each of `owners`."""

    owners: Sequence[Saying]
    profiles: Sequence[Profile]

    def same_phrase(self, sayings: Sequence[Saying]) -> NDArray[np.bool_]:
        """Which phrases are the profile's own, shape (profiles, sayings)."""
        enrolled = np.asarray([one.phrase for one in self.owners])[:, None]
        same: NDArray[np.bool_] = enrolled == np.asarray([one.phrase for one in sayings])[None]
        return same

    def same_voice(self, sayings: Sequence[Saying]) -> NDArray[np.bool_]:
        """Which voices are the profile's own, shape (profiles, sayings)."""
        owner = np.asarray([one.speaker for one in self.owners])[:, None]
        same: NDArray[np.bool_] = owner == np.asarray([one.speaker for one in sayings])[None]
        return same


def takes_of(items: Sequence[CorpusFile]) -> Takes:
    """The recordings of the words that every speaker said often enough.

    Raises:
        InputError: there are not enough words or speakers.
    """
    found: Takes = {}
    for item in items:
        found.setdefault(item.speaker, {}).setdefault(item.phrase, []).append(item.path)
    common = set.intersection(
        *(
            {word for word, own in words.items() if len(own) >= FEWEST_TAKES}
            for words in found.values()
        )
    )
    if len(found) < 2 or len(common) < LENGTH + 1:
        raise InputError(
            f"words/: {len(found)} speakers share {len(common)} words of {FEWEST_TAKES} recordings"
            f" or more; it takes 2 speakers and {LENGTH + 1} words"
        )
    return {
        speaker: {word: words[word] for word in sorted(common)} for speaker, words in found.items()
    }


def phrases_of(takes: Takes, seed: int = 0) -> list[tuple[str, ...]]:
    """Phrases without a word in common, as many as there are words for."""
    words = sorted(next(iter(takes.values())))
    order = [words[i] for i in np.random.default_rng(seed).permutation(len(words))]
    return [tuple(order[i : i + LENGTH]) for i in range(0, len(order) - LENGTH + 1, LENGTH)]


def sayings_of(
    takes: Takes, phrases: Sequence[tuple[str, ...]], seed: int = 0
) -> tuple[list[list[Saying]], list[Saying], list[Saying]]:
    """What is enrolled (three each), what is tested, and the same with one word replaced."""
    enrolled: list[list[Saying]] = []
    tested: list[Saying] = []
    replaced: list[Saying] = []
    for speaker_number, (speaker, words) in enumerate(takes.items()):
        for number, phrase in enumerate(phrases):
            chance = np.random.default_rng((seed, speaker_number, number))
            mixed = {word: chance.permutation(len(own)).tolist() for word, own in words.items()}
            count = min(len(words[word]) for word in phrase)
            said = [
                tuple(words[word][mixed[word][turn]] for word in phrase) for turn in range(count)
            ]
            enrolled.append([Saying(speaker, number, paths) for paths in said[:ENROLLED]])
            others = [word for word in words if word not in phrase]
            for turn, paths in enumerate(said[ENROLLED:], start=ENROLLED):
                tested.append(Saying(speaker, number, paths))
                place = turn % LENGTH
                word = others[int(chance.integers(len(others)))]
                other = words[word][mixed[word][turn % len(words[word])]]
                changed = (*paths[:place], other, *paths[place + 1 :])
                replaced.append(Saying(speaker, number, changed, replaced=True))
    return enrolled, tested, replaced


def enrolled_and_other_words(items: Sequence[CorpusFile]) -> list[tuple[list[Saying], list[Path]]]:
    """A phrase of each speaker as enrolled, another one from person to person; their other words.

    Raises:
        InputError: there are not enough words or speakers.
    """
    takes = takes_of(items)
    phrases = phrases_of(takes)
    enrolled, _, _ = sayings_of(takes, phrases)
    found = []
    for number, (speaker, words) in enumerate(takes.items()):
        phrase = number % len(phrases)
        own = next(one for one in enrolled if (one[0].speaker, one[0].phrase) == (speaker, phrase))
        others = [path for word in words if word not in phrases[phrase] for path in words[word]]
        found.append((own, others))
    return found


def enroll(hearing: Hearing, repetitions: Sequence[Sequence[Saying]]) -> Known:
    """A profile of each group of repetitions; those that the product refuses are left out."""
    every = [one for own in repetitions for one in own]
    heard = iter(hearing.hear([Sound(one.paths, to_enroll=True) for one in every], "enrolling"))
    owners, profiles = [], []
    for own in repetitions:
        spoken = [
            Spoken(CorpusFile(one.paths[0], one.speaker, str(one.phrase), ""), found.analysis, None)
            for one, found in zip(own, heard)
            if found.analysis is not None and found.refusal is None
        ]
        if len(spoken) == len(own):
            owners.append(own[0])
            profiles.append(profile_of(hearing.engine, spoken))
    return Known(owners, profiles)


def prepare(
    hearing: Hearing, items: Sequence[CorpusFile], quick: bool
) -> tuple[Known, list[Saying], list[Saying]]:
    """Enroll everybody, with one phrase if `quick`; what is tested, and with a word replaced."""
    takes = takes_of(items)
    phrases = phrases_of(takes)
    enrolled, tested, replaced = sayings_of(takes, phrases[:1] if quick else phrases)
    return enroll(hearing, enrolled), tested, replaced


def measure(hearing: Hearing, items: Sequence[CorpusFile], quick: bool = False) -> dict[str, Any]:
    """Strangers, near misses and false rejects, in quiet and in noise."""
    known, tested, replaced = prepare(hearing, items, quick)
    results: dict[str, Any] = {}
    for condition in (QUIET, NOISY):
        judged = _judge(hearing, known, tested, condition)
        near = _judge(hearing, known, replaced, condition)
        results[condition] = {
            "profiles": len(known.profiles),
            "too_poor_percent": share(judged.refused),
            "presets": {
                name: _rates(known, tested, judged, replaced, near, rate)
                for name, rate in PRESETS.items()
            },
            "pairs": _pairs(known, tested, judged),
        }
    return results


def measure_tricks(
    hearing: Hearing, items: Sequence[CorpusFile], quick: bool = False
) -> dict[str, Any]:
    """Strangers who alter the sound at the door, against the same in quiet."""
    known, tested, _ = prepare(hearing, items, quick)
    same_phrase, same_voice = known.same_phrase(tested), known.same_voice(tested)
    in_quiet = _judge(hearing, known, tested, QUIET).scores
    results: dict[str, Any] = {}
    for condition in (QUIET, *ALTERED):
        if "voices" in condition and not hearing.surroundings.talkers:
            continue
        judged = _judge(hearing, known, tested, condition)
        strangers = same_phrase & ~same_voice
        accepted, newly = {}, {}
        for name, rate in PRESETS.items():
            opened = judged.scores[strangers] >= threshold(rate)
            accepted[name] = int(opened.sum())
            newly[name] = int((opened & (in_quiet[strangers] < threshold(rate))).sum())
        balanced = judged.scores < threshold(PRESETS["balanced"])
        results[condition] = {
            "strangers": int(strangers.sum()),
            "accepted": accepted,
            "accepted_but_not_in_quiet": newly,
            "turned_away_percent": share(balanced[same_phrase & same_voice]),
            "too_poor_percent": share(judged.refused),
        }
    return results


def _judge(hearing: Hearing, known: Known, sayings: Sequence[Saying], condition: str) -> Judged:
    sounds = [Sound(one.paths, condition, turn) for turn, one in enumerate(sayings)]
    asked = known.same_phrase(sayings)
    if sayings[0].replaced:
        asked = asked & known.same_voice(sayings)
    return hearing.judge(known.profiles, sounds, asked, f"words, {condition}")


def _rates(
    known: Known,
    tested: Sequence[Saying],
    judged: Judged,
    replaced: Sequence[Saying],
    near: Judged,
    rate: float,
) -> dict[str, Any]:
    own, same = known.same_voice(tested), known.same_phrase(tested)
    opened = judged.scores >= threshold(rate)
    near_miss = known.same_voice(replaced) & known.same_phrase(replaced)
    return {
        "asked_percent": 100 * rate,
        "turned_away_percent": share(~opened[own & same]),
        "strangers_percent": share(opened[~own & same]),
        "strangers": int((~own & same).sum()),
        "one_word_replaced_percent": share((near.scores >= threshold(rate))[near_miss]),
    }


def _pairs(known: Known, tested: Sequence[Saying], judged: Judged) -> dict[str, Any]:
    """Which pairs of people are taken for each other, at `balanced`."""
    opened = judged.scores >= threshold(PRESETS["balanced"])
    counted = known.same_phrase(tested) & ~known.same_voice(tested)
    attempts: dict[tuple[str, str], list[int]] = {}
    for row, column in np.argwhere(counted):
        pair = tuple(sorted((known.owners[row].speaker, tested[column].speaker)))
        tally = attempts.setdefault((pair[0], pair[1]), [0, 0])
        tally[0] += 1
        tally[1] += int(opened[row, column])
    worst = sorted(attempts.items(), key=lambda one: -one[1][1])
    total = sum(accepted for _, (_, accepted) in worst)
    most: list[tuple[tuple[str, str], list[int]]] = []
    while sum(accepted for _, (_, accepted) in most) < MOST_OF_IT * total:
        most.append(worst[len(most)])
    rest = worst[len(most) :]
    tried = sum(tally[0] for _, tally in rest)
    return {
        "pairs": len(worst),
        "pairs_with_an_accept": sum(tally[1] > 0 for _, tally in worst),
        "pairs_that_make_80_percent": {
            " and ".join(pair): f"{accepted} of {count}" for pair, (count, accepted) in most
        },
        "strangers_percent_without_them": round(
            100 * sum(tally[1] for _, tally in rest) / max(1, tried), 3
        ),
    }

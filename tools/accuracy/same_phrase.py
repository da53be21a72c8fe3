"""Voice and phrase together, calm and excited, in noise and in rooms.

Three calm repetitions are enrolled in quiet. TC is the right voice with the right phrase, TW its
wrong phrase, IC a stranger with the right phrase, IW a stranger with the wrong one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.evaluation.corpus import CorpusFile, Spoken, grouped
from edge.evaluation.trials import profile_of
from edge.types import Profile
from tools.accuracy.figures import PRESETS, Row, share, threshold
from tools.accuracy.hearing import Hearing, Judged, Sound
from tools.accuracy.surroundings import QUIET, VOICES
from tools.conditions import MICROPHONES, ROOMS
from tools.trials import enrollments

CALM = ("neutral", "calm")
ENROLLED = 3
ENROLLMENTS = 5
"""Enrollments tried for each speaker and phrase."""
KINDS = ("TC", "TW", "IC", "IW")
TARGET, WRONG_PHRASE, STRANGER = 0, 1, 2
"""Indices into `KINDS`."""
CONDITIONS = (
    QUIET,
    *("noise 20 dB", "noise 10 dB", "noise 5 dB"),
    *VOICES,
    *(room.name for room in ROOMS),
    *(f"{room.name}, noise 20 dB" for room in ROOMS),
    *MICROPHONES,
)
CALM_ONLY = ("porch", "porch, noise 20 dB", *MICROPHONES)
"""Conditions that are easy, and measured on calm repetitions only."""


@dataclass(frozen=True, eq=False)
class Enrollment:
    """A profile and its recordings."""

    profile: Profile
    members: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Recordings and the enrollments made from them.

    Attributes:
        items: all recordings.
        calm: which of them are neutral or calm; all if the file names have no style.
        enrollments: profiles of three calm recordings each.
    """

    items: Sequence[CorpusFile]
    calm: NDArray[np.bool_]
    enrollments: Sequence[Enrollment]

    def kinds(self, tested: Sequence[int]) -> NDArray[np.intp]:
        """The kind of trial of each profile and recording: an index into `KINDS`.

        It is -1 for enrolled recordings; the shape is (profiles, recordings).
        """
        owner = np.asarray([one.profile.name for one in self.enrollments])[:, None]
        phrase = np.asarray([one.profile.phrase for one in self.enrollments])[:, None]
        speaker = np.asarray([self.items[i].speaker for i in tested])[None]
        said = np.asarray([self.items[i].phrase for i in tested])[None]
        kind = 2 * (owner != speaker) + (phrase != said)
        enrolled = np.asarray([np.isin(tested, one.members) for one in self.enrollments])
        return np.where(enrolled, -1, kind).astype(np.intp)


def corpus(hearing: Hearing, items: Sequence[CorpusFile], most: int = ENROLLMENTS) -> Corpus:
    """Enroll everyone, `most` times with other recordings."""
    styled = any(item.style in CALM for item in items)
    calm = np.asarray([not styled or item.style in CALM for item in items])
    which = np.flatnonzero(calm).tolist()
    heard = hearing.hear([Sound((items[i].path,), to_enroll=True) for i in which], "enrolling")
    spoken = [
        Spoken(items[i], one.analysis, None)
        for i, one in zip(which, heard)
        if one.analysis is not None and one.refusal is None
    ]
    number = {item.path: index for index, item in enumerate(items)}
    found = []
    for own in grouped(spoken, lambda item: (item.speaker, item.phrase)).values():
        if len(own) > ENROLLED:
            for chosen in enrollments(len(own), ENROLLED, most):
                members = [own[i] for i in chosen]
                profile = profile_of(hearing.engine, members)
                found.append(Enrollment(profile, tuple(number[one.item.path] for one in members)))
    return Corpus(items, calm, found)


def measure(hearing: Hearing, items: Sequence[CorpusFile], quick: bool = False) -> dict[str, Any]:
    """Calm and excited repetitions under each condition, of which `quick` takes a fifth."""
    known = corpus(hearing, items, most=1 if quick else ENROLLMENTS)
    results: dict[str, Any] = {"calm": {}, "excited": {}}
    for mood, keep in (("calm", known.calm), ("excited", ~known.calm)):
        every = np.flatnonzero(keep).tolist()
        for number, condition in enumerate(CONDITIONS):
            if condition in VOICES and not hearing.surroundings.talkers:
                continue
            if mood == "excited" and condition in CALM_ONLY:
                continue
            tested = every[number % 5 :: 5] if quick and condition != QUIET else every
            if tested:
                results[mood][condition] = _under(hearing, known, tested, condition, mood)
    return {mood: rows for mood, rows in results.items() if rows}


def _under(
    hearing: Hearing, known: Corpus, tested: Sequence[int], condition: str, mood: str
) -> dict[str, Any]:
    kind = known.kinds(tested)
    sounds = [Sound((known.items[i].path,), condition, turn) for turn, i in enumerate(tested)]
    profiles = [one.profile for one in known.enrollments]
    # A stranger with the wrong phrase only counts in quiet, for the detection cost.
    asked = kind >= 0 if condition == QUIET else (kind >= 0) & (kind <= STRANGER)
    judged = hearing.judge(profiles, sounds, asked, f"{mood}, {condition}")
    row: dict[str, Any] = {
        "recordings": len(tested),
        "too_poor_percent": share(judged.refused),
        "presets": {name: _rates(judged, kind, rate) for name, rate in PRESETS.items()},
    }
    if condition == QUIET:
        scores = judged.scores
        row["errors"] = Row.of(scores[kind == TARGET], scores[kind > TARGET]).as_dict()
    else:
        turns = range(len(tested))
        kinds = [hearing.surroundings.kind(turn) for turn in turns]
        if condition.startswith("noise"):
            row["turned_away_by_noise_percent"] = _by_noise(judged, kind, kinds)
    return row


def by_mood(
    hearing: Hearing, known: Corpus, condition: str, among: NDArray[np.bool_] | None = None
) -> dict[str, float | None]:
    """Rates at `balanced`, of calm and of excited repetitions, `among` some of all recordings."""
    rows: dict[str, float | None] = {}
    for mood, keep in (("calm", known.calm), ("excited", ~known.calm)):
        tested = np.flatnonzero(keep if among is None else keep & among).tolist()
        if not tested:
            continue
        kind = known.kinds(tested)
        sounds = [Sound((known.items[i].path,), condition, i) for i in tested]
        asked = (kind == TARGET) | (kind == STRANGER)
        profiles = [one.profile for one in known.enrollments]
        judged = hearing.judge(profiles, sounds, asked, f"{mood}, {condition}")
        opened = judged.scores >= threshold(PRESETS["balanced"])
        rows[f"{mood}: turned away, %"] = share(~opened[kind == TARGET])
        rows[f"{mood}: strangers, %"] = share(opened[kind == STRANGER])
    return rows


def _rates(judged: Judged, kind: NDArray[np.intp], rate: float) -> dict[str, Any]:
    opened = judged.scores >= threshold(rate)
    return {
        "turned_away_percent": share(~opened[kind == TARGET]),
        "TW_percent": share(opened[kind == WRONG_PHRASE]),
        "IC_percent": share(opened[kind == STRANGER]),
        "IC_trials": int((kind == STRANGER).sum()),
    }


def _by_noise(
    judged: Judged, kind: NDArray[np.intp], noises: Iterable[str]
) -> dict[str, float | None]:
    closed = judged.scores < threshold(PRESETS["balanced"])
    heard = np.asarray(list(noises))
    return {
        noise: share(closed[:, heard == noise][(kind == TARGET)[:, heard == noise]])
        for noise in sorted(set(heard.tolist()))
    }

"""Trials: every test recording scored against every profile.

Folders of passphrases give four kinds, as the field names them: TC (target, correct phrase), TW
(target, wrong phrase), IC (impostor, correct phrase) and IW (impostor, wrong phrase). Folders of
free text give targets and impostors.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.config.settings import FALSE_ACCEPT_PRESETS
from edge.errors import InputError
from edge.evaluation.corpus import CorpusFile, Spoken, Track, grouped, unwatched
from edge.recognition import Analysis, Engine
from edge.types import Profile, ProfileKind

Scores = NDArray[np.float64]

PRESETS = tuple(FALSE_ACCEPT_PRESETS.items())
"""(name, false-accept rate) of each preset, from the most forgiving to the strictest."""
TARGET = "TC"
WRONG_PHRASE = "TW"
STRANGER = "IC"
STRANGER_WRONG_PHRASE = "IW"
VOICE_TARGET = "target"
VOICE_STRANGER = "impostor"
TARGET_KINDS = (TARGET, VOICE_TARGET)
NONTARGET_KINDS = (STRANGER, VOICE_STRANGER, WRONG_PHRASE, STRANGER_WRONG_PHRASE)
"""The kinds of trial that must be rejected, the most dangerous first."""


def voice_scores(
    engine: Engine, profiles: Sequence[Profile], analyses: Sequence[Analysis]
) -> Scores:
    """Voice scores, shape (profiles, tests), shifted to one number of enrolled utterances."""
    ratio = np.asarray(engine.scorer.voice_scores(profiles, analyses).ratio, dtype=np.float64)
    shift = [engine.scorer.voice.shift(len(profile.enrolled)) for profile in profiles]
    shifted: Scores = ratio - np.asarray(shift)[:, np.newaxis]
    return shifted


def phrase_scores(
    engine: Engine,
    profiles: Sequence[Profile],
    analyses: Sequence[Analysis],
    track: Track = unwatched,
) -> Scores:
    """Scores of what is said against each profile's phrase, shape (profiles, tests)."""
    columns = [
        [match.score for match in engine.match_phrases(profiles, analysis)]
        for analysis in track(analyses, "comparing phrases")
    ]
    return np.asarray(columns, dtype=np.float64).T


def joint_scores(
    engine: Engine,
    profiles: Sequence[Profile],
    analyses: Sequence[Analysis],
    voices: Scores,
    phrases: Scores,
) -> Scores:
    """Joint scores, at most 0 where a part is by another voice; every shape (profiles, tests)."""
    joint: Scores = np.asarray(engine.scorer.joints(voices, phrases), dtype=np.float64)
    for row, column in np.argwhere(joint > 0.0).tolist():
        if not engine.is_one_voice(profiles[row], analyses[column]):
            joint[row, column] = 0.0
    return joint


def thresholds(engine: Engine, kind: ProfileKind) -> Mapping[str, float]:
    """The lowest score that each preset accepts, by its name: joint or voice scores."""
    if kind is ProfileKind.PHRASE:
        return {name: -float(np.log(rate)) for name, rate in PRESETS}
    return {name: engine.scorer.voice_threshold(rate=rate) for name, rate in PRESETS}


@dataclass(frozen=True, eq=False)
class Trials:
    """Scored trials, log-likelihood ratios; every array has shape (n,).

    `owner` (of the profile) and `speaker` are indices into `people`, `recording` is the test's.
    """

    scores: NDArray[np.float64]
    kind: NDArray[np.str_]
    owner: NDArray[np.intp]
    speaker: NDArray[np.intp]
    recording: NDArray[np.intp]
    people: tuple[str, ...]

    @property
    def target(self) -> NDArray[np.bool_]:
        """Which trials should be accepted."""
        return np.isin(self.kind, TARGET_KINDS)

    @property
    def nontarget_kinds(self) -> tuple[str, ...]:
        """The kinds that should be rejected and occur."""
        return tuple(kind for kind in NONTARGET_KINDS if (self.kind == kind).any())

    def of(self, keep: NDArray[np.bool_]) -> Trials:
        """The trials in a mask."""
        return replace(
            self,
            scores=self.scores[keep],
            kind=self.kind[keep],
            owner=self.owner[keep],
            speaker=self.speaker[keep],
            recording=self.recording[keep],
        )

    def against(self, *kinds: str) -> Trials:
        """The targets, and the non-targets of these kinds."""
        return self.of(self.target | np.isin(self.kind, kinds))


@dataclass(frozen=True, eq=False)
class Split:
    """The recordings of each profile, and those that are tested."""

    enrolled: tuple[tuple[Spoken, ...], ...]
    tested: tuple[Spoken, ...]


def split(spoken: Sequence[Spoken], enroll: int) -> Split:
    """Enroll the first recordings of each person (and phrase), test the rest.

    People with no more than that are tested as strangers. Raises `InputError` for too few.
    """
    enrolled, tested = [], []
    for own in grouped(spoken, _group).values():
        if len(own) > enroll:
            enrolled.append(tuple(own[:enroll]))
            tested += own[enroll:]
        else:
            tested += own
    people = {one.item.speaker for one in spoken}
    if not enrolled or len(people) < 2:
        by_phrase = any(one.item.phrase for one in spoken)
        what = "a phrase" if by_phrase else "one of them"
        raise InputError(
            f"too little to evaluate: {len(spoken)} usable recordings of {len(people)} people; it"
            f" takes two people and more than {enroll} recordings of {what} ({enroll} are enrolled,"
            " the rest tested), better ten people with ten each"
        )
    return Split(tuple(enrolled), tuple(tested))


def _group(item: CorpusFile) -> tuple[str, ...]:
    return (item.speaker, phrase_name(item))


def phrase_name(item: CorpusFile) -> str:
    """The phrase's folder; `Front door` and `front door` are the same phrase."""
    return " ".join(unicodedata.normalize("NFC", item.phrase).casefold().split())


def profile_of(engine: Engine, spoken: Sequence[Spoken]) -> Profile:
    """The profile that enrolling these recordings would give."""
    item = spoken[0].item
    kind = ProfileKind.PHRASE if item.phrase else ProfileKind.VOICE
    samples = tuple(one.analysis.to_sample(0.0) for one in spoken)
    return replace(
        Profile.begin(item.speaker, kind, required=0, phrase=item.phrase),
        samples=samples,
        speaker_model=engine.models.speaker.sha256,
        phrase_model=engine.models.phrase.sha256 if item.phrase else "",
    )


def score(engine: Engine, parts: Split, track: Track = unwatched) -> Trials:
    """Score every test recording against every profile."""
    profiles = [profile_of(engine, own) for own in parts.enrolled]
    analyses = [one.analysis for one in parts.tested]
    scores = voice_scores(engine, profiles, analyses)
    by_phrase = bool(parts.tested[0].item.phrase)
    if by_phrase:
        phrases = phrase_scores(engine, profiles, analyses, track)
        scores = joint_scores(engine, profiles, analyses, scores, phrases)
    people = sorted({one.item.speaker for one in parts.tested})
    number = {name: n for n, name in enumerate(people)}
    owner = np.asarray([number[own[0].item.speaker] for own in parts.enrolled])[:, np.newaxis]
    speaker = np.asarray([number[one.item.speaker] for one in parts.tested])[np.newaxis]
    enrolled_phrase = np.asarray([phrase_name(own[0].item) for own in parts.enrolled])
    said = np.asarray([phrase_name(one.item) for one in parts.tested])
    same_voice = owner == speaker
    same_phrase = enrolled_phrase[:, np.newaxis] == said[np.newaxis]
    if by_phrase:
        own_kind = np.where(same_phrase, TARGET, WRONG_PHRASE)
        other_kind = np.where(same_phrase, STRANGER, STRANGER_WRONG_PHRASE)
        kind = np.where(same_voice, own_kind, other_kind)
    else:
        kind = np.where(same_voice, VOICE_TARGET, VOICE_STRANGER)
    recording = np.arange(len(parts.tested))[np.newaxis]
    owner, speaker, recording = (
        np.broadcast_to(one, scores.shape).ravel() for one in (owner, speaker, recording)
    )
    return Trials(scores.ravel(), kind.ravel(), owner, speaker, recording, tuple(people))

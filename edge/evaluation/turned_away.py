"""Who was turned away in which recording, and why, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.audio.quality import explain
from edge.config import RecognitionConfig
from edge.evaluation import trials
from edge.evaluation.corpus import CorpusFile, Spoken, unwatched
from edge.evaluation.trials import Split, Trials, profile_of
from edge.recognition import Engine
from edge.types import ProfileKind, Quality, ReasonCode

NOISY_DB = 15.0
"""Signal-to-noise ratio below which noise is named."""
ECHOING_S = 0.6
"""Reverberation time from which echo is named."""
FAINT_DB = 6.0
"""Level above the faintest that is judged, below which it is named."""
SHORT_S = 1.0
"""Speech below which its shortness is named."""
CLIPPED = 0.002
"""Share of clipped samples from which overdriving is named."""
VOICE, PHRASE, BOTH = "voice", "phrase", "voice_and_phrase"
UNHEARD = "no_speech"


@dataclass(frozen=True)
class TurnedAway:
    """A recording that would not open the door, or could not even be judged.

    Attributes:
        person: the folder that it is in.
        recording: its path within that folder.
        reason: `voice`, `phrase` or `voice_and_phrase` did not match, `no_speech`, or why it could
            not be judged (`too_noisy`, `too_quiet`, `too_short`, `too_long`, `clipped`).
        why: the same in words, with what made it hard.
    """

    person: str
    recording: str
    reason: str
    why: str


def turned_away(engine: Engine, parts: Split, scored: Trials, threshold: float) -> list[TurnedAway]:
    """The tested recordings of residents that score below a threshold, in order of their paths."""
    found = []
    # A row for each profile, a column for each recording.
    for index in np.flatnonzero(scored.target & (scored.scores < threshold)).tolist():
        profile, test = divmod(index, len(parts.tested))
        spoken = parts.tested[test]
        reason = _part_that_failed(engine, parts.enrolled[profile], spoken, threshold)
        why = f"the {reason.replace('_', ' ')} did not match"
        hard = circumstances(spoken.analysis.quality, engine.config.recognition)
        if hard:
            why += f" ({', '.join(hard)})"
        found.append(_at(spoken.item, reason, why))
    return sorted(found, key=lambda one: (one.person, one.recording))


def not_judged(
    spoken: Sequence[Spoken], unheard: Sequence[CorpusFile], config: RecognitionConfig
) -> list[TurnedAway]:
    """The recordings that the product refuses to judge, and those without speech."""
    found = [
        _at(one.item, one.refusal.value, _refusal(one.refusal, one.analysis.quality, config))
        for one in spoken
        if one.refusal is not None
    ]
    found += [_at(item, UNHEARD, "no speech was found") for item in unheard]
    return sorted(found, key=lambda one: (one.person, one.recording))


def circumstances(quality: Quality, config: RecognitionConfig) -> list[str]:
    """What made a recording hard to recognize, in words."""
    return [words(quality) for hard, words in _CIRCUMSTANCES if hard(quality, config)]


_CIRCUMSTANCES: Sequence[
    tuple[Callable[[Quality, RecognitionConfig], bool], Callable[[Quality], str]]
] = (
    (
        lambda quality, _: quality.snr_db < NOISY_DB,
        lambda quality: f"noise: speech stands only {quality.snr_db:.0f} dB above it",
    ),
    (
        lambda quality, _: quality.reverberation_s >= ECHOING_S,
        lambda quality: f"echo of {quality.reverberation_s:.1f} s",
    ),
    (
        lambda quality, config: quality.level_dbfs < config.min_level_dbfs + FAINT_DB,
        lambda quality: f"level: faint, {quality.level_dbfs:.0f} dB",
    ),
    (
        lambda quality, _: quality.clipped_fraction >= CLIPPED,
        lambda quality: f"level: overdriven, {quality.clipped_fraction:.1%} at full scale",
    ),
    (
        lambda quality, _: quality.net_speech_s < SHORT_S,
        lambda quality: f"short: {quality.net_speech_s:.1f} s of speech",
    ),
)
"""Whether something made it hard, and how to say so."""


def _part_that_failed(
    engine: Engine, enrolled: Sequence[Spoken], spoken: Spoken, threshold: float
) -> str:
    profile, analysis = profile_of(engine, enrolled), spoken.analysis
    if profile.kind is not ProfileKind.PHRASE:
        return VOICE
    perfect = np.full((1, 1), np.inf)
    voice = trials.voice_scores(engine, [profile], [analysis])
    phrase = trials.phrase_scores(engine, [profile], [analysis], unwatched)
    alone = trials.joint_scores(engine, [profile], [analysis], voice, perfect)
    wrong_voice = float(alone[0, 0]) < threshold
    wrong_phrase = float(engine.scorer.joints(perfect, phrase)[0, 0]) < threshold
    if wrong_voice and wrong_phrase:
        return BOTH
    return VOICE if wrong_voice else PHRASE


def _refusal(reason: ReasonCode, quality: Quality, config: RecognitionConfig) -> str:
    # What to do about it is for whoever speaks, not for who reads of it later.
    return explain(reason, quality, config).partition(": ")[0]


def _at(item: CorpusFile, reason: str, why: str) -> TurnedAway:
    place = Path(item.phrase) / item.path.name
    return TurnedAway(item.speaker, str(place), reason, why)


def by_person(found: Sequence[TurnedAway]) -> Mapping[str, list[TurnedAway]]:
    """The recordings of each person, in order."""
    people: dict[str, list[TurnedAway]] = {}
    for one in found:
        people.setdefault(one.person, []).append(one)
    return people

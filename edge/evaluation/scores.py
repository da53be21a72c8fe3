"""The scores of trials and the thresholds of the presets: all that evaluation asks of the engine.

A voice's score is a log-likelihood ratio (natural logarithm). That of voice and phrase together is
what a decision stands on, on the same scale: how rare it is that a wrong one comes that far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.config.settings import FALSE_ACCEPT_PRESETS
from edge.evaluation.corpus import Track, unwatched
from edge.recognition import Analysis, Engine
from edge.types import Profile, ProfileKind

Scores = NDArray[np.float64]

PRESETS = tuple(FALSE_ACCEPT_PRESETS.items())
"""(name, false-accept rate) of each preset, from the most forgiving to the strictest."""


def voice_scores(
    engine: Engine, profiles: Sequence[Profile], analyses: Sequence[Analysis]
) -> Scores:
    """How near each voice is to each profile's, shape (profiles, tests).

    As of signatures of the usual number of utterances, so that one threshold suits all.
    """
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
    """How near what is said is to each profile's phrase, shape (profiles, tests)."""
    columns = [
        [match.score for match in engine.match_phrases(profiles, analysis)]
        for analysis in track(analyses, "comparing phrases")
    ]
    return np.asarray(columns, dtype=np.float64).T


def joint_scores(engine: Engine, voice: Scores, phrase: Scores) -> Scores:
    """One score from both parts, of the shape of each."""
    return np.asarray(engine.scorer.joints(voice, phrase), dtype=np.float64)


def thresholds(engine: Engine, kind: ProfileKind) -> Mapping[str, float]:
    """The score from which each preset accepts, by its name: `joint_scores` or `voice_scores`."""
    if kind is ProfileKind.PHRASE:
        return {name: -float(np.log(rate)) for name, rate in PRESETS}
    return {name: engine.scorer.voice_threshold(rate=rate) for name, rate in PRESETS}

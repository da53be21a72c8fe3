"""The scores of trials and the thresholds of the presets: all that evaluation asks of the engine.

Everywhere else a score is a log-likelihood ratio (natural logarithm): higher is nearer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edge.config.settings import FALSE_ACCEPT_PRESETS
from edge.evaluation.corpus import Track, unwatched
from edge.recognition import Analysis, Engine
from edge.recognition.voice import signature_of
from edge.types import Profile, ProfileKind

Scores = NDArray[np.float64]

PRESETS = tuple(FALSE_ACCEPT_PRESETS.items())
"""(name, false-accept rate) of each preset, from the most forgiving to the strictest."""

_STEP = 0.05
"""How far the presets' thresholds lie apart while a card knows only that of one rate."""


def voice_scores(
    engine: Engine, profiles: Sequence[Profile], analyses: Sequence[Analysis]
) -> Scores:
    """How near each voice is to each profile's, shape (profiles, tests)."""
    del engine
    signatures = np.stack([signature_of(profile.samples) for profile in profiles])
    tests = np.stack([analysis.speaker_embedding for analysis in analyses])
    return np.asarray(np.clip(signatures @ tests.T, -1.0, 1.0), dtype=np.float64)


def phrase_scores(
    engine: Engine,
    profiles: Sequence[Profile],
    analyses: Sequence[Analysis],
    track: Track = unwatched,
) -> Scores:
    """How near what is said is to each profile's phrase, shape (profiles, tests)."""
    columns = [
        [-match.distance for match in engine.match_phrases(profiles, analysis)]
        for analysis in track(analyses, "comparing phrases")
    ]
    return np.asarray(columns, dtype=np.float64).T


def joint_scores(engine: Engine, voice: Scores, phrase: Scores) -> Scores:
    """One score from both parts, of the shape of each."""
    joint: Scores = np.minimum(voice - engine.thresholds.voice, phrase + engine.thresholds.phrase)
    return joint


def thresholds(engine: Engine, kind: ProfileKind) -> Mapping[str, float]:
    """The score from which each preset accepts, by its name: `joint_scores` or `voice_scores`."""
    middle = 0.0 if kind is ProfileKind.PHRASE else engine.thresholds.voice
    return {name: middle + _STEP * (n - 1) for n, (name, _) in enumerate(PRESETS)}

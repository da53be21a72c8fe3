"""Made-up people whose trials are made of random numbers, for the tests of evaluation."""

from __future__ import annotations

import numpy as np

from edge.config.settings import SecurityConfig
from edge.evaluation.evaluate import kind_figures, preset_figures
from edge.evaluation.results import Evaluation, suggest
from edge.evaluation.trials import Trials
from edge.evaluation.turned_away import TurnedAway

THRESHOLDS = {"relaxed": -1.0, "balanced": 0.0, "strict": 1.0}


def voices(
    people: int = 8,
    tests: int = 5,
    *,
    target: float = 5.0,
    stranger: float = -5.0,
    person_spread: float = 0.5,
    seed: int = 0,
) -> Trials:
    """Trials of voices only: each person's targets lie higher or lower together."""
    rng = np.random.default_rng(seed)
    owner, recording = np.meshgrid(np.arange(people), np.arange(people * tests), indexing="ij")
    speaker = recording // tests
    own = owner == speaker
    means = rng.normal(target, person_spread, people)
    strangers = rng.normal(stranger, 1.0, owner.shape)
    scores = np.where(own, means[owner] + rng.normal(0.0, 1.0, owner.shape), strangers)
    kind = np.where(own, "target", "impostor")
    names = tuple(f"p{n}" for n in range(people))
    return Trials(
        scores.ravel(), kind.ravel(), owner.ravel(), speaker.ravel(), recording.ravel(), names
    )


def evaluation_of(trials: Trials | None = None, folder: str = "home") -> Evaluation:
    """What those trials show."""
    trials = trials or voices()
    presets = preset_figures(trials, THRESHOLDS)
    return Evaluation(
        folder=folder,
        created_at="2026-05-01T10:00:00.000Z",
        software="0.1.0",
        speaker_model="1" * 64,
        phrase_model="2" * 64,
        by_phrase=False,
        enroll=3,
        people=len(trials.people),
        profiles=len(trials.people),
        recordings=64,
        tested=40,
        refused={"too_noisy": 2},
        kinds=kind_figures(trials),
        presets=presets,
        suggestion=suggest(presets, len(trials.people), SecurityConfig()),
        turned_away=(TurnedAway("<ada>", "2.wav", "voice", "the voice did not match"),),
        not_judged=(TurnedAway("guest", "1.wav", "too_noisy", "too noisy (3 dB)"),),
    )

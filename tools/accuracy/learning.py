"""What learning from clear accepts brings the enrolled people, and strangers.

Everybody says half of their other repetitions, calm and excited, in quiet; what the product learns
from is learned. The other half is judged by the profile before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge.evaluation.corpus import CorpusFile
from edge.recognition import Analysis, Engine
from edge.recognition.adaptation import Matches, reason_not_to_adapt
from edge.recognition.scoring import confidence_of
from edge.types import EnrollmentSample, Profile
from tools.accuracy import same_phrase
from tools.accuracy.hearing import Hearing, Sound
from tools.accuracy.same_phrase import TARGET, by_mood
from tools.accuracy.surroundings import QUIET

CONDITIONS = (QUIET, "noise 10 dB", "hallway")


def learn(engine: Engine, profile: Profile, said: Sequence[Analysis]) -> Profile:
    """The profile after utterances far enough apart, one after the other."""
    settings = engine.config.enrollment
    enrolled = profile
    for number, heard in enumerate(said, start=1):
        now = number * settings.adapt_interval_s
        # The first look: nothing is learned from what is only known without its echo.
        analysis = replace(heard, without_echo=None, stretches_without_echo=())
        matches, to_enrolled = (
            Matches(
                engine.match_speakers([one], analysis)[0], engine.match_phrases([one], analysis)[0]
            )
            for one in (profile, enrolled)
        )
        refusal = reason_not_to_adapt(
            profile,
            analysis,
            confidence=confidence_of([matches.voice.margin, matches.phrase.margin]),
            matches=matches,
            to_enrolled=to_enrolled,
            truncated=False,
            now=now,
            interval_s=settings.adapt_interval_s,
        )
        if refusal is None:
            sample = EnrollmentSample(
                analysis.speaker_embedding,
                analysis.phrase_embedding,
                analysis.quality.net_speech_s,
                analysis.quality.snr_db,
                now,
                adapted=True,
            )
            learned = (*profile.adapted, sample)[-settings.adapt_samples :]
            profile = replace(profile, samples=(*profile.enrolled, *learned))
    return profile


def measure(hearing: Hearing, items: Sequence[CorpusFile], quick: bool = False) -> dict[str, Any]:
    """Rates at `balanced` by condition and mood, before and after."""
    known = same_phrase.corpus(hearing, items, most=1 if quick else same_phrase.ENROLLMENTS)
    every = range(len(items))
    kind = known.kinds(every)
    heard = hearing.hear([Sound((item.path,)) for item in items], "listening")
    half = np.random.default_rng(0).permutation(len(items)) % 2 == 0
    before = [one.profile for one in known.enrollments]
    after = []
    for profile, row in zip(before, kind):
        said = [heard[i].analysis for i in np.flatnonzero((row == TARGET) & half)]
        after.append(learn(hearing.engine, profile, [one for one in said if one is not None]))
    counts = [len(profile.adapted) for profile in after]
    results: dict[str, Any] = {"learned, mean": round(float(np.mean(counts)), 2)}
    for name, profiles in (("before", before), ("after", after)):
        for condition in CONDITIONS:
            of_these = [replace(one, profile=own) for one, own in zip(known.enrollments, profiles)]
            results[f"{condition}, {name}"] = by_mood(
                hearing, replace(known, enrollments=of_these), condition, ~half
            )
    return results

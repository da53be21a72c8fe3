"""What an excited repetition brings at enrollment, and whose repetitions pass there.

Two calm repetitions are enrolled. The third is another calm one, or an excited one that passes for
the next; then everybody is judged by either profile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge.errors import EnrollmentRejected
from edge.evaluation.corpus import CorpusFile
from edge.recognition import Analysis, Engine
from edge.types import Profile
from tools.accuracy import same_phrase
from tools.accuracy.figures import share
from tools.accuracy.hearing import Hearing, Sound
from tools.accuracy.same_phrase import STRANGER, TARGET, Enrollment, by_mood
from tools.accuracy.surroundings import QUIET

CONDITIONS = (QUIET, "noise 10 dB", "hallway", "stairwell")


def fits(engine: Engine, profile: Profile, repetition: Analysis) -> bool:
    """Whether a repetition would be enrolled as the next one."""
    try:
        engine.require_fit(profile, repetition)
    except EnrollmentRejected:
        return False
    return True


def measure(hearing: Hearing, items: Sequence[CorpusFile], quick: bool = False) -> dict[str, Any]:
    """Who passes at enrollment, and rates at `balanced` by condition, mood and what is enrolled."""
    known = same_phrase.corpus(hearing, items, most=1 if quick else same_phrase.ENROLLMENTS)
    sounds = [Sound((item.path,), to_enroll=True) for item in items]
    heard = [one.analysis for one in hearing.hear(sounds, "enrolling")]
    passed: dict[str, list[bool]] = {}
    excited = []
    for number, (one, row) in enumerate(zip(known.enrollments, known.kinds(range(len(items))))):
        begun = replace(one.profile, samples=one.profile.samples[:-1])
        found = []
        for place, analysis in enumerate(heard):
            kind = int(row[place])
            if analysis is not None and kind in (TARGET, STRANGER):
                who = (
                    "strangers" if kind == STRANGER else "calm" if known.calm[place] else "excited"
                )
                fit = fits(hearing.engine, begun, analysis)
                passed.setdefault(who, []).append(fit)
                if fit and who == "excited":
                    found.append((place, analysis))
        if found:
            place, analysis = found[number % len(found)]
            samples = (*begun.samples, analysis.to_sample(0.0))
            profile = replace(begun, samples=samples)
            excited.append((one, Enrollment(profile, (*one.members, place))))
    results: dict[str, Any] = {
        "enrolled as the third": {
            f"{who}, %": share(np.asarray(fit)) for who, fit in passed.items()
        },
        "enrollments": len(known.enrollments),
        "with an excited one": len(excited),
    }
    # What is enrolled in either is tested in neither.
    calm = [replace(before, members=after.members) for before, after in excited]
    for name, some in (("three calm", calm), ("one excited", [after for _, after in excited])):
        for condition in CONDITIONS:
            rows = by_mood(hearing, replace(known, enrollments=some), condition)
            results[f"{condition}, {name}"] = rows
    return results

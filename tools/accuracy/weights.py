"""How much of the cohort similarity to subtract, on the cohort's corpus and on another one.

On the corpus of cohort and calibration, each half of the speakers is scored by the other's
calibration. On the other corpus, all speakers of the first are used; there the stranger says the
same phrase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge.evaluation.corpus import CorpusFile
from tools.accuracy import same_phrase
from tools.accuracy.figures import PRESETS, Row
from tools.accuracy.hearing import Hearing, Sound
from tools.accuracy.sentences import TOO_FEW, divided, halves, voices_of
from tools.calibration.voice import NEAREST, fit_voice
from tools.calibration.voices import Voices

WEIGHTS = (0.0, 0.1, 0.15, 0.25, 0.5, 1.0)


def measure(
    hearing: Hearing, read: Sequence[CorpusFile], items: Sequence[CorpusFile]
) -> dict[str, Any]:
    """Error rates of the voice alone for each weight.

    Args:
        hearing: the recognizer.
        read: read sentences, the corpus of cohort and calibration.
        items: `SPEAKER/PHRASE/*` recordings, the other corpus.
    """
    voices = voices_of(hearing, read)
    if voices is None:
        return TOO_FEW
    known = same_phrase.corpus(hearing, items)
    profiles = [one.profile for one in known.enrollments]
    heard = dict(enumerate(hearing.hear([Sound((item.path,)) for item in items], "listening")))
    analyses = {
        number: one.analysis
        for number, one in heard.items()
        if one.analysis is not None and one.refusal is None
    }
    tested = list(analyses)
    kind = known.kinds(tested)
    calm = known.calm[tested]
    results: dict[str, Any] = {"all of it, divided by the deviation": _as_usual(voices)}
    for weight in WEIGHTS:
        found = halves(voices, weight=weight)
        row = Row.of(
            np.concatenate([half.targets(half.ratio) for half in found]),
            np.concatenate([half.nontargets(half.ratio) for half in found]),
        )
        fitted = fit_voice(voices, weight=weight)
        scorer = replace(hearing.engine.scorer, cohort=fitted.cohort, voice=fitted.calibration)
        scores = scorer.voice_scores(profiles, list(analyses.values()))
        opened = scores.ratio >= fitted.calibration.curve.threshold(PRESETS["balanced"])
        results[f"weight {weight:g}"] = {
            "at home: EER %": round(100 * row.eer, 3),
            "at home: FR % at 0.1 % FA": round(100 * row.rejects, 3),
            "elsewhere: FA % asked for": 100 * PRESETS["balanced"],
            "elsewhere: FA %": round(100 * float(opened[kind == same_phrase.STRANGER].mean()), 3),
            "elsewhere: FR %, calm": _rejects(opened[:, calm], kind[:, calm]),
            "elsewhere: FR %, excited": _rejects(opened[:, ~calm], kind[:, ~calm]),
        }
    return results


def _as_usual(voices: Voices) -> dict[str, Any]:
    """Adaptive symmetric normalization in its usual form, without calibration."""
    right, wrong = [], []
    for tested in divided(voices):
        cohort = tested.learned.of(tested.learned.whole).embeddings
        own = tested.owner[:, None] == tested.voices.speaker[None]
        sides = [
            np.sort(side @ cohort.T, axis=1)[:, -NEAREST:]
            for side in (tested.signatures, tested.voices.embeddings)
        ]
        by_signature = (tested.plain - sides[0].mean(axis=1)[:, None]) / sides[0].std(axis=1)[
            :, None
        ]
        by_voice = (tested.plain - sides[1].mean(axis=1)[None]) / sides[1].std(axis=1)[None]
        scores = (by_signature + by_voice) / 2.0
        right.append(scores[own & ~tested.enrolled])
        wrong.append(scores[~own])
    row = Row.of(np.concatenate(right).astype(float), np.concatenate(wrong).astype(float))
    return {
        "at home: EER %": round(100 * row.eer, 3),
        "at home: FR % at 0.1 % FA": round(100 * row.rejects, 3),
    }


def _rejects(opened: Any, kind: Any) -> float:
    right = opened[kind == same_phrase.TARGET]
    return round(100 * float((~right).mean()), 2) if right.size else 0.0

"""How much to take off of what the people of a corpus have in common.

On the corpus of the operating curve, each half of the speakers is scored by the other's
calibration. Elsewhere all of its speakers are used, and the stranger says the same phrase: actors,
and those people of `words` who have no part in what is taken off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge.evaluation.corpus import CorpusFile
from edge.recognition import Analysis
from edge.types import Profile
from tools.accuracy import same_phrase, words
from tools.accuracy.figures import PRESETS, Row, share
from tools.accuracy.hearing import Hearing, Sound
from tools.accuracy.sentences import TOO_FEW, halves, voices_of
from tools.acoustics.words import KEPT_SPEAKERS
from tools.calibration.center import (
    SENTENCES,
    WORDS,
    center_of,
    mean_of_sentences,
    mean_of_words,
)
from tools.calibration.voice import FittedVoice, fit_voice

SHARES = (
    (0.0, 0.0),
    (SENTENCES, 0.0),
    (0.0, 0.5),
    (SENTENCES, 0.5),
    (SENTENCES, WORDS),
    (0.5, 0.5),
    (1.0, 1.0),
)


def measure(
    hearing: Hearing,
    read: Sequence[CorpusFile],
    said: Sequence[CorpusFile],
    single: Sequence[CorpusFile],
) -> dict[str, Any]:
    """Error rates of the voice alone for shares of the two means.

    Args:
        hearing: the recognizer.
        read: read sentences, the corpus of the operating curve.
        said: `SPEAKER/PHRASE/*` recordings.
        single: `SPEAKER/WORD/*` recordings.
    """
    voices = voices_of(hearing, read)
    if voices is None:
        return TOO_FEW
    actors = _actors(hearing, said)
    kept = _kept(hearing, [item for item in single if item.speaker in KEPT_SPEAKERS])
    means = mean_of_sentences(voices), mean_of_words(hearing.engine, single)
    results: dict[str, Any] = {}
    for shares in SHARES:
        center = center_of(*means, shares)
        found = halves(voices, center)
        row = Row.of(
            np.concatenate([half.targets(half.ratio) for half in found]),
            np.concatenate([half.nontargets(half.ratio) for half in found]),
        )
        fitted = fit_voice(voices, center)
        results["{:g} of the sentences, {:g} of the words".format(*shares)] = {
            "sentences: EER %": round(100 * row.eer, 3),
            "sentences: FR % at 0.1 % FA": round(100 * row.rejects, 3),
            **_elsewhere("actors", hearing, fitted, *actors),
            **_elsewhere("words", hearing, fitted, *kept),
        }
    return results


Trials = tuple[list[Profile], list[Analysis], dict[str, Any]]
"""Profiles, utterances, and which trials are of which kind, shape (profiles, utterances)."""


def _actors(hearing: Hearing, items: Sequence[CorpusFile]) -> Trials:
    known = same_phrase.corpus(hearing, items)
    heard = dict(enumerate(hearing.hear([Sound((item.path,)) for item in items], "listening")))
    analyses = {n: one.analysis for n, one in heard.items() if one.analysis is not None}
    kind, calm = known.kinds(list(analyses)), known.calm[list(analyses)][None]
    right = kind == same_phrase.TARGET
    kinds = {
        "strangers": kind == same_phrase.STRANGER,
        "calm": right & calm,
        "excited": right & ~calm,
    }
    return [one.profile for one in known.enrollments], list(analyses.values()), kinds


def _kept(hearing: Hearing, items: Sequence[CorpusFile]) -> Trials:
    known, tested, _ = words.prepare(hearing, items, quick=False)
    heard = hearing.hear([Sound(one.paths) for one in tested], "listening")
    usable = [(said, one.analysis) for said, one in zip(tested, heard) if one.analysis is not None]
    sayings = [said for said, _ in usable]
    same, own = known.same_phrase(sayings), known.same_voice(sayings)
    kinds = {"strangers": same & ~own, "own": same & own}
    return list(known.profiles), [analysis for _, analysis in usable if analysis], kinds


def _elsewhere(
    corpus: str,
    hearing: Hearing,
    fitted: FittedVoice,
    profiles: list[Profile],
    analyses: list[Analysis],
    kinds: dict[str, Any],
) -> dict[str, Any]:
    scorer = replace(
        hearing.engine.scorer,
        center=fitted.center,
        voice=fitted.calibration,
        allowances=fitted.allowances,
    )
    ratio = scorer.voice_scores(profiles, analyses).ratio
    opened = ratio >= fitted.calibration.curve.threshold(PRESETS["balanced"])
    return {
        f"{corpus}: {'FA' if name == 'strangers' else 'FR'} %, {name}": share(
            opened[chosen] if name == "strangers" else ~opened[chosen]
        )
        for name, chosen in kinds.items()
    }

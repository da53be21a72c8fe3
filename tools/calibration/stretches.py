"""What is added where a phrase is compared stretch by stretch, so that strangers come equally near.

Strangers who say the same phrase come less near in the mean of three stretches than in the whole.
Everybody in `words` but `KEPT_SPEAKERS` enrolls phrases of four words and says those of the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.progress import track

from edge.audio.utterance import utterance_of
from edge.evaluation.corpus import CorpusFile
from edge.recognition.engine import Analyzer
from edge.recognition.results import Analysis
from edge.recognition.scoring import (
    signatures_of,
    similarities,
    stretch_signatures_of,
    stretch_similarities,
)
from edge.types import FloatArray, ProfileKind
from tools.accuracy.words import Saying, phrases_of, sayings_of, takes_of
from tools.acoustics.words import KEPT_SPEAKERS, recorded

_ASKED = 0.001
"""The false-accept rate at which they come equally near."""


def find_stretch_allowance(
    analyzer: Analyzer, items: Sequence[CorpusFile], center: FloatArray, allowances: FloatArray
) -> float:
    """The allowance; `center` and `allowances` are those of `scoring.similarities`."""
    takes = takes_of([item for item in items if item.speaker not in KEPT_SPEAKERS])
    enrolled, tested, _ = sayings_of(takes, phrases_of(takes))
    known = [
        (own[0], [one.to_sample(0.0) for one in _heard(analyzer, own, to_enroll=True)])
        for own in track(enrolled, description="phrases", transient=True)
    ]
    whole, mean = [], []
    for saying in track(tested, description="strangers", transient=True):
        others = [
            samples
            for owner, samples in known
            if samples and owner.phrase == saying.phrase and owner.speaker != saying.speaker
        ]
        for analysis in _heard(analyzer, [saying]):
            voice = np.stack(analysis.looks)[None]
            stretches = np.asarray(analysis.stretch_looks)
            for samples in others:
                signatures = stretch_signatures_of(samples)
                if signatures is not None and len(stretches):
                    signature = signatures_of(samples)[None]
                    whole.append(similarities(signature, voice, center, allowances).item())
                    near = stretch_similarities(signatures, stretches, center, allowances)
                    mean.append(float(np.mean(near)))
    together = (np.asarray(whole) + np.asarray(mean)) / 2
    further = np.quantile(whole, 1 - _ASKED) - np.quantile(together, 1 - _ASKED)
    return 2 * float(further)


def _heard(
    analyzer: Analyzer, sayings: Sequence[Saying], *, to_enroll: bool = False
) -> list[Analysis]:
    found = []
    for saying in sayings:
        utterance = utterance_of(recorded(saying.paths))
        if analyzer.refusal(utterance, ProfileKind.PHRASE) is None:
            analysis = analyzer.analyze(utterance, to_enroll=to_enroll)
            if not to_enroll:
                analysis = analyzer.with_stretches(utterance, analysis)
                analysis = analyzer.without_echo(utterance, analysis)
            found.append(analysis)
    return found

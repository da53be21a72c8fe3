"""What voices have in common: the mean voices of two corpora, added up.

The people of `words` were recorded with one microphone in one room, and speak one language. What
they have in common brings strangers nearer, and all of it is taken off. Less is taken off of what
the corpus of the operating curve has in common: its own strangers would come less near for it than
those of any other corpus, and too little would be asked of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.audio.utterance import utterance_of
from edge.evaluation.corpus import CorpusFile
from edge.recognition.embedders import voice_samples
from edge.recognition.engine import Analyzer
from edge.types import FloatArray, ProfileKind
from tools.acoustics.words import KEPT_SPEAKERS, recorded
from tools.calibration.voices import Voices

SENTENCES = 0.7
"""How much of what the corpus of the operating curve has in common is taken off."""
WORDS = 1.0
"""How much of what the people of `words` have in common."""
_IN_A_ROW = 4


def mean_voice(embeddings: FloatArray, speaker: NDArray[np.str_]) -> FloatArray:
    """The mean voice of people, each counting alike, shape (d,); their voices have shape (n, d)."""
    means = [embeddings[speaker == one].mean(axis=0) for one in np.unique(speaker)]
    mean: FloatArray = np.mean(means, axis=0, dtype=np.float32)
    return mean


def center_of(
    sentences: FloatArray, words: FloatArray, shares: tuple[float, float] = (SENTENCES, WORDS)
) -> FloatArray:
    """The center of two mean voices of shape (d,), with the share of each that is taken off."""
    center: FloatArray = np.float32(shares[0]) * sentences + np.float32(shares[1]) * words
    return center


def mean_of_sentences(voices: Voices) -> FloatArray:
    """The mean voice of whole recordings, shape (d,)."""
    whole = voices.of(voices.whole)
    return mean_voice(whole.embeddings, whole.speaker)


def mean_of_words(analyzer: Analyzer, items: Sequence[CorpusFile]) -> FloatArray:
    """The mean voice, shape (d,), of phrases of four words, of everybody but `KEPT_SPEAKERS`."""
    takes: dict[str, dict[str, list[Path]]] = {}
    for item in items:
        if item.speaker not in KEPT_SPEAKERS:
            takes.setdefault(item.speaker, {}).setdefault(item.phrase, []).append(item.path)
    found, speakers = [], []
    for speaker, words in takes.items():
        for row in _rows(list(words.values())):
            utterance = utterance_of(recorded(row))
            if analyzer.refusal(utterance, ProfileKind.VOICE) is None:
                found.append(analyzer.models.speaker.embed(voice_samples(utterance)))
                speakers.append(speaker)
    return mean_voice(np.stack(found), np.asarray(speakers))


def _rows(words: Sequence[Sequence[Path]]) -> Iterator[Sequence[Path]]:
    """Four words in a row, each take once."""
    for take in zip(*words):
        for first in range(0, len(take) - _IN_A_ROW + 1, _IN_A_ROW):
            yield take[first : first + _IN_A_ROW]

"""Voices for calibration: recordings whole, cut short, in noise and in rooms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from edge.audio.files import read_audio
from edge.audio.utterance import utterance_of
from edge.evaluation.corpus import CorpusFile
from edge.recognition.embedders import voice_samples
from edge.recognition.engine import Analyzer
from edge.types import (
    SAMPLE_RATE,
    VOICE_VARIANTS,
    FloatArray,
    ProfileKind,
    Quality,
    Utterance,
)
from tools.conditions import Condition

CUTS_S = (1.2, 1.8)
"""Lengths to which speech is cut: a passphrase is shorter than most sentences."""


@dataclass(frozen=True, eq=False)
class Voices:
    """Embedded recordings.

    Attributes:
        embeddings: unit length, shape (n, d).
        without_echo: the same after the echo was taken off, shape (n, d).
        enrolled: what it is compared by at enrollment, shape (n, d); the same unless it is whole.
        variants: what later voices are compared with, shape (n, 3, d); as said unless it is whole.
        speaker: who speaks, shape (n,).
        recording: number of the source recording, shape (n,).
        whole: whether it is the unaltered recording; only these are enrolled, shape (n,).
        altered: whether it is in noise, in a room or from another microphone, shape (n,).
        net_speech_s: seconds of speech, shape (n,).
    """

    embeddings: FloatArray = field(repr=False)
    without_echo: FloatArray = field(repr=False)
    enrolled: FloatArray = field(repr=False)
    variants: FloatArray = field(repr=False)
    speaker: NDArray[np.str_]
    recording: NDArray[np.intp]
    whole: NDArray[np.bool_]
    altered: NDArray[np.bool_]
    net_speech_s: NDArray[np.float64]

    def of(self, keep: NDArray[np.bool_]) -> Voices:
        """Some of them."""
        return replace(
            self,
            embeddings=self.embeddings[keep],
            without_echo=self.without_echo[keep],
            enrolled=self.enrolled[keep],
            variants=self.variants[keep],
            speaker=self.speaker[keep],
            recording=self.recording[keep],
            whole=self.whole[keep],
            altered=self.altered[keep],
            net_speech_s=self.net_speech_s[keep],
        )

    def of_speakers(self, speakers: Iterable[str]) -> Voices:
        """Those of some speakers."""
        return self.of(np.isin(self.speaker, list(speakers)))

    @property
    def looks(self) -> FloatArray:
        """What `scoring.similarities` compares, shape (n, 2, d)."""
        return np.stack((self.embeddings, self.without_echo), axis=1)

    @property
    def speakers(self) -> list[str]:
        """All speakers, in order."""
        return sorted(set(self.speaker.tolist()))


@dataclass(frozen=True, eq=False)
class CorpusUtterance:
    """The utterance in a recording, as the end-pointer cuts it."""

    item: CorpusFile
    utterance: Utterance


def listen(items: Sequence[CorpusFile]) -> list[CorpusUtterance]:
    """Cut every recording; leave out those without speech."""
    utterances = [
        CorpusUtterance(item, utterance_of(read_audio(item.path)))
        for item in track(items, description="listening", transient=True)
    ]
    return [one for one in utterances if one.utterance.quality.net_speech_s > 0.0]


def gather(
    analyzer: Analyzer,
    utterances: Sequence[CorpusUtterance],
    conditions: Sequence[Condition],
    seed: int = 0,
) -> Voices:
    """Embed every recording whole, cut to `CUTS_S`, and every second one under a condition.

    Recordings that the product would refuse are left out.

    Args:
        analyzer: the models, and the required quality of a recording.
        utterances: one from each recording.
        conditions: noise, rooms and microphones, taken in turn.
        seed: of all random choices.
    """
    chance = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = []

    def add(
        utterance: Utterance, item: CorpusFile, number: int, *, whole: bool, altered: bool = False
    ) -> None:
        if analyzer.refusal(utterance, ProfileKind.VOICE) is None:
            analysis = analyzer.analyze(utterance, with_phrase=False, to_enroll=whole)
            analysis = analyzer.without_echo(utterance, analysis)
            quality = analysis.quality
            plain = analysis.speaker_embedding
            variants = np.stack(analysis.voice_variants or VOICE_VARIANTS * (plain,))
            voice = (*analysis.looks, analysis.voice_to_enroll, variants)
            kind = (item.speaker, number, whole, altered)
            rows.append((*voice, *kind, quality.net_speech_s))

    for number, one in enumerate(track(utterances, description="voices", transient=True)):
        item, utterance = one.item, one.utterance
        add(utterance, item, number, whole=True)
        for seconds in CUTS_S:
            part = _cut(utterance, seconds, chance)
            if part is not None:
                add(part, item, number, whole=False)
        if conditions and number % 2 == 0:
            condition = conditions[number // 2 % len(conditions)]
            samples = read_audio(item.path).samples
            altered = utterance_of(condition.apply(samples, number))
            add(altered, item, number, whole=False, altered=True)
    columns = tuple(zip(*rows))
    return Voices(
        embeddings=np.stack(columns[0]),
        without_echo=np.stack(columns[1]),
        enrolled=np.stack(columns[2]),
        variants=np.stack(columns[3]),
        speaker=np.asarray(columns[4]),
        recording=np.asarray(columns[5]),
        whole=np.asarray(columns[6]),
        altered=np.asarray(columns[7]),
        net_speech_s=np.asarray(columns[8]),
    )


def _cut(utterance: Utterance, seconds: float, chance: np.random.Generator) -> Utterance | None:
    """A piece of an utterance's speech; None if it has hardly more than that."""
    speech = voice_samples(utterance)
    length = int(seconds * SAMPLE_RATE)
    if len(speech) < 1.15 * length:
        return None
    start = int(chance.integers(0, len(speech) - length))
    quality: Quality = replace(
        utterance.quality, net_speech_s=utterance.quality.net_speech_s * length / len(speech)
    )
    return Utterance(speech[start : start + length], 0.0, seconds, quality)

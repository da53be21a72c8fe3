"""Whether all of an utterance is by one voice.

The embedding of an utterance is near to whoever speaks most of it, so a stranger's first words
pass with a resident's last ones. A stretch alone is too short to tell a voice by. But the same
stretch of the same phrase was enrolled, so its sounds are the same; and what a hurry or a mood
takes from the likeness, it takes from every stretch. What is judged is therefore how far the
stretches differ in it. Noise and echo take more from faint sounds than from loud ones, so the
stretches are enrolled in both as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge.recognition.dtw import unit
from edge.recognition.embedders import SHORTEST_S, SpeakerEmbedder, voice_samples
from edge.recognition.scoring import centered, cosine
from edge.types import SAMPLE_RATE, EnrollmentSample, FloatArray, SpeakerMatch, Utterance

STRETCHES = ((0.0, 0.5), (0.25, 0.75), (0.5, 1.0))
"""Where each begins and ends, as shares of the speech."""
TOGETHER = 0.4
"""How much the likeness of the first and the last stretch to each other counts."""
UNEVEN = -2.0 - TOGETHER
"""The least `evenness` there can be."""


def embed_stretches(embedder: SpeakerEmbedder, utterance: Utterance) -> tuple[FloatArray, ...]:
    """The voice of each stretch, unit length and shape (192,); none if they are too short."""
    voice = voice_samples(utterance)
    bounds = [(round(start * len(voice)), round(end * len(voice))) for start, end in STRETCHES]
    if any(end - start < SHORTEST_S * SAMPLE_RATE for start, end in bounds):
        return ()
    return tuple(embedder.embed(voice[start:end]) for start, end in bounds)


def evenness(
    samples: Sequence[EnrollmentSample],
    stretches: Sequence[FloatArray],
    center: FloatArray,
    allowances: FloatArray,
) -> float | None:
    """How evenly the stretches of an utterance resemble those that were enrolled.

    The least of their similarities minus the greatest, plus a part of that of the first and the
    last stretch to each other: from about `UNEVEN` to `TOGETHER`. As in `scoring.similarities`, of
    the same stretch as said, as in an echoing room and as in noise the nearest counts; `allowances`
    are those of one look, shape (3,). None where there is nothing to compare with, since an older
    version enrolled no stretches.
    """
    known = [
        np.stack(sample.stretches).reshape(-1, len(STRETCHES), len(sample.speaker_embedding))
        for sample in samples
        if sample.stretches
    ]
    if not known:
        return None
    if not stretches:
        return UNEVEN
    kinds = min(map(len, known))  # an older version enrolled them as said alone
    enrolled = unit(np.sum([one[:kinds] for one in known], axis=0))
    heard = centered(np.stack(stretches[: len(STRETCHES)]), center)
    likeness = np.einsum("ksd,sd->ks", centered(enrolled, center), heard)
    nearest = np.max(likeness + allowances[:kinds, np.newaxis], axis=0)
    return TOGETHER * cosine(heard[0], heard[-1]) - float(np.ptp(nearest))


def refused_below(
    voice: SpeakerMatch, found: float, least: float, similarity: float
) -> SpeakerMatch:
    """The match of a voice that was accepted, refused if something found in it is below the least.

    `similarity` is what one unit of it counts, as a log-likelihood ratio.
    """
    if found >= least:
        return voice
    return replace(voice, score=min(voice.score, voice.threshold - similarity * (least - found)))

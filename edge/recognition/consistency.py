"""Whether all of an utterance is by one voice.

The embedding of an utterance is near to whoever speaks most of it, so a stranger's first words
pass with a resident's last ones. A stretch alone is too short to tell a voice by. But the same
stretch of the same phrase was enrolled, so its sounds are the same. What a hurry, a mood or noise
takes from the likeness, it takes from every stretch. So the least similarity is judged relative to
the greatest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge.recognition.embedders import SHORTEST_S, SpeakerEmbedder, voice_samples
from edge.recognition.scoring import centered, cosine
from edge.types import SAMPLE_RATE, STRETCHES, FloatArray, SpeakerMatch, Utterance

TOGETHER = 0.4
"""How much the likeness of the first and the last stretch to each other counts."""
GREATEST = 0.5
"""How much of the greatest similarity the least one must keep up with. With all of it, faint sounds
in noise would count as another voice; with none of it, an excited voice."""
UNEVEN = -1.0 - GREATEST - TOGETHER
"""The least `evenness` there can be."""


def embed_stretches(embedder: SpeakerEmbedder, utterance: Utterance) -> tuple[FloatArray, ...]:
    """The voice of each stretch, unit length and shape (384,); none if they are too short."""
    voice = voice_samples(utterance)
    bounds = [(round(start * len(voice)), round(end * len(voice))) for start, end in STRETCHES]
    if any(end - start < SHORTEST_S * SAMPLE_RATE for start, end in bounds):
        return ()
    return tuple(embedder.embed(voice[start:end]) for start, end in bounds)


def evenness(
    similarities: FloatArray, stretches: Sequence[FloatArray], center: FloatArray
) -> float:
    """How evenly the stretches of an utterance resemble those that were enrolled.

    The least of their `similarities`, shape (stretches,), minus a part of the greatest, plus a part
    of that of the first and the last of the `stretches` to each other.
    """
    first, last = (centered(stretches[place], center) for place in (0, -1))
    least, greatest = float(similarities.min()), float(similarities.max())
    return TOGETHER * cosine(first, last) + least - GREATEST * greatest


def refused_below(
    voice: SpeakerMatch, found: float, least: float, similarity: float
) -> SpeakerMatch:
    """The match of a voice that was accepted, refused if something found in it is below the least.

    `similarity` is what one unit of it counts, as a log-likelihood ratio.
    """
    if found >= least:
        return voice
    return replace(voice, score=min(voice.score, voice.threshold - similarity * (least - found)))

"""Whether every digit of an answer is by the person who enrolled them.

The embedding of a whole answer hardly shows that one of its digits is somebody else's. A digit
alone is too short to tell a voice by its embedding, but how far it is from that person's own
recordings of the digit tells too, and the two together tell well. A longer digit should be nearer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge.challenge.matching import SpokenDigit
from edge.features import FRAME_LENGTH, FRAME_SHIFT
from edge.recognition.embedders import SHORTEST_S, SpeakerEmbedder
from edge.recognition.scoring import cosine
from edge.types import SAMPLE_RATE, FloatArray

COST_SHARE = 0.2
"""What one unit of a digit's cost takes from its nearness."""
LENGTH_SHARE = 0.2
"""What each factor of e in its length takes from it."""
USUAL_FRAMES = 50
LENGTH_RANGE = (30, 70)
"""Frames of 10 ms; lengths outside count as these."""


def least_nearness(
    embedder: SpeakerEmbedder,
    signature: FloatArray,
    samples: FloatArray,
    spoken: Sequence[SpokenDigit],
) -> float:
    """How near the furthest digit of an answer is to a voice: about 0.3 for its own.

    `signature` is of single digits, of unit length and shape (d,); `samples` is the answer, mono at
    16 kHz.
    """
    return min(
        cosine(signature, embedder.embed(_piece(samples, digit)))
        - COST_SHARE * digit.cost
        - LENGTH_SHARE * _length(digit)
        for digit in spoken
    )


def _length(digit: SpokenDigit) -> float:
    """The logarithm of its length over the usual one."""
    shortest, longest = LENGTH_RANGE
    return math.log(min(max(digit.end - digit.start, shortest), longest) / USUAL_FRAMES)


def _piece(samples: FloatArray, digit: SpokenDigit) -> FloatArray:
    """The sound of a digit, a tenth of a second at least."""
    shortest = round(SHORTEST_S * SAMPLE_RATE)
    start = max(0, min(digit.start * FRAME_SHIFT, len(samples) - shortest))
    stop = (digit.end - 1) * FRAME_SHIFT + FRAME_LENGTH
    return samples[start : max(stop, start + shortest)]

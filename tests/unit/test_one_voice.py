"""How near each digit of an answer is to a voice, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edge.challenge.matching import SpokenDigit
from edge.challenge.one_voice import least_nearness
from edge.types import FloatArray

SIGNATURE = np.asarray([0.6, 0.8], np.float32)


class Embedder:
    """Hears the first voice, and after 100,000 samples the second one."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, int]] = []

    def embed(self, samples: FloatArray) -> FloatArray:
        self.pieces.append((int(samples[0]), len(samples)))
        return np.asarray([1.0, 0.0] if samples[0] < 100_000 else [0.0, 1.0], np.float32)


def nearness(*spoken: SpokenDigit) -> tuple[float, list[tuple[int, int]]]:
    embedder: Any = Embedder()
    samples = np.arange(160_000, dtype=np.float32)
    return least_nearness(embedder, SIGNATURE, samples, spoken), embedder.pieces


@pytest.mark.parametrize(
    ("start", "end", "cost", "expected", "piece"),
    [
        (100, 150, 1.0, 0.4, (16_000, 8_240)),
        (100, 150, 1.5, 0.3, (16_000, 8_240)),
        (700, 750, 1.0, 0.6, (112_000, 8_240)),  # the other voice is nearer
        (100, 130, 1.0, 0.4 + 0.2 * 0.5108, (16_000, 5_040)),
        (100, 170, 1.0, 0.4 - 0.2 * 0.3365, (16_000, 11_440)),
        (100, 103, 1.0, 0.4 + 0.2 * 0.5108, (16_000, 1_600)),  # counts as 0.3 s; 0.1 s is heard
        (100, 200, 1.0, 0.4 - 0.2 * 0.3365, (16_000, 16_240)),  # counts as 0.7 s
        (998, 1_000, 1.0, 0.6 + 0.2 * 0.5108, (158_400, 1_600)),  # from before the end
    ],
)
def test_how_near_a_digit_is(
    start: int, end: int, cost: float, expected: float, piece: tuple[int, int]
) -> None:
    found, pieces = nearness(SpokenDigit(start, end, cost))
    assert found == pytest.approx(expected, abs=1e-4)
    assert pieces == [piece]


def test_the_furthest_digit_counts() -> None:
    near, far = SpokenDigit(700, 750, 1.0), SpokenDigit(100, 150, 1.2)
    assert nearness(near, far, near)[0] == pytest.approx(0.36)

"""Operating curves from what wrong trials came to."""

from __future__ import annotations

from collections.abc import Iterable

from edge.recognition.scoring import OperatingCurve

RATES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
LEAST_STEP = 0.05
"""By how much the ratio rises at least from one rate to the next; few trials may give no more."""


def rising(ratios: Iterable[float]) -> OperatingCurve:
    """The curve of the ratios found for `RATES`, made to rise where it does not."""
    points: list[tuple[float, float]] = []
    for rate, ratio in zip(RATES, ratios):
        least = points[-1][1] + LEAST_STEP if points else ratio
        points.append((rate, max(ratio, least)))
    return OperatingCurve(tuple(points))

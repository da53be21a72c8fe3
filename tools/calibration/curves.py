"""Operating curves from the scores of wrong trials."""

from __future__ import annotations

from collections.abc import Iterable

from edge.recognition.scoring import OperatingCurve

RATES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
LEAST_STEP = 0.05
"""Least rise of the ratio from one rate to the next; with few trials it may be flat."""


def rising(ratios: Iterable[float]) -> OperatingCurve:
    """The curve of the ratios for `RATES`, made monotonic."""
    points: list[tuple[float, float]] = []
    for rate, ratio in zip(RATES, ratios):
        least = points[-1][1] + LEAST_STEP if points else ratio
        points.append((rate, max(ratio, least)))
    return OperatingCurve(tuple(points))

"""How sure a result is, as the three words that people know from the cloud service."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edge.types import Confidence

NORMAL_FROM = math.log(3.0)
"""Margin over the threshold from which a result is not a close one: three times the odds."""
HIGH_FROM = math.log(10.0)
"""Margin from which it is sure: ten times the odds."""


def confidence_of(margins: Iterable[float]) -> Confidence:
    """Confidence in a result from the margins of its parts, log-likelihood ratios.

    Something is accepted only if every part is, so the weakest part says how sure it is; it is
    rejected as soon as one part is, so then the most clearly missed part does.
    """
    margin = abs(min(margins))
    if margin >= HIGH_FROM:
        return Confidence.HIGH
    return Confidence.NORMAL if margin >= NORMAL_FROM else Confidence.LOW

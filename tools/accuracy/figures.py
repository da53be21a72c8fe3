"""Rows of error rates, and the scores for comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.config.settings import FALSE_ACCEPT_PRESETS
from edge.evaluation.metrics import CHALLENGE, eer, error_curves, false_reject_at, min_dcf

Scores = NDArray[np.float64]
PRESETS: Mapping[str, float] = FALSE_ACCEPT_PRESETS

PLAIN_VOICE = 0.5691
"""Cosine threshold of a voice before calibration: 0.1 % of the strangers of
speechocean762 came that near."""


@dataclass(frozen=True)
class Row:
    """Error rates of one list of trials, all 0 to 1 (minDCF: 0 and up).

    Attributes:
        targets: how many trials should be accepted.
        nontargets: how many should be rejected.
        eer: equal error rate.
        rejects: false rejects at 0.1 % false accepts.
        min_dcf: with the costs of the TdSV Challenge 2024, normalized.
    """

    targets: int
    nontargets: int
    eer: float
    rejects: float
    min_dcf: float

    @classmethod
    def of(cls, targets: Scores, nontargets: Scores) -> Row:
        """From scores; higher means more similar."""
        curves = error_curves(targets, nontargets)
        return cls(
            len(targets),
            len(nontargets),
            eer(curves).rate,
            false_reject_at(curves, 0.001).rate,
            min_dcf(curves, CHALLENGE),
        )

    def as_dict(self) -> dict[str, Any]:
        """The figures, rates in percent."""
        return {
            "targets": self.targets,
            "nontargets": self.nontargets,
            "eer_percent": round(100 * self.eer, 3),
            "false_reject_percent_at_far_0.1_percent": round(100 * self.rejects, 3),
            "min_dcf": round(self.min_dcf, 4),
        }


def false_accepts(targets: Scores, nontargets: Scores, rejects: float) -> float:
    """False accepts at the threshold that rejects a share `rejects` of the targets."""
    _, false_reject, false_accept = error_curves(targets, nontargets)
    return float(false_accept[false_reject <= rejects + 1e-12].min())


def threshold(rate: float) -> float:
    """The joint score from which is accepted at a false-accept rate."""
    return -math.log(rate)


def share(marked: NDArray[np.bool_]) -> float | None:
    """Percentage of the trials that are marked; None without any trial."""
    return round(100 * float(marked.mean()), 3) if marked.size else None

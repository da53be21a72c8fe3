"""Logistic regression with a prior, for calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

Array = NDArray[np.float64]


def fit(features: Array, target: NDArray[np.bool_], prior: float, ridge: float = 1e-3) -> Array:
    """Weights whose sum with the features is a log-likelihood ratio.

    The prior-weighted cross-entropy of N. Brümmer and J. du Preez (2006): targets and non-targets
    are weighted by the prior, whatever their numbers.

    Args:
        features: shape (n, k); the first column is all ones.
        target: which rows are targets, shape (n,).
        prior: probability of a target for which the ratio should be accurate, 0 to 1.
        ridge: penalty on large weights, except the first.

    Returns:
        Shape (k,).
    """
    weights = np.where(target, prior / target.sum(), (1 - prior) / (~target).sum())
    odds = np.log(prior / (1 - prior))
    scale = features.std(axis=0)
    scale[scale == 0.0] = 1.0  # the first column, and any other constant one
    scaled = features / scale

    def cost(values: Array) -> tuple[float, Array]:
        ratio = scaled @ values + odds
        loss = weights @ np.logaddexp(0.0, np.where(target, -ratio, ratio))
        slope = scaled.T @ (weights * np.where(target, expit(ratio) - 1.0, expit(ratio)))
        held = np.append(0.0, values[1:])
        return float(loss + ridge * prior * held @ held), slope + 2 * ridge * prior * held

    start = np.zeros(features.shape[1])
    found: Array = minimize(cost, start, jac=True, method="L-BFGS-B").x / scale
    return found

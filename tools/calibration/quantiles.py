"""Quantile regression: which value a given share of trials stays below, given their quality.

The pinball loss of R. Koenker and G. Bassett ("Regression quantiles", Econometrica 1978), rounded
off at its kink so that a gradient method finds the minimum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

Array = NDArray[np.float64]
_ROUNDED = 0.02
"""Width of the rounded kink, as a share of the values' deviation."""


def fit_quantile(features: Array, values: Array, share: float) -> Array:
    """Weights whose sum with the features is the `share` quantile of the values.

    `features` has the shape (n, k), its first column all ones, `values` (n,); gives shape (k,).
    """
    width = _ROUNDED * float(values.std())

    def loss(weights: Array) -> tuple[float, Array]:
        rest = values - features @ weights
        total = share * rest + width * np.logaddexp(0.0, -rest / width)
        slope = expit(-rest / width) - share
        return float(total.mean()), features.T @ slope / len(values)

    start = np.zeros(features.shape[1])
    start[0] = np.quantile(values, share)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(found.x, dtype=np.float64)

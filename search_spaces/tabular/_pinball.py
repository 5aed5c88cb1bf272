"""Linear quantile regression: an affine answer for every quantile that minimises a smoothed pinball loss.

He, Pan, Tan, Zhou: Smoothed quantile regression with large-scale inference.  Journal of Econometrics 232, 2023, with a
logistic kernel; by L-BFGS, every quantile alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BANDWIDTH = 0.05  # deviations of the target within which the loss is smooth
ITERATIONS = 200


def fit_pinball(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray | None, quantiles: Sequence[float], ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """x: float64 (n, d); y: (n,) with deviation 1; ridge: added to the sum of losses, times half the squared
    coefficients -> coefficients (d, k), intercepts (k,)."""
    from scipy.optimize import minimize
    from scipy.special import expit

    n, d = x.shape
    w = np.full(n, 1.0 / n) if weight is None else weight / weight.sum()
    coefficients, intercepts = np.zeros((d, len(quantiles))), np.zeros(len(quantiles))
    start = np.zeros(d + 1)
    for k, q in enumerate(quantiles):
        start[d] = np.quantile(y, q)

        def loss(b: np.ndarray, q: float = q) -> tuple[float, np.ndarray]:
            r = y - x @ b[:d] - b[d]
            value = q * r + BANDWIDTH * np.logaddexp(0.0, -r / BANDWIDTH)
            slope = w * (q - expit(-r / BANDWIDTH))
            penalty = ridge / n
            total = float(w @ value + 0.5 * penalty * (b[:d] @ b[:d]))
            return total, np.append(penalty * b[:d] - x.T @ slope, -slope.sum())

        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS})
        coefficients[:, k], intercepts[k] = found.x[:d], found.x[d]
        start = found.x.copy()
    return coefficients, intercepts

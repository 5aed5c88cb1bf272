"""How far one has to go along each column for an answer to change: length scales of a Gaussian process, by its likelihood.

A long scale means that a column hardly matters (automatic relevance determination).  Rasmussen, Williams: Gaussian Processes
for Machine Learning, 2006, chapter 5.
"""

from __future__ import annotations

import math

import numpy as np

from assay.model.similarity import squared_gaps

ROUNDS = 30
SPREAD = 1.0  # of the logarithm of a length scale around the usual one, before any data
AMPLITUDE_SPREAD = 2.0  # of the logarithms of the variances
USUAL_NOISE = 0.1
RANGE = 4.0  # of the logarithms of length scales and of the function's variance
NOISES = (1e-3, 4.0)


def length_scales(points: np.ndarray, y: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, float, float]:
    """(length scales (d,), variance of the function, variance of the noise) of the largest marginal likelihood times a weak
    prior, by its gradient; for a Matern-3/2 kernel.

    points: float64 (n, D), numbers of deviation about 1; y: (n,) answers of mean 0 and variance about 1; column:
    (D,), which of d columns, 0 to d - 1, each coordinate belongs to.  Takes n^2 (n + D) for each of some `ROUNDS` steps.  The prior's length scales grow with the root of d (Hvarfner, Hellsten, Nardi: Vanilla Bayesian
    optimization performs great in high dimensions.  ICML 2024).
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve
    from scipy.optimize import minimize

    n, d = len(points), int(column.max()) + 1
    usual = np.array([0.5 * math.log(d)] * d + [0.0, math.log(USUAL_NOISE)])
    spread = np.array([SPREAD] * d + [AMPLITUDE_SPREAD] * 2)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        signal, noise = math.exp(theta[d]), math.exp(theta[d + 1])
        z = points / np.exp(theta[:d])[column]
        far = np.sqrt(3.0 * squared_gaps(z, z))
        fades = signal * np.exp(-far)
        smooth = fades * (1.0 + far)
        try:
            factor = cho_factor(smooth + noise * np.eye(n), lower=True)
        except LinAlgError:
            return 1e10, np.zeros(d + 2)
        alpha = cho_solve(factor, y)
        free = cho_solve(factor, np.eye(n)) - np.outer(alpha, alpha)
        bent = 3.0 * free * fades
        each = bent.sum(1) @ (z * z) - np.einsum("nd,nd->d", z, bent @ z)
        prior = (theta - usual) / spread
        slope = prior / spread
        slope[:d] += np.bincount(column, each, minlength=d)
        slope[d] += 0.5 * float((free * smooth).sum())
        slope[d + 1] += 0.5 * noise * float(np.trace(free))
        fit = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor[0])).sum())
        return fit + 0.5 * float(prior @ prior), slope

    bounds = [*zip(usual[: d + 1] - RANGE, usual[: d + 1] + RANGE, strict=True), tuple(np.log(NOISES))]
    found = minimize(loss, usual, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ROUNDS}).x
    return np.exp(found[:d]), math.exp(found[d]), math.exp(found[d + 1])

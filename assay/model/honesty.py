"""How sure one may be of what a model is said to be worth, and of a single predicted number."""

from __future__ import annotations

import numpy as np

from assay.metrics import Metric

DRAWS = 300
LEVEL = 0.9  # of both kinds of interval
MIN_ROWS = 30
MOST_ROWS = 3_000  # of one draw: more cost seconds and tell the same


def metric_interval(
    metric: Metric, y: np.ndarray, prediction: np.ndarray, weight: np.ndarray | None, rng: np.random.Generator
) -> tuple[float, float] | None:
    """Between which values the metric lies with probability LEVEL over other test parts of this size.

    The percentile bootstrap (Efron, Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13), in the public
    orientation.  With more than MOST_ROWS rows a draw has only so many, and its deviations shrink by the square root of
    what is missing (Bickel, Götze, van Zwet: Resampling fewer than n observations.  Statistica Sinica 7, 1997).  None for
    fewer than MIN_ROWS rows.
    """
    n, m = len(y), min(len(y), MOST_ROWS)
    if n < MIN_ROWS:
        return None
    draws = (rng.integers(0, n, m) for _ in range(DRAWS))
    found = np.array([metric.value(y[i], prediction[i], None if weight is None else weight[i]) for i in draws])
    found = found[np.isfinite(found)]
    if len(found) < DRAWS / 2:
        return None
    low, middle, high = np.quantile(found, [(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    if m < n:
        whole, shrunk = metric.value(y, prediction, weight), np.sqrt(m / n)
        low, high = whole + (low - middle) * shrunk, whole + (high - middle) * shrunk
    return float(low), float(high)


def conformal_width(y: np.ndarray, prediction: np.ndarray) -> float | None:
    """w: the truth lies within prediction +- w for LEVEL of exchangeable rows.  y: (n,); prediction: (n, 1), out of fold.

    The cross-conformal residual quantile (Vovk: Cross-conformal predictors.  Annals of Mathematics and AI 74, 2015), with
    the finite-sample correction.  None for fewer than MIN_ROWS rows.
    """
    n = len(y)
    if n < MIN_ROWS:
        return None
    rank = min(1.0, np.ceil((n + 1) * LEVEL) / n)
    return float(np.quantile(np.abs(y - prediction[:, 0]), rank, method="higher"))

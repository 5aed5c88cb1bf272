"""Metrics of predicted quantiles.  Truth is an `assay.quantile.levels.Levelled`, a prediction one column a quantile."""

from __future__ import annotations

import numpy as np

from assay.metrics._metric import Metric
from assay.quantile.levels import KIND, Levelled, middle


def pinball(y: Levelled, prediction: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean over rows and quantiles q of max(q e, (q - 1) e), where e = truth - prediction."""
    q = np.asarray(y.quantiles)
    e = np.asarray(y)[:, None] - prediction
    return float(np.average(np.maximum(q * e, (q - 1) * e).mean(1), weights=weight))


def interval_score(y: Levelled, prediction: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Of the interval between the outer quantiles: its width, and what lies outside by 2 / (1 - level) times how far.

    Gneiting, Raftery: Strictly Proper Scoring Rules, Prediction, and Estimation.  JASA 102, 2007, section 6.2.
    """
    if len(y.quantiles) < 2:
        return float("nan")
    level = y.quantiles[-1] - y.quantiles[0]
    truth, low, high = np.asarray(y), prediction[:, 0], prediction[:, -1]
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return float(np.average((high - low) + 2 / max(1 - level, 1e-9) * outside, weights=weight))


def coverage(y: Levelled, prediction: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Share of rows whose truth lies between the outer quantiles."""
    inside = (np.asarray(y) >= prediction[:, 0]) & (np.asarray(y) <= prediction[:, -1])
    return float(np.average(inside, weights=weight))


def width(prediction: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean distance of the outer quantiles."""
    return float(np.average(prediction[:, -1] - prediction[:, 0], weights=weight))


def _mae(y: Levelled, prediction: np.ndarray, weight: np.ndarray | None = None) -> float:
    return float(np.average(np.abs(np.asarray(y) - prediction[:, middle(y.quantiles)]), weights=weight))


metrics = [
    Metric("pinball", frozenset({KIND}), False, pinball, "mean pinball loss over the quantiles"),
    Metric("interval_score", frozenset({KIND}), False, interval_score, "width of the interval, and what it misses"),
    Metric("median_mae", frozenset({KIND}), False, _mae, "mean absolute error of the middle quantile"),
]

"""Metrics of forecasts over windows: what was forecast at an origin against what came after it.

Truth is an `Actual`, prediction a `Forecast`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.metrics._metric import Metric

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the quantiles that every model answers


@dataclass(frozen=True, eq=False)
class Actual:
    """What came.  y: (n, h) values of n windows; scale: (n,) mean absolute seasonal difference of each window's past."""

    y: np.ndarray
    scale: np.ndarray

    def take(self, rows: np.ndarray) -> Actual:
        return Actual(self.y[rows], self.scale[rows])


@dataclass(frozen=True, eq=False)
class Forecast:
    """point: (n, h); quantiles: (n, h, len(LEVELS)), None where only points are judged."""

    point: np.ndarray
    quantiles: np.ndarray | None = None


def mase(actual: Actual, forecast: Forecast, weight: np.ndarray | None = None) -> float:
    """Mean absolute error in units of the seasonal naive forecast's one-season error on the past, mean over windows.

    Hyndman, Koehler: Another look at measures of forecast accuracy.  International Journal of Forecasting 22 (2006).
    """
    return _mean(np.abs(actual.y - forecast.point).mean(1) / actual.scale, weight)


def smape(actual: Actual, forecast: Forecast, weight: np.ndarray | None = None) -> float:
    """200 |y - f| / (|y| + |f|), mean, in per cent; 0 where both are 0.

    Makridakis: Accuracy measures: theoretical and practical concerns.  International Journal of Forecasting 9 (1993).
    """
    size = np.abs(actual.y) + np.abs(forecast.point)
    part = np.where(size > 0, np.abs(actual.y - forecast.point) / np.where(size > 0, size, 1.0), 0.0)
    return _mean(200.0 * part.mean(1), weight)


def wql(actual: Actual, forecast: Forecast, weight: np.ndarray | None = None) -> float:
    """Weighted quantile loss: twice the pinball loss summed over levels 0.1 ... 0.9, by the sum of |y|, mean of levels.

    As in GluonTS (Alexandrov et al., JMLR 21, 2020).
    """
    if forecast.quantiles is None:
        return float("nan")
    levels = np.array(LEVELS)
    gap = actual.y[:, :, None] - forecast.quantiles
    loss = 2.0 * np.maximum(levels * gap, (levels - 1.0) * gap)
    w = np.ones(len(actual.y)) if weight is None else weight
    total = float(w @ np.abs(actual.y).sum(1))
    return float((w @ loss.sum(1)).mean() / total) if total > 0 else float("nan")


def coverage(actual: Actual, forecast: Forecast, weight: np.ndarray | None = None) -> float:
    """Share of values inside the 80 % interval, from quantile 0.1 to quantile 0.9.

    Reported with every model, and no metric to choose by: wide intervals cover everything."""
    if forecast.quantiles is None:
        return float("nan")
    inside = (actual.y >= forecast.quantiles[:, :, 0]) & (actual.y <= forecast.quantiles[:, :, -1])
    return _mean(inside.mean(1), weight)


def rmsse(actual: Actual, forecast: Forecast, weight: np.ndarray | None = None) -> float:
    """Root mean squared error of a window in units of the seasonal naive error of its past, mean over windows."""
    return _mean(np.sqrt(((actual.y - forecast.point) ** 2).mean(1)) / actual.scale, weight)


def _mean(values: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.average(values, weights=weight)) if len(values) else float("nan")


_KIND = frozenset({"forecasting"})

metrics = [
    Metric("mase", _KIND, False, mase, "mean absolute error in units of the seasonal naive error on the past"),
    Metric("smape", _KIND, False, smape, "symmetric mean absolute percentage error, 0 to 200"),
    Metric("wql", _KIND, False, wql, "weighted quantile loss over the levels 0.1 to 0.9"),
    Metric("rmsse", _KIND, False, rmsse, "root mean squared error in units of the seasonal naive error on the past"),
]

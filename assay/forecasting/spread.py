"""Quantiles around a point forecast, from the errors of backtests: conformal, in units of the window's own scale.

Errors are divided by the window's scale and pooled; their deviation grows with the step as a power, fitted between 0 and
1, and the shape is the empirical one where there are many errors, the normal one where there are few.
"""

from __future__ import annotations

import numpy as np

from assay.metrics.forecasting import LEVELS

_NORMAL = np.array([-1.2815516, -0.8416212, -0.5244005, -0.2533471, 0.0, 0.2533471, 0.5244005, 0.8416212, 1.2815516])
ENOUGH = 300  # errors whose shape is believed by half
GROWTH = np.linspace(0.0, 1.0, 11)


def window_scale(x: np.ndarray, season: int) -> np.ndarray:
    """float64 (n,): mean absolute seasonal difference of windows (n, width), never 0."""
    values = x.astype(np.float64)
    m = season if values.shape[1] > season else 1
    if values.shape[1] <= m:
        return np.asarray(np.maximum(1e-6 * np.abs(values).max(1), 1e-6))
    scale = np.abs(values[:, m:] - values[:, :-m]).mean(1)
    return np.asarray(np.maximum(scale, np.maximum(1e-6 * np.abs(values).max(1), 1e-6)))


def offsets(errors: np.ndarray) -> np.ndarray:
    """(h, len(LEVELS)) offsets in units of the scale.  errors: (n, h), actual less forecast, by the window's scale."""
    h = errors.shape[1]
    steps = np.arange(1, h + 1)
    power = min(GROWTH, key=lambda g: _unlikely(errors, steps**g))
    shape = steps**power
    rest = (errors / shape).ravel()
    deviation = float(np.sqrt((rest**2).mean()))
    few = 1.0 + 2.0 / max(1.0, len(rest) ** 0.5)  # errors of neighbouring steps are alike: count them as far fewer
    normal = few * deviation * _NORMAL
    share = len(rest) / (len(rest) + ENOUGH)
    unit = share * np.quantile(rest, LEVELS) + (1 - share) * normal
    unit = np.sort(unit - unit[len(LEVELS) // 2])  # the median is the point
    return np.asarray(shape[:, None] * unit)


def _unlikely(errors: np.ndarray, shape: np.ndarray) -> float:
    """Negative log-likelihood of errors with deviations proportional to `shape`."""
    rest = errors / shape
    return float(0.5 * np.log(np.maximum((rest**2).mean(), 1e-30)) + np.log(shape).mean())


def with_quantiles(point: np.ndarray, scale: np.ndarray, unit: np.ndarray, nonnegative: bool) -> np.ndarray:
    """(n, h, len(LEVELS)) from points (n, h)."""
    found = point[:, :, None] + scale[:, None, None] * unit[None]
    return np.asarray(np.maximum(found, 0.0) if nonnegative else found)


def judged_quantiles(
    y: np.ndarray, point: np.ndarray, scale: np.ndarray, origin: np.ndarray, nonnegative: bool
) -> np.ndarray:
    """Quantiles of every window from the errors of the windows of other origins, so that no error judges itself."""
    errors = (y - point) / scale[:, None]
    out = np.empty((*point.shape, len(LEVELS)))
    for which in np.unique(origin):
        own = origin == which
        others = errors[~own] if (~own).any() else errors
        out[own] = with_quantiles(point[own], scale[own], offsets(others), nonnegative)
    return out

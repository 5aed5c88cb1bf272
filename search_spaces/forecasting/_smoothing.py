"""Exponential smoothing, many series and parameters at a time: errors one step ahead, and forecasts.

The states at the start come from a regression of the first values on a line and seasonal dummies, which is linear in the
values, and so is all that follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

START = 10  # values the starting states are read off, at least


@dataclass(frozen=True, eq=False)
class Smoothing:
    """Parameters of B filters, each (B,).  Zeros switch a part off: `trend` and `season` (length, 1: none) say which run."""

    alpha: np.ndarray
    beta: np.ndarray
    gamma: np.ndarray
    phi: np.ndarray
    trend: bool
    season: int

    def repeated(self, n: int) -> Smoothing:
        """One filter n times."""
        a, b, g, p = (np.repeat(v[:1], n) for v in (self.alpha, self.beta, self.gamma, self.phi))
        return Smoothing(a, b, g, p, self.trend, self.season)


def start(n: int, trend: bool, season: int) -> np.ndarray:
    """(p, n): from the first n values to intercept, slope (if trend) and seasonal effects (if season) that sum to 0."""
    t = np.arange(n)
    columns = [np.ones(n), *([t.astype(float)] if trend else [])]
    if season > 1:
        columns += [(t % season == s).astype(float) - (t % season == season - 1) for s in range(season - 1)]
    design = np.stack(columns, axis=1)
    found = np.linalg.pinv(design)
    if season > 1:
        effects = found[-(season - 1) :]
        found = np.concatenate([found, -effects.sum(0, keepdims=True)])
    return found


def start_length(n: int, season: int) -> int:
    return min(n, max(START, 2 * season + 2 if season > 1 else START))


def smooth(y: np.ndarray, p: Smoothing, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """(errors (B, n), forecasts (B, horizon)) of series y (B, n).

    Hyndman, Koehler, Ord, Snyder: Forecasting with Exponential Smoothing (2008), the additive models ETS(A,*,*).
    """
    size, n = y.shape
    m = p.season
    k = start_length(n, m)
    states = y[:, :k] @ start(k, p.trend, m).T  # (B, p)
    level = states[:, 0].copy()
    slope = states[:, 1].copy() if p.trend else np.zeros(size)
    level -= p.phi * slope
    effects = states[:, -m:].copy() if m > 1 else np.zeros((size, 1))
    errors = np.empty((size, n))
    for t in range(n):
        s = t % m if m > 1 else 0
        base = level + p.phi * slope if p.trend else level
        e = y[:, t] - base - effects[:, s]
        errors[:, t] = e
        level = base + p.alpha * e
        if p.trend:
            slope = p.phi * slope + p.beta * e
        if m > 1:
            effects[:, s] += p.gamma * e
    steps = np.arange(1, horizon + 1)
    damped = np.cumsum(p.phi[:, None] ** steps, axis=1) if p.trend else np.zeros((size, horizon))
    seasonal = effects[:, (n + steps - 1) % m] if m > 1 else 0.0
    return errors, level[:, None] + damped * slope[:, None] + seasonal

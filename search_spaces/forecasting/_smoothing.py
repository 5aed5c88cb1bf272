"""Exponential smoothing, many series and parameters at a time: errors one step ahead, and forecasts.

For given parameters the errors are linear in the states at the start, so those with the least squares are found exactly;
they are linear in the values, and so is all that follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FIRM = 1e-8  # of the ridge that keeps starting states apart, a share of their mean influence


@dataclass(frozen=True, eq=False)
class Smoothing:
    """Parameters of B filters, each (B,).  Zeros switch a part off: `trend` and `season` (length, 1: none) say which run."""

    alpha: np.ndarray
    beta: np.ndarray
    gamma: np.ndarray
    phi: np.ndarray
    trend: bool
    season: int

    @property
    def n_states(self) -> int:
        """Free ones: level, slope, and seasonal effects that sum to 0."""
        return 1 + int(self.trend) + max(0, self.season - 1)

    def repeated(self, n: int) -> Smoothing:
        """Every filter n times in a row."""
        a, b, g, p = (np.repeat(v, n) for v in (self.alpha, self.beta, self.gamma, self.phi))
        return Smoothing(a, b, g, p, self.trend, self.season)

    def at(self, i: int) -> Smoothing:
        a, b, g, p = (v[i : i + 1] for v in (self.alpha, self.beta, self.gamma, self.phi))
        return Smoothing(a, b, g, p, self.trend, self.season)


@dataclass(frozen=True, eq=False)
class _Run:
    errors: np.ndarray  # (B, n)
    ahead: np.ndarray  # (B, horizon)


def squares(y: np.ndarray, p: Smoothing) -> np.ndarray:
    """Sum of squared errors one step ahead of one series y (n,) under B filters, starting states at their best."""
    free = _responses(p, len(y), 1)
    own = _run(np.broadcast_to(y, (len(p.alpha), len(y))), _zeros(p, len(p.alpha)), p, 1)
    gram, right = _normal(free.errors, own.errors)
    states = np.linalg.solve(gram, right[..., None])[..., 0]
    rest = own.errors - np.einsum("bq,bqn->bn", states, free.errors)
    return np.asarray((rest**2).sum(1))


def forecasts(y: np.ndarray, p: Smoothing, horizon: int) -> np.ndarray:
    """(B, horizon) after series y (B, n), under one filter.  Linear in y.

    Hyndman, Koehler, Ord, Snyder: Forecasting with Exponential Smoothing (2008), the additive models ETS(A,*,*).
    """
    one = p.at(0)
    free = _responses(one, y.shape[1], horizon)
    own = _run(y, _zeros(one, len(y)), one.repeated(len(y)), horizon)
    gram, _ = _normal(free.errors, own.errors[:1])
    states = np.linalg.solve(gram[0], free.errors[0] @ own.errors.T).T  # (B, q)
    return np.asarray(own.ahead - states @ free.ahead[0])


def _normal(free: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    gram = free @ free.transpose(0, 2, 1)
    q = gram.shape[1]
    ridge = FIRM * np.trace(gram, axis1=1, axis2=2) / q + 1e-300
    return gram + ridge[:, None, None] * np.eye(q), np.einsum("bqn,bn->bq", free, own)


def _responses(p: Smoothing, n: int, horizon: int) -> _Run:
    """What a unit of every starting state takes off the errors, (B, q, n), and off the forecasts, (B, q, horizon)."""
    size, q = len(p.alpha), p.n_states
    level, slope, effects = _zeros(p, size * q)
    level.reshape(size, q)[:, 0] = 1.0
    if p.trend:
        slope.reshape(size, q)[:, 1] = 1.0
    first = 1 + int(p.trend)
    for j in range(q - first):
        effects.reshape(size, q, -1)[:, first + j, [j, p.season - 1]] = [1.0, -1.0]
    found = _run(np.zeros((size * q, n)), (level, slope, effects), p.repeated(q), horizon)
    return _Run(-found.errors.reshape(size, q, n), -found.ahead.reshape(size, q, horizon))


def _zeros(p: Smoothing, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(size), np.zeros(size), np.zeros((size, max(1, p.season)))


def _run(y: np.ndarray, start: tuple[np.ndarray, np.ndarray, np.ndarray], p: Smoothing, horizon: int) -> _Run:
    """The filters from given states on."""
    level, slope, effects = start
    size, n = y.shape
    m = p.season
    errors = np.empty((n, size))
    values = np.ascontiguousarray(y.T)
    for t in range(n):
        base = level + p.phi * slope if p.trend else level
        e = values[t] - base
        if m > 1:
            e -= effects[:, t % m]
            effects[:, t % m] += p.gamma * e
        errors[t] = e
        level = base + p.alpha * e
        if p.trend:
            slope = p.phi * slope + p.beta * e
    steps = np.arange(1, horizon + 1)
    ahead = np.repeat(level[:, None], horizon, axis=1)
    if p.trend:
        ahead += np.cumsum(p.phi[:, None] ** steps, axis=1) * slope[:, None]
    if m > 1:
        ahead += effects[:, (n + steps - 1) % m]
    return _Run(errors.T, ahead)

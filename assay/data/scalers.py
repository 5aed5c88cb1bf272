"""Scaling of numeric columns, computed in float32 the same way by NumPy and by ONNX nodes, bit for bit.

Two bounds keep both sides finite and close.  Raw values are clipped to ±HUGE, so that the difference of two of them is
still a float32.  Scaled values are clipped to ±WILD: a hundred deviations away is no more than "very far", and sums of
such values still have five digits behind the point in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np

from assay.model.graph import Scope

HUGE = np.float32(1e38)
WILD = np.float32(100)
KNOTS = 64
TINY = 1e-30  # a spread below this is no spread


class Scaler(Protocol):
    """A fitted map of p columns to p columns; NaN stays NaN."""

    def apply(self, x: np.ndarray) -> np.ndarray:
        """x: float32 (n, p) -> float32 (n, p)."""
        ...

    def emit(self, scope: Scope, x: str) -> str:
        """The same as nodes over the value named x."""
        ...


def as_float32(values: np.ndarray) -> np.ndarray:
    """Numbers as the delivered graph sees them: float32, infinite and huge values at the bound, NaN for missing."""
    with np.errstate(over="ignore"):
        return np.asarray(np.clip(np.asarray(values).astype(np.float32), -HUGE, HUGE))


def emit_clip(scope: Scope, x: str, bound: np.float32) -> str:
    return scope.add("Clip", x, scope.const(np.float32(-bound)), scope.const(bound))


def fit_scaler(kind: str, x: np.ndarray) -> Scaler:
    """Learn "raw", "standard", "robust" or "quantile" from training rows.  x: float32 (n, p), NaN is left out."""
    try:
        return _KINDS[kind](x)
    except KeyError:
        raise ValueError(f"numbers={kind!r} is not a way to scale; choose one of {', '.join(_KINDS)}") from None


@dataclass(frozen=True, eq=False)
class Raw:
    """Values as they are."""

    def apply(self, x: np.ndarray) -> np.ndarray:
        return x

    def emit(self, scope: Scope, x: str) -> str:
        return x

    @staticmethod
    def fit(x: np.ndarray) -> Scaler:
        return Raw()


@dataclass(frozen=True, eq=False)
class Standard:
    """(x - mean) / deviation.  mean, deviation: float32 (p,)."""

    mean: np.ndarray
    deviation: np.ndarray

    def apply(self, x: np.ndarray) -> np.ndarray:
        return _within(x, self.mean, self.deviation)

    def emit(self, scope: Scope, x: str) -> str:
        return _emit_within(scope, x, self.mean, self.deviation)

    @staticmethod
    def fit(x: np.ndarray) -> Scaler:
        wide = x.astype(np.float64)
        known = ~np.isnan(wide)
        n = np.maximum(known.sum(0), 1)
        mean = np.where(known, wide, 0).sum(0) / n
        deviation = np.sqrt((np.where(known, wide - mean, 0) ** 2).sum(0) / n)
        return Standard(mean.astype(np.float32), _spread(deviation))


@dataclass(frozen=True, eq=False)
class Robust:
    """z = (x - median) / IQR, then the smooth clip z / sqrt(1 + (z / 3)^2), which ends at ±3.

    Holzmüller, Grinsztajn, Steinwart, "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on Tabular Data",
    NeurIPS 2024, section 3.
    """

    median: np.ndarray
    spread: np.ndarray

    def apply(self, x: np.ndarray) -> np.ndarray:
        z = _within(x, self.median, self.spread)
        third = z / np.float32(3)
        return np.asarray(z / np.sqrt(np.float32(1) + third * third))

    def emit(self, scope: Scope, x: str) -> str:
        z = _emit_within(scope, x, self.median, self.spread)
        third = scope.add("Div", z, scope.const(np.float32(3)))
        root = scope.add("Sqrt", scope.add("Add", scope.const(np.float32(1)), scope.add("Mul", third, third)))
        return scope.add("Div", z, root)

    @staticmethod
    def fit(x: np.ndarray) -> Scaler:
        low, median, high = quantiles(x, np.array([0.25, 0.5, 0.75]))
        whole = quantiles(x, np.array([0.0, 1.0]))
        # a column that is mostly one value has no IQR: half its range stands in, as in the paper
        spread = np.where(high - low > TINY, high - low, (whole[1] - whole[0]) / 2)
        return Robust(median.astype(np.float32), _spread(spread))


@dataclass(frozen=True, eq=False)
class Quantile:
    """Piecewise linear map to a normal distribution: count the knots at or below x, look up level and slope.

    knots: float32 (p, q), padded with +inf.  level, slope, start: float32 (p * (q + 1)), one row of q + 1 per column.
    """

    knots: np.ndarray
    level: np.ndarray
    slope: np.ndarray
    start: np.ndarray

    def apply(self, x: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, np.float32)
        q = self.knots.shape[1]
        for j, knots in enumerate(self.knots):
            known = x[:, j] >= knots[0]  # False for NaN, which counts no knot
            at = np.where(known, np.searchsorted(knots, x[:, j], side="right"), 0)
            at = np.minimum(at, int(np.isfinite(knots).sum())) + j * (q + 1)
            out[:, j] = self.level[at] + self.slope[at] * (x[:, j] - self.start[at])
        return out

    def emit(self, scope: Scope, x: str) -> str:
        p, q = self.knots.shape
        deep = scope.add("Unsqueeze", x, scope.const(np.array([2], np.int64)))  # (n, p) -> (n, p, 1)
        above = scope.add("GreaterOrEqual", deep, scope.const(self.knots[None]))  # (n, p, q)
        count = scope.add("ReduceSum", scope.add("Cast", above, to=6), scope.const(np.array([2], np.int64)), keepdims=0)
        offset = scope.const((np.arange(p, dtype=np.int64) * (q + 1))[None])
        at = scope.add("Add", scope.add("Cast", count, to=7), offset)
        level, slope, start = (scope.add("Gather", scope.const(t), at) for t in (self.level, self.slope, self.start))
        return scope.add("Add", level, scope.add("Mul", slope, scope.add("Sub", x, start)))

    @staticmethod
    def fit(x: np.ndarray) -> Scaler:
        p = x.shape[1]
        shares = np.linspace(0, 1, KNOTS)
        normal = NormalDist()
        z = np.array([normal.inv_cdf(min(max(s, 1e-3), 1 - 1e-3)) for s in shares])
        found = quantiles(x, shares).astype(np.float32)  # (KNOTS, p)
        knots = np.full((p, KNOTS), np.inf, np.float32)
        level, slope, start = (np.zeros((p, KNOTS + 1), np.float32) for _ in range(3))
        for j in range(p):
            u, first = np.unique(found[:, j], return_index=True)
            last = np.append(first[1:], KNOTS) - 1
            mid = (z[first] + z[last]) / 2  # a value that fills several knots sits in their middle
            rise = np.diff(mid) / np.diff(u.astype(np.float64))
            m = len(u)
            knots[j, :m] = u
            level[j, 0], level[j, 1 : m + 1], level[j, m + 1 :] = mid[0], mid, mid[-1]
            slope[j, 1:m] = np.where(rise < 1 / TINY, rise, 0)
            start[j, 0], start[j, 1 : m + 1], start[j, m + 1 :] = u[0], u, u[-1]
        return Quantile(knots, level.ravel(), slope.ravel(), start.ravel())


_KINDS = {"raw": Raw.fit, "standard": Standard.fit, "robust": Robust.fit, "quantile": Quantile.fit}


def quantiles(x: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Quantiles of each column without its NaN.  x: (n, p) -> float64 (len(shares), p); 0 for an empty column."""
    out = np.zeros((len(shares), x.shape[1]))
    for j in range(x.shape[1]):
        known = np.sort(x[:, j][~np.isnan(x[:, j])]).astype(np.float64)
        if len(known):
            out[:, j] = np.interp(shares * (len(known) - 1), np.arange(len(known)), known)
    return out


def _spread(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values) & (values > TINY), values, 1).astype(np.float32)


def _within(x: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(np.clip((x - centre) / spread, -WILD, WILD))


def _emit_within(scope: Scope, x: str, centre: np.ndarray, spread: np.ndarray) -> str:
    centred = scope.add("Sub", x, scope.const(centre[None]))
    return emit_clip(scope, scope.add("Div", centred, scope.const(spread[None])), WILD)

"""What columns whose future is known do to a series: a linear effect that is taken off before a forecaster learns, and
added to what it answers.

So every family forecasts with them, as a regression with errors that the family models (Pankratz: Forecasting with
Dynamic Regression Models, 1991).  Coefficients are found by ridge regression between differences, so that two trends are
not taken for cause and effect; the kind of differences is the one that leaves the smallest errors, and the penalty the
one with the least leave-one-out error, with no effect at all unless an effect is clearly better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.model.graph import Scope

PENALTIES = np.logspace(-4, 2, 13)  # shares of the rows
GAIN = 0.02  # of the leave-one-out error that effects must save
LEAST_ROWS = 8  # of differences, besides three for each column, from which a series has coefficients of its own


@dataclass(frozen=True, eq=False)
class Effects:
    """mean: float64 (k,).  table: float64 (n_series + 1, k), in the unit of the series; the last row, for series that are
    not known, is in units of the window's scale."""

    mean: np.ndarray
    table: np.ndarray

    def of(self, beside: np.ndarray, code: int) -> np.ndarray:
        """(n,) effects in a known series of known columns (n, k)."""
        return np.asarray((beside - self.mean) @ self.table[code])

    def in_windows(self, known: np.ndarray, code: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """(N, steps) of windows (N, steps, k); code: (N,), any that is no series' is an unknown one; scale: (N,)."""
        last = len(self.table) - 1
        is_known = (code >= 0) & (code < last)
        each = self.table[np.where(is_known, code, last).astype(np.int64)]
        each = each * np.where(is_known, 1.0, scale)[:, None]
        return np.asarray(np.einsum("nsk,nk->ns", known - self.mean, each))

    def emit(self, scope: Scope, known: str, code: str, scale: str) -> str:
        """`in_windows` as nodes: float32 [N, steps].  code: int64 [N]; scale: float32 [N, 1]."""
        last = scope.const(np.int64(len(self.table) - 1))
        is_known = scope.add(
            "And", scope.add("GreaterOrEqual", code, scope.const(np.int64(0))), scope.add("Less", code, last)
        )
        each = scope.add(
            "Gather", scope.const(self.table.astype(np.float32)), scope.add("Where", is_known, code, last), axis=0
        )
        unit = scope.add("Where", scope.add("Unsqueeze", is_known, scope.const([1])), scope.const(np.float32(1)), scale)
        each = scope.add("Unsqueeze", scope.add("Mul", each, unit), scope.const([2]))  # [N, k, 1]
        rest = scope.add("Sub", known, scope.const(self.mean.astype(np.float32)))
        return scope.add("Squeeze", scope.add("MatMul", rest, each), scope.const([2]))


def fit_effects(
    histories: Sequence[np.ndarray], beside: Sequence[np.ndarray], season: int, scales: Sequence[float]
) -> Effects:
    """From series (n,) with their known columns (n, k).  scales: the unit of each for what all share."""
    k = beside[0].shape[1]
    everything = np.concatenate([b[: len(h)] for h, b in zip(histories, beside, strict=True)])
    mean = everything.mean(0)
    shared = _coefficients([h / s for h, s in zip(histories, scales, strict=True)], beside, season)
    table = np.empty((len(histories) + 1, k))
    table[-1] = shared
    for i, (history, known) in enumerate(zip(histories, beside, strict=True)):
        own = len(histories) == 1 or len(history) - season - 1 >= LEAST_ROWS + 3 * k
        table[i] = _coefficients([history], [known], season) if own else shared * scales[i]
    return Effects(mean, table)


def _coefficients(histories: Sequence[np.ndarray], beside: Sequence[np.ndarray], season: int) -> np.ndarray:
    """(k,): one for all these series."""
    k = beside[0].shape[1]
    steps = [[], [1]] + ([[season], [season, 1]] if season > 1 else [])
    least, found = np.inf, np.zeros(k)
    for lags in steps:
        parts = [
            (_differences(h, lags), _differences(b[: len(h)], lags)) for h, b in zip(histories, beside, strict=True)
        ]
        parts = [(y - y.mean(), x - x.mean(0)) for y, x in parts if len(y) >= LEAST_ROWS]
        if not parts:
            continue
        error, coefficients = _ridge(np.concatenate([x for _, x in parts]), np.concatenate([y for y, _ in parts]))
        if error < least:
            least, found = error, coefficients
    return found


def _differences(values: np.ndarray, lags: Sequence[int]) -> np.ndarray:
    for lag in lags:
        values = values[lag:] - values[:-lag] if len(values) > lag else values[:0]
    return values


def _ridge(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """(mean squared leave-one-out error, coefficients); of no effect at all where effects save less than GAIN of it."""
    n, k = x.shape
    nothing = float((y**2).mean()) * (n / max(1, n - 1)) ** 2
    deviation = x.std(0)
    seen = deviation > 1e-9 * (1 + np.abs(x).max(0, initial=0))
    if not seen.any() or n < LEAST_ROWS + 2 * int(seen.sum()):
        return nothing, np.zeros(k)
    z = x[:, seen] / deviation[seen]
    left, values, right = np.linalg.svd(z, full_matrices=False)
    projected = left.T @ y
    best, chosen = (1 - GAIN) * nothing, np.zeros(k)
    for penalty in PENALTIES:
        share = values**2 / (values**2 + penalty * n)
        lever = (left**2) @ share + 1 / n
        error = float((((y - left @ (share * projected)) / np.maximum(1 - lever, 1e-3)) ** 2).mean())
        if error < best:
            best, chosen = error, np.zeros(k)
            chosen[seen] = right.T @ (values / (values**2 + penalty * n) * projected) / deviation[seen]
    return min(best, nothing), chosen

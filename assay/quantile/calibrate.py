"""Quantiles that hold as often as they say, and never cross.

Conformalised quantile regression (Romano, Patterson, Candès: Conformalized Quantile Regression.  NeurIPS 2019) on
out-of-fold predictions, as in cross-conformal prediction (Vovk 2015).  Changed: every quantile is moved by itself, so that
each holds, not only the interval between the outer two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.model.graph import Scope

MIN_ROWS = 30  # below it nothing is moved: chance would


def fit_shifts(y: np.ndarray, predicted: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """What is added to every quantile.  y: (n,); predicted: out of fold (n, k) -> float64 (k,).

    The q-quantile of the residuals, a little further out than the empirical one, as a sample of n asks for.
    """
    n = len(y)
    if n < MIN_ROWS:
        return np.zeros(len(quantiles))
    shifts = np.zeros(len(quantiles))
    for i, q in enumerate(quantiles):
        residuals = np.sort(np.asarray(y, np.float64) - predicted[:, i])
        if abs(q - 0.5) < 1e-9:
            shifts[i] = float(np.median(residuals))
            continue
        rank = np.ceil((n + 1) * q) if q > 0.5 else np.floor((n + 1) * q)
        shifts[i] = residuals[int(np.clip(rank - 1, 0, n - 1))]
    return shifts


def shifted(predicted: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """The calibrated quantiles, none below the one before.  (n, k) -> float64 (n, k)."""
    moved = np.asarray(predicted, np.float64) + shifts
    return np.asarray(np.maximum.accumulate(moved, axis=1))


def emit_shifted(scope: Scope, predicted: str, shifts: np.ndarray) -> str:
    """`shifted` as nodes, float32 [N, k]."""
    moved = scope.add("Add", predicted, scope.const(shifts[None].astype(np.float32)))
    columns: list[str] = []
    for i in range(len(shifts)):
        own = scope.add("Slice", moved, *(scope.const(np.array([v], np.int64)) for v in (i, i + 1, 1)))
        columns.append(scope.add("Max", columns[-1], own) if columns else own)
    return columns[0] if len(columns) == 1 else scope.add("Concat", *columns, axis=1)

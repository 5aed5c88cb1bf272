"""Metrics of several targets at once: how much better than a constant answer each of them is told.

Truth is an `assay.multitask.targets.Truth`, a prediction the answers of all targets side by side.
"""

from __future__ import annotations

import numpy as np

from assay.metrics._metric import Metric
from assay.metrics.tabular import log_loss
from assay.multitask.targets import KIND, Truth, spans

WORST = -1.0  # a target told badly must not outweigh all others


def skills(truth: Truth, prediction: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """One number a target, at most 1: 1 - loss / loss of the best constant on these rows, no less than WORST.

    For numbers this is R2, for classes McFadden's pseudo-R2 (the loss is log-loss).  NaN where no constant can be
    beaten: fewer than two different labels on these rows.
    """
    found = np.full(len(truth.targets), np.nan)
    for i, (target, span) in enumerate(zip(truth.targets, spans(truth.targets), strict=True)):
        rows, y = truth.column(i)
        if len(rows) < 2 or not np.any(y != y[0]):
            continue
        p = np.asarray(prediction, np.float64)[rows, span]
        w = np.ones(len(rows)) if weight is None else weight[rows]
        if w.sum() <= 0:
            continue
        if target.classes:
            shares = np.bincount(y, w, target.width) / w.sum()
            base = -float((shares[shares > 0] * np.log(shares[shares > 0])).sum())
            loss = log_loss(y, p, w)
        else:
            base = float(np.average((y - np.average(y, weights=w)) ** 2, weights=w))
            loss = float(np.average((y - p[:, 0]) ** 2, weights=w))
        if base > 0:
            # NaN passes on: a prediction that is not a number must be seen
            found[i] = 1.0 - loss / base if np.isnan(loss) else max(WORST, 1.0 - loss / base)
    return found


def _mean(truth: Truth, prediction: np.ndarray, weight: np.ndarray | None) -> float:
    if not np.isfinite(prediction).all():
        return float("nan")
    known = skills(truth, prediction, weight)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float("nan")


def _least(truth: Truth, prediction: np.ndarray, weight: np.ndarray | None) -> float:
    if not np.isfinite(prediction).all():
        return float("nan")
    known = skills(truth, prediction, weight)
    known = known[~np.isnan(known)]
    return float(known.min()) if len(known) else float("nan")


metrics = [
    Metric(
        "multitask_score", frozenset({KIND}), True, _mean,
        "mean over the targets of 1 - loss / loss of the best constant (R2 for numbers, log-loss for classes)",
    ),
    Metric("multitask_worst", frozenset({KIND}), True, _least, "the same of the target that is told worst"),
]  # fmt: skip

"""Metrics of classes and of numbers, one answer a row."""

from __future__ import annotations

import numpy as np

from assay.metrics._metric import EPS, Metric

# -- classification ---------------------------------------------------------------------------------------------------


def _mean(values: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.average(values, weights=weight))


def log_loss(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean negative log probability of the true class."""
    p = np.clip(p, EPS, 1.0)
    p = p / p.sum(axis=1, keepdims=True)
    return _mean(-np.log(p[np.arange(len(y)), y]), weight)


def _accuracy(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    return _mean((p.argmax(axis=1) == y).astype(np.float64), weight)


def auc(positive: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Area under the ROC curve of a 0/1 truth by the (weighted) rank statistic, ties counted half."""
    if weight is None:
        weight = np.ones(len(score))
    order = np.argsort(score, kind="stable")
    s, pos = score[order], positive[order].astype(bool)
    w_pos, w_neg = np.where(pos, weight[order], 0.0), np.where(pos, 0.0, weight[order])
    total_pos, total_neg = w_pos.sum(), w_neg.sum()
    if total_pos == 0 or total_neg == 0:
        return float("nan")
    starts = np.flatnonzero(np.concatenate(([True], s[1:] != s[:-1])))
    block_pos, block_neg = np.add.reduceat(w_pos, starts), np.add.reduceat(w_neg, starts)
    below = np.cumsum(block_neg) - block_neg
    return float((block_pos * (below + 0.5 * block_neg)).sum() / (total_pos * total_neg))


def _roc_auc(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    """Binary: of class 1.  Multiclass: mean of one-versus-rest areas over the classes present."""
    if p.shape[1] == 2:
        return auc(y == 1, p[:, 1], weight)
    areas = [auc(y == c, p[:, c], weight) for c in range(p.shape[1])]
    known = [a for a in areas if np.isfinite(a)]
    return float(np.mean(known)) if known else float("nan")


def _confusion(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
    """(true, predicted) weighted counts, (k, k)."""
    k = p.shape[1]
    w = np.ones(len(y)) if weight is None else weight
    return np.asarray(np.bincount(y * k + p.argmax(axis=1), weights=w, minlength=k * k).reshape(k, k))


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(a, b, out=np.zeros_like(a, dtype=np.float64), where=b > 0))


def _balanced_accuracy(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    c = _confusion(y, p, weight)
    seen = c.sum(axis=1) > 0
    return float(_divide(np.diag(c), c.sum(axis=1))[seen].mean())


def _f1s(c: np.ndarray) -> np.ndarray:
    return _divide(2 * np.diag(c), c.sum(axis=0) + c.sum(axis=1))


def _f1(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    return float(_f1s(_confusion(y, p, weight))[1])


def _f1_macro(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    c = _confusion(y, p, weight)
    known = (c.sum(axis=0) + c.sum(axis=1)) > 0
    return float(_f1s(c)[known].mean())


def _f1_weighted(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    c = _confusion(y, p, weight)
    return float((_f1s(c) * c.sum(axis=1)).sum() / c.sum())


def _precision(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    c = _confusion(y, p, weight)
    return float(_divide(np.diag(c), c.sum(axis=0))[1])


def _recall(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    c = _confusion(y, p, weight)
    return float(_divide(np.diag(c), c.sum(axis=1))[1])


def _mcc(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    """Matthews correlation, multiclass form (Gorodkin, Comp. Biol. Chem. 2004)."""
    c = _confusion(y, p, weight)
    n, t, g = c.sum(), c.sum(axis=1), c.sum(axis=0)
    bottom = np.sqrt((n * n - (g * g).sum()) * (n * n - (t * t).sum()))
    return float((n * np.trace(c) - (t * g).sum()) / bottom) if bottom > 0 else 0.0


def average_precision(positive: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Area under the precision-recall step curve."""
    w = np.ones(len(score)) if weight is None else weight
    order = np.argsort(-score, kind="stable")
    s, pos, w = score[order], positive[order].astype(np.float64), w[order]
    ends = np.concatenate((np.flatnonzero(s[1:] != s[:-1]), [len(s) - 1]))
    tp, total = np.cumsum(pos * w)[ends], np.cumsum(w)[ends]
    if tp[-1] == 0:
        return float("nan")
    return float((np.diff(np.concatenate(([0.0], tp / tp[-1]))) * _divide(tp, total)).sum())


def _average_precision(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    if p.shape[1] == 2:
        return average_precision(y == 1, p[:, 1], weight)
    areas = [average_precision(y == c, p[:, c], weight) for c in range(p.shape[1])]
    known = [a for a in areas if np.isfinite(a)]
    return float(np.mean(known)) if known else float("nan")


def _brier(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    if p.shape[1] == 2:
        return _mean((p[:, 1] - (y == 1)) ** 2, weight)
    return _mean(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1), weight)


# -- regression -------------------------------------------------------------------------------------------------------


def _mse(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    return _mean((y - p[:, 0]) ** 2, weight)


def _rmse(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.sqrt(_mse(y, p, weight)))


def _mae(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    return _mean(np.abs(y - p[:, 0]), weight)


def _median_absolute_error(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.median(np.abs(y - p[:, 0])))


def _rmsle(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    if (y <= -1).any():
        return float("nan")
    return float(np.sqrt(_mean((np.log1p(y) - np.log1p(np.maximum(p[:, 0], -1 + 1e-9))) ** 2, weight)))


def _mape(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    return _mean(np.abs(y - p[:, 0]) / np.maximum(np.abs(y), np.finfo(np.float64).eps), weight)


def _r2(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    spread = _mean((y - np.average(y, weights=weight)) ** 2, weight)
    return 1.0 - _mse(y, p, weight) / spread if spread > 0 else float("nan")


def _explained_variance(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    error = y - p[:, 0]
    spread = _mean((y - np.average(y, weights=weight)) ** 2, weight)
    return (
        1.0 - _mean((error - np.average(error, weights=weight)) ** 2, weight) / spread if spread > 0 else float("nan")
    )


def _max_error(y: np.ndarray, p: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.abs(y - p[:, 0]).max())


_BINARY = frozenset({"binary"})
_CLASSES = frozenset({"binary", "multiclass"})
_REGRESSION = frozenset({"regression"})

metrics = [
    Metric("roc_auc", _CLASSES, True, _roc_auc, "area under the ROC curve; one-versus-rest mean for many classes"),
    Metric("log_loss", _CLASSES, False, log_loss, "mean negative log probability of the true class"),
    Metric("accuracy", _CLASSES, True, _accuracy, "share of rows whose most probable class is right"),
    Metric("balanced_accuracy", _CLASSES, True, _balanced_accuracy, "mean recall over the classes"),
    Metric("f1", _BINARY, True, _f1, "harmonic mean of precision and recall of the positive class"),
    Metric("f1_macro", _CLASSES, True, _f1_macro, "mean F1 over the classes"),
    Metric("f1_weighted", _CLASSES, True, _f1_weighted, "mean F1 weighted by class size"),
    Metric("precision", _BINARY, True, _precision, "share of predicted positives that are right"),
    Metric("recall", _BINARY, True, _recall, "share of positives that are found"),
    Metric("matthews_corrcoef", _CLASSES, True, _mcc, "correlation between true and predicted classes"),
    Metric("average_precision", _CLASSES, True, _average_precision, "area under the precision-recall curve"),
    Metric("brier_score", _CLASSES, False, _brier, "mean squared error of the probabilities"),
    Metric("rmse", _REGRESSION, False, _rmse, "root of the mean squared error"),
    Metric("mse", _REGRESSION, False, _mse, "mean squared error"),
    Metric("mae", _REGRESSION, False, _mae, "mean absolute error"),
    Metric("median_absolute_error", _REGRESSION, False, _median_absolute_error, "median absolute error"),
    Metric("rmsle", _REGRESSION, False, _rmsle, "root mean squared error of log(1 + y)"),
    Metric("mape", _REGRESSION, False, _mape, "mean absolute error relative to the truth"),
    Metric("r2", _REGRESSION, True, _r2, "share of variance explained"),
    Metric("explained_variance", _REGRESSION, True, _explained_variance, "r2 without the bias"),
    Metric("max_error", _REGRESSION, False, _max_error, "largest absolute error"),
]

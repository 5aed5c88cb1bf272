"""Metrics of several targets that are all alike: labels (`multilabel`) or numbers (`multioutput`).

Under their usual names, as the plain mean over the targets of the metric on the rows that have the target, which is what
scikit-learn's macro and uniform averages are.  Truth is an `assay.multitask.targets.Truth`, a prediction the answers of
all targets side by side: two probabilities for every label, or a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from assay.metrics import tabular
from assay.metrics._metric import Function, Metric
from assay.multitask.targets import MULTILABEL, MULTIOUTPUT, Truth, spans

_single = {m.name: m for m in tabular.metrics}
AVERAGED = (
    "roc_auc", "log_loss", "average_precision", "brier_score", "balanced_accuracy", "matthews_corrcoef", "precision",
    "recall", "f1_macro",
)  # fmt: skip
NUMBERS = (
    "rmse", "mse", "mae", "median_absolute_error", "rmsle", "mape", "r2", "explained_variance", "max_error",
)  # fmt: skip


def of_targets(
    function: Callable[..., float], truth: Truth, prediction: np.ndarray, weight: np.ndarray | None
) -> np.ndarray:
    """A metric of every target on the rows that have it; NaN where it is undefined.  (targets,)."""
    found = np.full(len(truth.targets), np.nan)
    for i, span in enumerate(spans(truth.targets)):
        rows, y = truth.column(i)
        w = None if weight is None else weight[rows]
        if len(rows) and (w is None or w.sum() > 0):
            found[i] = function(y, np.asarray(prediction, np.float64)[rows, span], w)
    return found


def _averaged(function: Callable[..., float]) -> Function:
    def mean(truth: Truth, prediction: np.ndarray, weight: np.ndarray | None) -> float:
        if not np.isfinite(prediction).all():
            return float("nan")
        found = of_targets(function, truth, prediction, weight)
        found = found[np.isfinite(found)]
        return float(found.mean()) if len(found) else float("nan")

    return mean


def _answered(truth: Truth, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(known, true, answered) labels of every row and target, bool (n, targets) each."""
    values = np.asarray(truth)
    firsts = [s.start for s in spans(truth.targets)]
    p = np.asarray(prediction)
    yes = np.column_stack([p[:, f + 1] > p[:, f] for f in firsts])
    return ~np.isnan(values), values == 1, yes


def _hamming(truth: Truth, prediction: np.ndarray, weight: np.ndarray | None) -> float:
    known, true, yes = _answered(truth, prediction)
    mass = known * (np.ones(len(known)) if weight is None else weight)[:, None]
    return float((mass * (true != yes)).sum() / mass.sum())


def _subset(truth: Truth, prediction: np.ndarray, weight: np.ndarray | None) -> float:
    known, true, yes = _answered(truth, prediction)
    return float(np.average(((true == yes) | ~known).all(1), weights=weight))


def _f1_micro(truth: Truth, prediction: np.ndarray, weight: np.ndarray | None) -> float:
    known, true, yes = _answered(truth, prediction)
    mass = known * (np.ones(len(known)) if weight is None else weight)[:, None]
    both, either = (mass * (true & yes)).sum(), (mass * true).sum() + (mass * yes).sum()
    return float(2 * both / either) if either > 0 else 0.0


def _f1_weighted(truth: Truth, prediction: np.ndarray, weight: np.ndarray | None) -> float:
    """Mean F1 of the labels, each counted by the rows that have it."""
    f1 = of_targets(_single["f1"].function, truth, prediction, weight)
    counts = np.array([(truth.column(i)[1] == 1).sum() for i in range(len(truth.targets))], np.float64)
    keep = np.isfinite(f1) & (counts > 0)
    return float(np.average(f1[keep], weights=counts[keep])) if keep.any() else 0.0


more: Mapping[str, tuple[str, Function]] = {
    **{n: (MULTILABEL, _averaged(_single["f1" if n == "f1_macro" else n].function)) for n in AVERAGED},
    "accuracy": (MULTILABEL, _subset),
    "f1_weighted": (MULTILABEL, _f1_weighted),
    **{n: (MULTIOUTPUT, _averaged(_single[n].function)) for n in NUMBERS},
}
"""By the name of a metric of one target: the kind it serves too, and how."""

metrics = [
    Metric("hamming_loss", frozenset({MULTILABEL}), False, _hamming, "share of labels that are answered wrongly"),
    Metric("f1_micro", frozenset({MULTILABEL}), True, _f1_micro, "F1 over all labels of all rows together"),
]

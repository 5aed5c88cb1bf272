"""Metrics of several labels, several numbers and quantiles agree with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from assay import metrics
from assay.metrics.quantile import coverage
from assay.multitask.targets import OneTarget, Truth
from assay.quantile.levels import Levelled

N = 200
RNG = np.random.default_rng(0)
LABELS = [OneTarget(n, "binary", ("no", "yes")) for n in "abc"]
NUMBERS = [OneTarget(n, "regression") for n in "ab"]


def labels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True labels (n, 3), probabilities of yes (n, 3), and both of every label side by side (n, 6)."""
    y = (RNG.random((N, 3)) < [0.5, 0.3, 0.1]).astype(int)
    p = np.clip(0.6 * y + RNG.random((N, 3)) * 0.5, 0.01, 0.99)
    return y, p, np.stack([1 - p, p], axis=2).reshape(N, 6)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("roc_auc", lambda y, p: sk.roc_auc_score(y, p, average="macro")),
        ("average_precision", lambda y, p: sk.average_precision_score(y, p, average="macro")),
        ("accuracy", lambda y, p: sk.accuracy_score(y, p > 0.5)),
        ("f1_macro", lambda y, p: sk.f1_score(y, p > 0.5, average="macro")),
        ("f1_micro", lambda y, p: sk.f1_score(y, p > 0.5, average="micro")),
        ("f1_weighted", lambda y, p: sk.f1_score(y, p > 0.5, average="weighted")),
        ("hamming_loss", lambda y, p: sk.hamming_loss(y, p > 0.5)),
        ("log_loss", lambda y, p: np.mean([sk.log_loss(y[:, i], p[:, i]) for i in range(3)])),
    ],
)
def test_metrics_of_labels_are_those_of_scikit_learn(name: str, theirs: object) -> None:
    y, p, both = labels()
    value = metrics.get(name).value(Truth.of(y, LABELS), both)
    assert value == pytest.approx(theirs(y, p), abs=1e-9)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("name", "theirs"),
    [("rmse", sk.root_mean_squared_error), ("r2", sk.r2_score), ("mae", sk.mean_absolute_error)],
)
def test_metrics_of_numbers_are_the_uniform_average(name: str, theirs: object) -> None:
    y = RNG.normal(size=(N, 2)) * [1, 100]
    p = y + RNG.normal(size=(N, 2)) * [0.5, 20]
    assert metrics.get(name).value(Truth.of(y, NUMBERS), p) == pytest.approx(theirs(y, p))  # type: ignore[operator]


def test_a_row_without_a_label_does_not_count_for_it() -> None:
    y, p, both = labels()
    holed = y.astype(float)
    holed[:50, 1] = np.nan
    found = metrics.get("roc_auc").value(Truth.of(holed, LABELS), both)
    each = [sk.roc_auc_score(y[s:, i], p[s:, i]) for i, s in ((0, 0), (1, 50), (2, 0))]
    assert found == pytest.approx(np.mean(each))


def test_pinball_is_the_mean_over_the_quantiles() -> None:
    y = RNG.normal(size=N)
    told = np.column_stack([y * 0.5 - 1, y * 0.5, y * 0.5 + 1])
    quantiles = (0.1, 0.5, 0.9)
    theirs = np.mean([sk.mean_pinball_loss(y, told[:, i], alpha=q) for i, q in enumerate(quantiles)])
    truth = Levelled.of(y, quantiles)
    assert metrics.get("pinball").value(truth, told) == pytest.approx(theirs)
    assert metrics.get("pinball").value(truth[:10], told[:10]) > 0, "rows taken from it know the quantiles"
    assert coverage(truth, told) == pytest.approx(((y >= told[:, 0]) & (y <= told[:, 2])).mean())

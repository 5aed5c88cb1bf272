"""Metrics agree with scikit-learn, which everybody knows them from."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk

from assay import metrics

RNG = np.random.default_rng(0)
N = 300
WEIGHT = RNG.random(N) + 0.1


def probabilities(k: int) -> tuple[np.ndarray, np.ndarray]:
    y = RNG.integers(0, k, N)
    p = RNG.dirichlet(np.ones(k), N)
    p[np.arange(N), y] += 0.3
    return y, np.round(p / p.sum(1, keepdims=True), 2)  # rounding makes ties


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("roc_auc", lambda y, p, w: sk.roc_auc_score(y, p[:, 1], sample_weight=w)),
        ("average_precision", lambda y, p, w: sk.average_precision_score(y, p[:, 1], sample_weight=w)),
        ("accuracy", lambda y, p, w: sk.accuracy_score(y, p.argmax(1), sample_weight=w)),
        ("balanced_accuracy", lambda y, p, w: sk.balanced_accuracy_score(y, p.argmax(1), sample_weight=w)),
        ("f1", lambda y, p, w: sk.f1_score(y, p.argmax(1), sample_weight=w)),
        ("f1_macro", lambda y, p, w: sk.f1_score(y, p.argmax(1), sample_weight=w, average="macro")),
        ("f1_weighted", lambda y, p, w: sk.f1_score(y, p.argmax(1), sample_weight=w, average="weighted")),
        ("precision", lambda y, p, w: sk.precision_score(y, p.argmax(1), sample_weight=w)),
        ("recall", lambda y, p, w: sk.recall_score(y, p.argmax(1), sample_weight=w)),
        ("matthews_corrcoef", lambda y, p, w: sk.matthews_corrcoef(y, p.argmax(1), sample_weight=w)),
        ("brier_score", lambda y, p, w: sk.brier_score_loss(y, p[:, 1], sample_weight=w)),
    ],
)
def test_binary_metrics_are_those_of_scikit_learn(name: str, theirs: object, weight: np.ndarray | None) -> None:
    y, p = probabilities(2)
    assert metrics.get(name).value(y, p, weight) == pytest.approx(theirs(y, p, weight), abs=1e-9)  # type: ignore[operator]


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_multiclass_metrics_are_those_of_scikit_learn(weight: np.ndarray | None) -> None:
    y, p = probabilities(4)
    p = p / p.sum(1, keepdims=True)
    value = {n: metrics.get(n).value(y, p, weight) for n in ("roc_auc", "log_loss", "f1_macro", "matthews_corrcoef")}
    assert value["log_loss"] == pytest.approx(sk.log_loss(y, p, sample_weight=weight, labels=range(4)))
    assert value["f1_macro"] == pytest.approx(sk.f1_score(y, p.argmax(1), average="macro", sample_weight=weight))
    assert value["matthews_corrcoef"] == pytest.approx(sk.matthews_corrcoef(y, p.argmax(1), sample_weight=weight))
    if weight is None:
        assert value["roc_auc"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr", average="macro"))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("rmse", sk.root_mean_squared_error),
        ("mse", sk.mean_squared_error),
        ("mae", sk.mean_absolute_error),
        ("median_absolute_error", sk.median_absolute_error),
        ("rmsle", sk.root_mean_squared_log_error),
        ("mape", sk.mean_absolute_percentage_error),
        ("r2", sk.r2_score),
        ("explained_variance", sk.explained_variance_score),
        ("max_error", sk.max_error),
    ],
)
def test_regression_metrics_are_those_of_scikit_learn(name: str, theirs: object) -> None:
    y = RNG.random(N) * 10 + 1
    p = y + RNG.normal(0, 0.5, N)
    assert metrics.get(name).value(y, p[:, None]) == pytest.approx(theirs(y, p))  # type: ignore[operator]


def test_a_score_is_higher_is_better_whatever_the_metric() -> None:
    for metric in metrics.METRICS.values():
        assert metric.to_public(metric.to_score(0.25)) == 0.25
        assert (metric.to_score(2.0) > metric.to_score(1.0)) is metric.greater_is_better


def test_an_undefined_metric_is_not_a_number_and_not_an_error() -> None:
    one_class = np.zeros(5, dtype=np.int64)
    p = np.full((5, 2), 0.5)
    assert np.isnan(metrics.get("roc_auc").value(one_class, p))
    assert "roc_auc" not in metrics.all_values("binary", one_class, p)

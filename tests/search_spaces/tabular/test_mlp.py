"""What the nets for tables promise beyond the family suite."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from assay.errors import Diverged
from assay.families import FoldsFamily, Shape, Split, Target
from assay.testing.context import ToyContext
from assay.testing.families import run_graph
from search_spaces.tabular.mlp import MlpConfig
from search_spaces.tabular.mlp import family as mlp
from search_spaces.tabular.realmlp import RealMlpConfig
from search_spaces.tabular.realmlp import family as realmlp
from search_spaces.tabular.tabm import TabmConfig
from search_spaces.tabular.tabm import family as tabm

CONFIGS: list[tuple[FoldsFamily, Any]] = [
    (mlp, MlpConfig(width=32, epochs=16)),
    (realmlp, RealMlpConfig(width=64, epochs=32, batch_size=64)),
    (tabm, TabmConfig(width=64, answers=4, epochs=20)),
]
each_net = pytest.mark.parametrize(("family", "config"), CONFIGS, ids=["mlp", "realmlp", "tabm"])


def make_folds(kind: str, n: int = 240, d: int = 6, k: int = 3) -> list[Split]:
    """k folds; the last one has a column more, as one-hot encoding inside a fold may give it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)).astype(np.float32)
    truth = 2.0 * x[:, 0] + x[:, 1] * x[:, 2]
    y = truth / truth.std() if kind == "regression" else np.digitize(truth, [-1.0, 1.0]).astype(np.int64)
    target = Target("regression") if kind == "regression" else Target("multiclass", 3)
    extra = rng.integers(0, 2, (n, 1)).astype(np.float32)
    folds = []
    for i in range(k):
        held = np.arange(n) % k == i
        columns = np.hstack([x, extra]) if i == k - 1 else x
        folds.append(Split(columns[~held], y[~held], columns[held], y[held], target))
    return folds


def loss(fold: Split, prediction: np.ndarray) -> float:
    if fold.target.is_regression:
        return float(np.mean((prediction[:, 0] - fold.y_valid) ** 2))
    return float(-np.mean(np.log(prediction[np.arange(len(prediction)), fold.y_valid])))


@each_net
@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_folds_of_different_widths_train_together_and_export_exactly(
    family: FoldsFamily, config: Any, kind: str
) -> None:
    folds, ctx = make_folds(kind), ToyContext()
    predictors = family.fit_folds(config, folds, ctx)
    losses = []
    for fold, predictor in zip(folds, predictors, strict=True):
        prediction = predictor.predict(fold.x_valid)
        np.testing.assert_allclose(run_graph(predictor.to_onnx("x"), fold.x_valid), prediction, 1e-5, 1e-5)
        losses.append(loss(fold, prediction))
    assert max(score for _, score in ctx.reports) == pytest.approx(-np.mean(losses), rel=1e-4)
    assert np.mean(losses) < (0.6 if kind == "regression" else 0.9)  # the constant answer: 1.0, and 1.09


@each_net
def test_a_fold_alone_predicts_as_it_does_among_others(family: FoldsFamily, config: Any) -> None:
    folds = make_folds("multiclass")[:2]  # of one width
    together = family.fit_folds(config, folds, ToyContext())
    for fold, predictor in zip(folds, together, strict=True):
        np.testing.assert_array_equal(
            family.fit(config, fold, ToyContext()).predict(fold.x_valid), predictor.predict(fold.x_valid)
        )


@each_net
def test_training_resumed_after_a_stop_ends_where_it_would_have(family: Any, config: Any) -> None:
    folds = make_folds("multiclass")
    whole = family.fit_folds(config, folds, ToyContext())
    part = family.fit_folds(config, folds, ToyContext(stop_at=4))
    rest = family.fit_folds(config, folds, ToyContext(), resume=[p.state() for p in part])
    for fold, a, b in zip(folds, whole, rest, strict=True):
        np.testing.assert_array_equal(a.predict(fold.x_valid), b.predict(fold.x_valid))


@each_net
def test_cost_grows_with_the_table_and_stays_within_reason(family: FoldsFamily, config: Any) -> None:
    small, large = (family.cost(config, Shape(n, 20, 3)) for n in (1_000, 100_000))
    assert 0.001 < small.seconds < 20.0 < 2_000.0 > large.seconds > 10 * small.seconds
    assert small.device_bytes < small.host_bytes < large.host_bytes < 2_000_000_000


def test_one_configuration_serves_classes_and_numbers_with_their_own_losses() -> None:
    config = MlpConfig(width=32, epochs=10, classification_loss="kl", regression_loss="huber", delta=0.5)
    plain = MlpConfig(width=32, epochs=10)
    for kind in ("multiclass", "regression"):
        fold = make_folds(kind)[0]
        other, usual = (mlp.fit(c, fold, ToyContext()).predict(fold.x_valid) for c in (config, plain))
        assert np.abs(other - usual).max() > 1e-4


@pytest.mark.parametrize(
    ("optimizer", "rate"),
    [("sgd", 0.2), ("momentum", 0.05), ("nesterov", 0.05), ("adagrad", 0.05)]
    + [("adam", 5e-3), ("adamw", 5e-3), ("rmsprop", 3e-3)],
)
def test_every_optimizer_learns(optimizer: str, rate: float) -> None:
    fold = make_folds("multiclass")[0]
    config = MlpConfig(
        optimizer, learning_rate=rate, sgd_learning_rate=rate, width=32, dropout=0.0, epochs=40, batch_size=64
    )
    assert loss(fold, mlp.fit(config, fold, ToyContext()).predict(fold.x_valid)) < 0.85  # the class prior: 1.09


def test_a_fold_that_diverges_is_named_with_its_optimizer_and_learning_rate() -> None:
    folds = make_folds("regression")
    folds[1] = dataclasses.replace(folds[1], y=np.where(np.arange(len(folds[1].y)) == 3, np.inf, folds[1].y))
    with pytest.raises(Diverged, match=r"fold 2 of 3.*'sgd' and learning rate 0.5"):
        mlp.fit_folds(MlpConfig("sgd", sgd_learning_rate=0.5), folds, ToyContext())


def test_a_wild_input_cannot_make_the_answer_wild() -> None:
    fold = make_folds("regression")[0]
    predictor = mlp.fit(MlpConfig(width=32, epochs=10), fold, ToyContext())
    wild = np.full((1, 6), 3e38, dtype=np.float32)
    answer = predictor.predict(wild)
    assert fold.y.min() <= answer[0, 0] <= fold.y.max()
    np.testing.assert_allclose(run_graph(predictor.to_onnx("x"), wild), answer, 1e-5, 1e-5)


def test_reports_never_fall_because_the_best_epoch_counts() -> None:
    ctx = ToyContext()
    mlp.fit_folds(MlpConfig(width=32, epochs=30), make_folds("multiclass"), ctx)
    scores = [score for _, score in ctx.reports]
    assert scores == sorted(scores) and scores[0] < scores[-1]

"""Neighbours, distances and ties are exact, at home and in ONNX."""

from __future__ import annotations

import numpy as np
import pytest

from assay.families import Split, Target
from assay.testing.context import ToyContext
from assay.testing.families import run_graph
from search_spaces.tabular import knn
from search_spaces.tabular.knn import KnnConfig, KnnPredictor

METRICS = pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
WEIGHTS = pytest.mark.parametrize("weights", ["uniform", "distance"])


def split(n: int = 300, d: int = 5, *, step: float = 0.0) -> Split:
    """Three classes.  step > 0: values on a coarse lattice, so that most distances are tied."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n + 200, d))
    y = np.digitize(x[:, 0] + 0.5 * rng.normal(size=len(x)), [-0.5, 0.5])
    if step:
        x = np.round(x / step) * step
    x = x.astype(np.float32)
    return Split(x[:n], y[:n], x[n:], y[n:], Target("multiclass", 3))


def fitted(data: Split, **config: object) -> KnnPredictor:
    predictor = knn.family.fit(KnnConfig(**config), data, ToyContext())  # type: ignore[arg-type]
    assert isinstance(predictor, KnnPredictor)
    return predictor


@METRICS
@WEIGHTS
def test_votes_are_those_of_scikit_learn(metric: str, weights: str) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    data = split()
    predictor = fitted(data, k=7, metric=metric, weights=weights)
    grid = data.x_valid[:100]
    x, rows = np.round(data.x * 4096) / 4096, np.round(grid * 4096) / 4096
    if metric == "cosine":  # our distance on the sphere is the chord, which orders rows as the angle does
        x, rows = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, rows))
    plain = KNeighborsClassifier(7, weights=weights, metric="manhattan" if metric == "manhattan" else "euclidean")
    votes = (predictor.predict(grid) - predictor.shrink * predictor.prior) / (1 - predictor.shrink)
    np.testing.assert_allclose(votes, plain.fit(x, data.y).predict_proba(rows), atol=1e-4)


@METRICS
@WEIGHTS
def test_tied_distances_choose_the_same_neighbours_everywhere(metric: str, weights: str) -> None:
    data = split(step=1.0)
    predictor = fitted(data, k=8, metric=metric, weights=weights)
    graph = predictor.to_onnx("x")
    together = predictor.predict(data.x_valid)
    np.testing.assert_allclose(run_graph(graph, data.x_valid), together, atol=1e-6)
    for i in range(20):
        row = data.x_valid[i : i + 1]
        np.testing.assert_allclose(predictor.predict(row), together[i : i + 1], atol=1e-12)
        np.testing.assert_allclose(run_graph(graph, row), together[i : i + 1], atol=1e-6)


def test_of_two_equal_rows_the_earlier_is_the_neighbour() -> None:
    x = np.array([[0.0], [1.0], [1.0], [5.0]], dtype=np.float32)
    data = Split(x, np.array([0, 1, 0, 0]), x, np.array([0, 1, 0, 0]), Target("binary", 2))
    predictor = fitted(data, k=1, weights="uniform")
    assert predictor.predict(x).argmax(axis=1).tolist() == [0, 1, 1, 0]
    assert run_graph(predictor.to_onnx("x"), x).argmax(axis=1).tolist() == [0, 1, 1, 0]


def test_a_row_on_a_training_row_takes_its_answer() -> None:
    data = split()
    predictor = fitted(data, k=5, weights="distance")
    assert (predictor.predict(data.x).argmax(axis=1) == data.y).mean() > 0.99


def test_many_rows_are_thinned_to_the_documented_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knn, "MAX_REFERENCES", 100)
    monkeypatch.setattr(knn, "MAX_MANHATTAN", 50)
    data = split()
    assert len(fitted(data, metric="euclidean").references) == 100
    assert len(fitted(data, metric="manhattan").references) == 50
    assert fitted(data, k=200).k == 100


@METRICS
def test_wide_tables_stay_exact(metric: str) -> None:
    data = split(60, d=9000)
    predictor = fitted(data, k=3, metric=metric)
    np.testing.assert_allclose(
        run_graph(predictor.to_onnx("x"), data.x_valid[:20]), predictor.predict(data.x_valid[:20]), atol=1e-6
    )


def test_weights_multiply_votes() -> None:
    x = np.zeros((3, 1), dtype=np.float32)
    x[2] = 9.0
    data = Split(x, np.array([0, 1, 1]), x, np.array([0, 1, 1]), Target("binary", 2), weight=np.array([3.0, 1.0, 1.0]))
    predictor = fitted(data, k=2, weights="uniform")
    votes = (predictor.predict(x[:1]) - predictor.shrink * predictor.prior) / (1 - predictor.shrink)
    np.testing.assert_allclose(votes, [[0.75, 0.25]])

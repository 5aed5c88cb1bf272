"""Linear models: the right coefficients, a bounded reach, and honesty about solvers that stop short."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pytest

from assay.errors import Diverged
from assay.families import Split, Target
from assay.testing.context import ToyContext
from assay.testing.families import run_graph
from search_spaces.tabular import linear, logistic
from search_spaces.tabular._linear import AffinePredictor, Reach, regression_answer, solve


def regression(n: int = 400) -> Split:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    y = x[:, 0] - 2.0 * x[:, 1] + 0.1 * rng.normal(size=n)
    y = (y - y.mean()) / y.std()
    half = n // 2
    return Split(x[:half], y[:half], x[half:], y[half:], Target("regression"))


def classes(k: int) -> Split:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(600, 6)).astype(np.float32)
    y = np.digitize(x[:, 0] + 0.3 * rng.normal(size=600), np.linspace(-0.7, 0.7, k - 1) if k > 2 else [0.0])
    return Split(x[:300], y[:300], x[300:], y[300:], Target("binary" if k == 2 else "multiclass", k))


def coefficients(data: Split, **config: object) -> np.ndarray:
    predictor = linear.family.fit(linear.LinearConfig(**config), data, ToyContext())  # type: ignore[arg-type]
    assert isinstance(predictor, AffinePredictor)
    return predictor.weight[:, 0]


def test_least_squares_solves_the_normal_equations() -> None:
    data = regression()
    design = np.hstack([data.x, np.ones((len(data.y), 1))])
    expected = np.linalg.lstsq(design, data.y, rcond=None)[0][:-1]
    np.testing.assert_allclose(coefficients(data, method="least_squares"), expected, atol=1e-5)


def test_penalties_shrink_and_the_lasso_selects() -> None:
    data = regression()
    plain = coefficients(data, method="least_squares")
    ridge = coefficients(data, method="ridge", ridge_alpha=1000.0)
    assert np.abs(ridge).sum() < 0.5 * np.abs(plain).sum()
    for method in ("lasso", "elastic_net"):
        chosen = coefficients(data, method=method, alpha=0.1)
        assert (chosen[2:] == 0).all() and (chosen[:2] != 0).all()


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("penalty", ["l2", "l1", "elastic_net"])
def test_logistic_probabilities_are_those_of_scikit_learn(penalty: str, k: int) -> None:
    from sklearn.linear_model import LogisticRegression

    data = classes(k)
    ratio = {"l2": 0.0, "l1": 1.0, "elastic_net": 0.5}[penalty]
    own = logistic.family.fit(logistic.LogisticConfig(penalty=penalty, C=0.5), data, ToyContext()).predict(data.x_valid)
    plain = LogisticRegression(C=0.5, l1_ratio=ratio, solver="saga", tol=1e-6, max_iter=5000).fit(data.x, data.y)
    np.testing.assert_allclose(own, plain.predict_proba(data.x_valid), atol=5e-3)


def test_balanced_weights_raise_the_rare_class() -> None:
    data = classes(2)
    rare = np.flatnonzero(data.y == 1)[20:]
    keep = np.setdiff1d(np.arange(len(data.y)), rare)
    thin = Split(data.x[keep], data.y[keep], data.x_valid, data.y_valid, data.target)
    plain, balanced = (
        logistic.family.fit(logistic.LogisticConfig(class_weight=w), thin, ToyContext()).predict(data.x_valid)
        for w in ("none", "balanced")
    )
    assert balanced[:, 1].mean() > plain[:, 1].mean() + 0.1


def test_a_far_row_gets_the_answer_at_the_edge_of_reach() -> None:
    x = np.array([[0.0], [1.0], [2.0]], dtype=np.float32)
    data = Split(x, np.array([-1.0, 0.0, 1.0]), x, np.array([-1.0, 0.0, 1.0]), Target("regression"))
    predictor = regression_answer(data, np.array([1.0]), -1.0)
    rows = np.array([[3.0], [4.0], [1e9], [-1e30]], dtype=np.float32)
    np.testing.assert_array_equal(predictor.predict(rows)[:, 0], [2.0, 3.0, 3.0, -3.0])
    np.testing.assert_array_equal(run_graph(predictor.to_onnx("x"), rows), predictor.predict(rows))


def test_coefficients_that_are_not_finite_raise_diverged() -> None:
    data = regression()
    with pytest.raises(Diverged, match="not finite"):
        regression_answer(data, np.array([1.0, np.nan, 0, 0, 0, 0]), 0.0)


def test_a_solver_cut_short_is_run_longer_and_then_noted(caplog: pytest.LogCaptureFixture) -> None:
    from sklearn.exceptions import ConvergenceWarning

    tried: list[int] = []

    def never_there(iterations: int) -> str:
        tried.append(iterations)
        warnings.warn("not yet", ConvergenceWarning, stacklevel=1)
        return "model"

    with caplog.at_level(logging.INFO):
        assert solve(never_there, 10, more=lambda seconds: True) == "model"
    assert tried == [10, 40, 160]
    assert "short of convergence" in caplog.text
    tried.clear()
    solve(never_there, 10, more=lambda seconds: False)
    assert tried == [10], "no time for a longer run"


def test_other_warnings_of_a_solver_are_not_swallowed() -> None:
    def odd(iterations: int) -> str:
        warnings.warn("odd", UserWarning, stacklevel=1)
        return "model"

    with pytest.warns(UserWarning, match="odd"):
        solve(odd, 10, more=lambda seconds: True)


def test_reach_is_the_training_range_with_its_margin() -> None:
    reach = Reach.of(np.array([[0.0, 5.0], [2.0, 5.0]], dtype=np.float32), margin=0.5)
    np.testing.assert_array_equal(reach.low, [-1.0, 5.0])
    np.testing.assert_array_equal(reach.high, [3.0, 5.0])

"""Temperature and threshold: learned where they help unseen rows, left alone where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from assay.metrics import METRICS, log_loss
from assay.model.calibrate import (
    fit_exponents,
    fit_factors,
    fit_temperature,
    fit_threshold,
    likely_temperature,
)
from assay.model.compose import combine, decide


def sample(n: int, sharpness: float, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Codes of three classes with probabilities that are `sharpness` times too sure."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, 3)) + np.array([shift, 0.0, 0.0])
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = np.array([rng.choice(3, p=p) for p in true])
    told = true**sharpness
    return y, told / told.sum(1, keepdims=True)


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_the_temperature_undoes_a_wrong_sharpness(sharpness: float) -> None:
    y, p = sample(3000, sharpness)
    t = fit_temperature(y, p)
    assert t == pytest.approx(sharpness, rel=0.12)
    fresh_y, fresh = sample(3000, sharpness, seed=1)
    assert log_loss(fresh_y, combine([fresh], [1.0], 3, t)) < log_loss(fresh_y, fresh) - 0.01


def test_right_probabilities_and_few_rows_are_left_alone() -> None:
    assert fit_temperature(*sample(2000, 1.0)) == pytest.approx(1.0, abs=0.08)
    assert fit_temperature(*sample(100, 3.0)) == 1.0


def rare(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, one in ten, with right probabilities."""
    rng = np.random.default_rng(seed)
    logit = 1.5 * rng.normal(size=n) - 3.0
    p = 1 / (1 + np.exp(-logit))
    return (rng.random(n) < p).astype(np.int64), np.column_stack([1 - p, p])


@pytest.mark.parametrize("name", ["f1", "balanced_accuracy", "matthews_corrcoef"])
def test_a_threshold_for_a_rare_class_helps_on_unseen_rows(name: str) -> None:
    metric = METRICS[name]
    y, p = rare(4000, 0)
    threshold = fit_threshold(y, p, metric)
    assert threshold is not None and threshold < 0.4
    fresh_y, fresh = rare(4000, 1)
    hard = np.eye(2)[(fresh[:, 1] >= threshold).astype(int)]
    assert metric.score(fresh_y, hard) > metric.score(fresh_y, fresh) + 0.02


def test_no_threshold_where_it_says_nothing() -> None:
    y, p = rare(4000, 0)
    assert fit_threshold(y, p, METRICS["roc_auc"]) is None
    assert fit_threshold(y, p, METRICS["accuracy"]) is None  # right probabilities: a half is best
    assert fit_threshold(y[:100], p[:100], METRICS["f1"]) is None
    assert fit_threshold(*sample(1000, 1.0), METRICS["f1_macro"]) is None  # three classes


def halves(n: int, independent: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Two members that each know one half of the evidence (then their product is right), or the same of it."""
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, n))
    z = 1.5 * (a + b) if independent else 3.0 * a
    y = (rng.random(n) < 1 / (1 + np.exp(-z))).astype(np.int64)
    parts = [1 / (1 + np.exp(-1.5 * v)) if independent else 1 / (1 + np.exp(-z)) for v in (a, b)]
    return y, [np.column_stack([1 - p, p]) for p in parts]


def test_members_that_know_different_things_are_multiplied() -> None:
    y, predictions = halves(6000, independent=True)
    exponents = fit_exponents(y[:3000], [p[:3000] for p in predictions], [0.5, 0.5], 1.0, METRICS["log_loss"])
    assert exponents is not None and np.all(exponents > 0.8)
    new = [p[3000:] for p in predictions]
    stacked, mean = (combine(new, [0.5, 0.5], 2, exponents=e) for e in (exponents, None))
    assert log_loss(y[3000:], stacked) < 0.95 * log_loss(y[3000:], mean)


def test_members_that_agree_and_few_rows_keep_their_mean() -> None:
    y, predictions = halves(6000, independent=False)
    assert fit_exponents(y, predictions, [0.5, 0.5], 1.0, METRICS["log_loss"]) is None
    y, predictions = halves(500, independent=True)
    assert fit_exponents(y, predictions, [0.5, 0.5], 1.0, METRICS["log_loss"]) is None


@pytest.mark.parametrize("name", ["balanced_accuracy", "f1_macro"])
def test_factors_for_rare_classes_help_on_unseen_rows(name: str) -> None:
    metric = METRICS[name]
    y, p = sample(3000, 1.0, shift=3.0)
    factors = fit_factors(y, p, metric)
    assert factors is not None and factors[0] == min(factors), "the frequent class is held back"
    fresh_y, fresh = sample(3000, 1.0, seed=1, shift=3.0)
    assert metric.score(fresh_y, np.eye(3)[decide(fresh, factors)]) > metric.score(fresh_y, fresh) + 0.01


def test_no_factors_where_they_say_nothing() -> None:
    y, p = sample(3000, 1.0, shift=3.0)
    assert fit_factors(y, p, METRICS["log_loss"]) is None
    assert fit_factors(y[:100], p[:100], METRICS["f1_macro"]) is None


def doubtful(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Always right, but as doubtful as smoothed targets make a net."""
    y = np.arange(n) % 3
    p = np.full((n, 3), 0.1)
    p[np.arange(n), y] = 0.8
    return y, p


def test_a_net_that_doubts_what_it_knows_is_sharpened_the_more_rows_say_so() -> None:
    few, many = likely_temperature(*doubtful(9)), likely_temperature(*doubtful(900))
    assert 0.4 <= many < 0.5 < few < 0.95


def test_a_fair_net_is_left_nearly_as_it_is_and_a_boastful_one_tamed() -> None:
    assert likely_temperature(*sample(2000, 1.0)) == pytest.approx(1.0, abs=0.08)
    assert likely_temperature(*sample(2000, 2.0)) == pytest.approx(2.0, abs=0.25)
    assert likely_temperature(np.zeros(0, np.int64), np.zeros((0, 3))) == 1.0

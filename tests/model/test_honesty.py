"""Intervals: of a metric over test parts, of a truth around its prediction."""

from __future__ import annotations

import numpy as np
import pytest

from assay.metrics import METRICS
from assay.model import honesty
from assay.model.honesty import LEVEL, conformal_width, metric_interval


def test_the_metrics_interval_holds_its_value_and_narrows_with_more_rows() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (100, 10_000):
        p = rng.random(n)
        y = (rng.random(n) < p).astype(np.int64)
        prediction = np.column_stack([1 - p, p])
        found = metric_interval(METRICS["log_loss"], y, prediction, None, rng)
        assert found is not None
        assert found[0] < METRICS["log_loss"].value(y, prediction) < found[1]
        widths.append(found[1] - found[0])
    assert widths[1] < widths[0] / 5
    assert sum(found) / 2 == pytest.approx(0.5, abs=0.02)  # the log-loss of right probabilities drawn evenly


def test_so_many_truths_lie_within_the_conformal_width() -> None:
    rng = np.random.default_rng(1)
    y = rng.standard_t(3, size=2000)
    guess = y + rng.standard_t(3, size=2000)
    width = conformal_width(y[:1000], guess[:1000, None])
    assert width is not None
    inside = np.abs(y[1000:] - guess[1000:]) <= width
    assert inside.mean() == pytest.approx(LEVEL, abs=0.03)


def test_draws_of_some_of_the_rows_tell_as_much_as_draws_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=9000)
    guess = (y + rng.normal(size=9000))[:, None]
    some = metric_interval(METRICS["rmse"], y, guess, None, np.random.default_rng(0))
    monkeypatch.setattr(honesty, "MOST_ROWS", 10_000)
    whole = metric_interval(METRICS["rmse"], y, guess, None, np.random.default_rng(0))
    assert some is not None and whole is not None and some != whole
    assert some[1] - some[0] == pytest.approx(whole[1] - whole[0], rel=0.2)
    assert sum(some) == pytest.approx(sum(whole), rel=0.01)


def test_few_rows_promise_nothing() -> None:
    y = np.arange(10.0)
    assert conformal_width(y, y[:, None]) is None
    assert metric_interval(METRICS["rmse"], y, y[:, None], None, np.random.default_rng(0)) is None

"""Which trials make the ensemble: defaults of families unless a searched configuration leads clearly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assay.data.profile import profile
from assay.data.table import ColumnType, Table, Words
from assay.forecasting.blend import Blend
from assay.forecasting.deliver import champions, weigh
from assay.forecasting.problem import ForecastProblem, prepare
from assay.model.deliver import Source
from assay.model.graph import Port, Scope, encode
from assay.spec import Budget, JobSpec, TaskSpec, resolve


def test_a_family_is_stood_for_by_its_default_unless_another_configuration_leads_clearly() -> None:
    families, numbers = ["ets", "ets", "theta", "theta"], [7, 2, 3, 9]
    scores = np.array([-0.95, -1.0, -1.0, -0.7])
    assert champions(families, numbers, scores, 0.1) == {"ets": 1, "theta": 3}
    assert champions(families, numbers, scores, 0.0) == {"ets": 0, "theta": 3}


def problem(n: int) -> ForecastProblem:
    rng = np.random.default_rng(0)
    months = np.datetime64("2000-01") + np.arange(n)
    table = Table(
        {"m": Words.of([f"{m}-01" for m in months]), "y": np.cumsum(rng.normal(size=n))},
        {"m": ColumnType.DATETIME, "y": ColumnType.NUMBER},
    )
    spec = JobSpec(TaskSpec("forecasting", target="y", time_column="m", horizon=3), limits=Budget(trials=1))
    return prepare(table, resolve(spec, profile(table)))


def weights(n: int, errors: dict[str, float], more: int = 0) -> dict[str, float]:
    """Of families whose backtests are off by so many parts of one pattern; `more` lucky variants of the last one."""
    p = problem(n)
    y = p.actual(np.concatenate([c.windows for c in p.cuts])).y
    pattern = np.random.default_rng(1).normal(size=y.shape)
    luck = np.random.default_rng(2)
    found = [(Source(i, name, 0.0, Path()), y + e * pattern) for i, (name, e) in enumerate(errors.items())]
    found += [
        (Source(10 + i, found[-1][0].family, 0.0, Path()), found[-1][1] + 0.3 * luck.normal(size=y.shape))
        for i in range(more)
    ]
    told: dict[str, float] = {}
    for (source, _), w in zip(found, weigh(p, found, float("inf")).total, strict=True):
        told[source.family] = told.get(source.family, 0.0) + float(w)
    return told


def test_few_windows_leave_most_weight_with_families_that_are_good_on_any_series() -> None:
    few, many = (weights(n, {"theta": 1.0, "arima": 1.0, "lagged_linear": 0.95}) for n in (20, 900))
    assert few["theta"] + few["arima"] > 0.55
    assert many["lagged_linear"] > few["lagged_linear"]


def test_a_hopeless_family_has_no_weight() -> None:
    assert weights(60, {"theta": 1.0, "arima": 5.0})["arima"] == 0.0


def test_many_configurations_of_a_family_do_not_outvote_the_others() -> None:
    assert weights(40, {"theta": 1.0, "lagged_linear": 1.2}, more=30)["theta"] > 0.5


def test_of_few_windows_the_median_of_trusted_families_keeps_one_that_is_far_off_from_deciding() -> None:
    p = problem(30)
    y = p.actual(np.concatenate([c.windows for c in p.cuts])).y
    pattern = np.random.default_rng(1).normal(size=y.shape)
    errors = {"ets": 1.0, "arima": -1.0, "theta": 1.4}
    found = [(Source(i, n, 0.0, Path()), y + e * pattern) for i, (n, e) in enumerate(errors.items())]
    blend = weigh(p, found, float("inf"))
    assert len(blend.middle) == 3 and 0.3 < blend.share < 0.5
    near, far = (blend.of([np.zeros((1, 3)), np.zeros((1, 3)), np.full((1, 3), v)]) for v in (1.0, 100.0))
    assert far[0, 0] / near[0, 0] == pytest.approx(100.0) and near[0, 0] < 0.3  # through the mean alone


@pytest.mark.parametrize("m", [3, 4])
def test_the_graph_of_a_blend_answers_like_it(m: int) -> None:
    import onnxruntime

    rng = np.random.default_rng(0)
    points = [rng.normal(size=(5, 2)).astype(np.float32) for _ in range(m + 1)]
    weights = rng.random(m + 1)
    weights[1] = 0.0
    blend = Blend(weights / weights.sum(), tuple(range(m)), 0.4)
    scope = Scope()
    graph = scope.graph(blend.emit(scope, [f"p{i}" for i in range(m + 1)]))
    ports = [Port(f"p{i}", "float32", [None, 2]) for i in range(m + 1)]
    onnx = encode(graph.renamed({graph.output: "y"}), ports, [Port("y", "float32", [None, 2])])
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    answered = session.run(None, {f"p{i}": p for i, p in enumerate(points)})[0]
    np.testing.assert_allclose(answered, blend.of(points), atol=1e-6)
    assert blend.total.sum() == pytest.approx(1.0)


def test_a_lucky_configuration_does_not_take_the_place_of_a_trusted_default_but_one_that_is_always_better_does() -> (
    None
):
    def champion(n: int, always: bool) -> int:
        p = problem(n)
        y = p.actual(np.concatenate([c.windows for c in p.cuts])).y
        pattern = np.random.default_rng(1).normal(size=y.shape)
        gain = np.full(len(y), 0.3) if always else np.eye(len(y))[0] * 0.9
        found = [(Source(0, "arima", 0.0, Path()), y + pattern)]
        found.append((Source(1, "arima", 0.0, Path()), y + (1 - gain)[:, None] * pattern))
        return int(weigh(p, found, float("inf")).total.argmax())

    assert champion(30, always=False) == 0
    assert champion(900, always=True) == 1

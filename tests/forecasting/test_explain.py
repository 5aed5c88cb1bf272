"""Which values made a forecast, and where a net attends, asked of a composed graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from assay.data.table import ColumnType, Table, Words
from assay.forecasting.blend import Blend
from assay.forecasting.compose import encoded, forecast_graph
from assay.forecasting.explain import explain
from search_spaces.forecasting._maps import Maps, probe
from search_spaces.forecasting._nets import NetWindows
from search_spaces.forecasting._windows import Frame

WIDTH, HORIZON = 16, 3
LAST = probe(lambda x: np.repeat(x[:, -1:], HORIZON, axis=1), WIDTH)


def facts() -> dict[str, Any]:
    calendar = {"name": "monthly", "unit": "months", "step": 1, "origin": 2020 * 12, "day": 1, "clock": 0}
    window = [float(v) for v in np.arange(WIDTH) ** 1.5]
    return {
        "layout": {"time": "m", "targets": ["y"], "group": None}, "calendar": calendar, "horizon": HORIZON,
        "width": WIDTH, "season_lengths": [1], "levels": [0.1, 0.5, 0.9],
        "series": [{"name": "", "next": WIDTH, "window": window}],
    }  # fmt: skip


def run_of(graphs: list[Any]) -> Any:
    offsets = np.zeros((HORIZON, 3))
    graph = forecast_graph(graphs, Blend(np.full(len(graphs), 1 / len(graphs))), offsets, 1, WIDTH, WIDTH, False)
    session = onnxruntime.InferenceSession(encoded(graph, WIDTH, HORIZON, 3, {}), providers=["CPUExecutionProvider"])
    return lambda wanted, inputs: session.run(wanted, inputs)


def no_rows() -> Table:
    return Table({"m": Words.of([]), "y": np.empty(0)}, {"m": ColumnType.DATETIME, "y": ColumnType.NUMBER})


def test_contributions_belong_to_the_values_the_forecast_is_made_of() -> None:
    (found,) = explain(no_rows(), facts(), False, run_of([Maps([LAST]).to_onnx("x")]))
    window = facts()["series"][0]["window"]
    assert found.contributions["2021-04-01"] == pytest.approx(window[-1] - window[-2], rel=1e-4)
    assert max(abs(v) for s, v in found.contributions.items() if s != "2021-04-01") < 1e-4
    assert found.base == pytest.approx(np.mean(window), rel=1e-5)
    assert found.attention is None


def test_a_member_that_attends_tells_where() -> None:
    import torch

    from assay.nn.forecasters import PatchForecaster

    torch.manual_seed(0)
    net = PatchForecaster(12, HORIZON, WIDTH, 4, 16, 1, 1, 0.0).eval()
    torch.nn.init.normal_(net.score.weight)
    member = NetWindows(Frame(12, 1, HORIZON, "last"), net, 1 + WIDTH)
    (found,) = explain(no_rows(), facts(), True, run_of([Maps([LAST]).to_onnx("x"), member.to_onnx("x")]))
    assert found.attention is not None
    steps = found.attention["steps"]
    assert len(steps) == 12 and steps[-1].token == "2021-04-01"
    assert sum(s.weight for s in steps) == pytest.approx(1, abs=1e-5)
    assert len({round(s.weight, 6) for s in steps}) == 3

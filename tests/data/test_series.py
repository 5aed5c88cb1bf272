from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from assay.data.longform import gathered, places
from assay.data.series import GRID, REACH, SeriesRecipe
from assay.data.table import ColumnType, Table, Words
from assay.errors import DataError
from assay.families import Target
from assay.model.graph import Port, encode
from assay.testing.toy_series import channel_table, toy_series, wide_table

TARGET = Target("multiclass", 3, "log_loss")


def with_gaps(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x[0] = np.nan
    x[1, :, :4] = np.nan
    x[2, :, 20:] = np.nan
    x[3, 0, 5] = 1e300
    x[4, 0, 7] = np.inf
    return x


@pytest.mark.parametrize("length", ["hold", "stretch"])
@pytest.mark.parametrize("scale", ["rows", "series"])
@pytest.mark.parametrize("form", ["wide", "long"])
def test_the_graph_prepares_series_exactly_as_numpy_does(form: str, scale: str, length: str) -> None:
    x, y = toy_series(3, 40, n_channels=1 if form == "wide" else 2)
    table = wide_table(with_gaps(x)[:, 0]) if form == "wide" else channel_table(with_gaps(x))
    preparation, prepared = SeriesRecipe(scale, length).fit(table, y, TARGET, 0)
    graph = preparation.to_onnx({n: n for n in table.names})
    width = 1 if form == "wide" else x.shape[2]
    model = encode(
        graph,
        [Port(n, "float32", ["N", width]) for n in table.names],
        [Port(graph.output, "float32", ["N", None, None])],
    )
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    with np.errstate(over="ignore"):
        feeds = {n: np.asarray(c, np.float32).reshape(len(table), width) for n, c in table.columns.items()}
    np.testing.assert_array_equal(session.run(None, feeds)[0], prepared)
    assert np.isfinite(prepared).all() and np.abs(prepared).max() <= REACH
    np.testing.assert_array_equal(prepared / GRID, np.round(prepared / GRID))


def test_gaps_are_closed_on_a_straight_line_and_ends_are_held() -> None:
    rows = np.array([[np.nan, 1.0, np.nan, 3.0, np.nan], [0.0, 2.0, 4.0, 1.0, 3.0]])
    preparation, x = SeriesRecipe().fit(wide_table(rows), np.array([0, 1]), TARGET, 0)
    shown = x[0, 0] / preparation.factor + preparation.mean
    np.testing.assert_allclose(shown, [1, 1, 2, 3, 3], atol=1e-3)


def test_points_of_a_series_are_put_in_the_order_of_time() -> None:
    table = Table(
        {
            "id": Words.of(["b", "a", "b", "a", "b"]),
            "t": np.array([3.0, 2.0, 1.0, 1.0, 2.0]),
            "x": np.array([30.0, 20.0, 10.0, 1.0, np.nan]),
        },
        {"id": ColumnType.ID, "t": ColumnType.INTEGER, "x": ColumnType.NUMBER},
    )
    found = gathered(table, "id", "t", ["x"])
    assert found.words("id").values().tolist() == ["b", "a"]
    np.testing.assert_array_equal(found.columns["x"], [[10.0, np.nan, 30.0], [1.0, 20.0, np.nan]])


def test_a_point_without_a_series_is_refused_with_its_row() -> None:
    table = Table({"id": Words.of(["a", None]), "x": np.zeros(2)}, {"id": ColumnType.ID, "x": ColumnType.NUMBER})
    with pytest.raises(DataError, match="row 2 has no value in 'id'"):
        places(table, "id", None)

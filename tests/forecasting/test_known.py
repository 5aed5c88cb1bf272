"""Columns whose future is known: what they do to a series, in training, in the graph and for who asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import assay
from assay.data.table import ColumnType, Table, Words
from assay.errors import DataError, SpecError
from assay.forecasting.known import Effects, fit_effects
from assay.forecasting.panel import Layout, Series, continued, read_panel
from assay.model.graph import Node, Port, Scope, encode

HORIZON = 6


def walk(seed: int, n: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """(values (n,), known (n, 2)): a random walk with an effect of 5 of the first column and of none of the second."""
    rng = np.random.default_rng(seed)
    known = np.column_stack([rng.normal(size=n), rng.normal(size=n)])
    return 100 + np.cumsum(rng.normal(size=n)) + 5 * known[:, 0], known


def test_effects_are_found_beneath_a_random_walk() -> None:
    y, known = walk(0)
    effects = fit_effects([y], [known], 1, [1.0])
    assert effects.table[0] == pytest.approx([5, 0], abs=0.4)
    assert effects.of(known, 0) == pytest.approx(5 * (known[:, 0] - known[:, 0].mean()), abs=2.0)


def test_a_column_that_only_grows_alike_has_no_effect() -> None:
    rng = np.random.default_rng(1)
    y, other = (np.cumsum(0.5 + rng.normal(size=200)) for _ in range(2))
    assert np.abs(fit_effects([y], [other[:, None]], 1, [1.0]).table[0]) < 0.2


def test_short_series_share_their_effects_in_units_of_their_own() -> None:
    parts = [walk(s, 12) for s in range(30)]
    scales = [10.0 ** (s % 3) for s in range(30)]
    found = fit_effects([y * s for (y, _), s in zip(parts, scales, strict=True)], [k for _, k in parts], 4, scales)
    assert found.table[:3, 0] / np.array(scales[:3]) == pytest.approx([5, 5, 5], abs=0.5)


def test_the_nodes_answer_like_numpy_for_known_and_unknown_series() -> None:
    import onnxruntime

    rng = np.random.default_rng(2)
    effects = Effects(rng.normal(size=3), rng.normal(size=(3, 3)))
    known, code = rng.normal(size=(4, 7, 3)), np.array([0, 1, -1, 9])
    scale = np.array([1.0, 2.0, 3.0, 4.0])
    scope = Scope()
    scope.nodes.append(Node("Identity", (effects.emit(scope, "known", "code", "scale"),), ("y",), {}))
    inputs = [
        Port("known", "float32", [None, 7, 3]),
        Port("code", "int64", [None]),
        Port("scale", "float32", [None, 1]),
    ]
    session = onnxruntime.InferenceSession(encode(scope.graph("y"), inputs, [Port("y", "float32", [None, 7])]))
    feeds = {"known": known.astype(np.float32), "code": code, "scale": scale[:, None].astype(np.float32)}
    np.testing.assert_allclose(session.run(None, feeds)[0], effects.in_windows(known, code, scale), atol=1e-4)


def test_rows_without_a_value_are_the_future_and_follow_what_is_kept() -> None:
    stamps = [f"2024-01-{d:02d}" for d in range(1, 9)]
    table = Table(
        {"t": Words.of(stamps), "y": np.array([1.0, 2, 3, 4, 5] + [np.nan] * 3), "p": np.arange(8.0)},
        {"t": ColumnType.DATETIME, "y": ColumnType.NUMBER, "p": ColumnType.NUMBER},
    )
    panel = read_panel(table, Layout("t", ("y",), None, ("p",)))
    (series,) = panel.series
    assert (len(series.values), series.beside[:, 0].tolist()) == (5, list(range(8)))
    kept = {"name": "", "next": 5, "window": [3.0, 4, 5], "beside": [[2.0], [3], [4], [np.nan]]}
    joined = continued(Series("", 5, np.empty(0), np.array([[5.0], [6]])), kept)
    assert (joined.first, joined.values.tolist()) == (2, [3, 4, 5])
    assert joined.beside[:, 0].tolist() == [2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def model() -> assay.Model:
    y, known = walk(3)
    return assay.fit(
        frame(y[:-HORIZON], known[:-HORIZON]), "y", task="forecasting", time_column="day", horizon=HORIZON,
        known_covariates=["price", "noise"], families=["seasonal_naive", "ets"], trials=2,
    )  # fmt: skip


def frame(y: np.ndarray, known: np.ndarray, first: int = 0) -> Table:
    days = [str(np.datetime64("2024-01-01") + first + i) for i in range(len(known))]
    columns = {"day": Words.of(days), "y": np.asarray(y, float), "price": known[:, 0], "noise": known[:, 1]}
    return Table(columns, {"day": ColumnType.DATETIME, **dict.fromkeys(("y", "price", "noise"), ColumnType.NUMBER)})


def ahead(known: np.ndarray, first: int) -> list[dict[str, object]]:
    days = [str(np.datetime64("2024-01-01") + first + i) for i in range(len(known))]
    return [{"day": d, "price": float(k[0]), "noise": float(k[1])} for d, k in zip(days, known, strict=True)]


def test_forecasts_follow_what_is_known_of_the_future(model: assay.Model) -> None:
    y, known = walk(3)
    n = len(y) - HORIZON
    found = np.array(model.predict(ahead(known[n:], n)), float)
    flat = np.full(HORIZON, y[n - 1] - 5 * known[n - 1, 0])  # the walk's last level
    assert np.abs(found - flat - 5 * known[n:, 0]).mean() < 1.5
    assert np.corrcoef(found, known[n:, 0])[0, 1] > 0.95
    rows = [{**r, "y": float(v)} for r, v in zip(ahead(known[:n], 0), y, strict=False)] + ahead(known[n:], n)
    np.testing.assert_allclose(model.predict(rows), found, rtol=1e-5)


def test_a_forecast_without_what_must_be_known_is_refused(model: assay.Model) -> None:
    _, known = walk(3)
    with pytest.raises(DataError, match="'price' has no number at 2024-05-24.*all 6 steps"):
        model.predict([])
    with pytest.raises(DataError, match="no number at 2024-05-27"):
        model.predict(ahead(known[-6:-3], len(known) - HORIZON))


def test_a_model_explains_by_the_columns_ahead(model: assay.Model) -> None:
    from assay.tasks import discover

    _, known = walk(3)
    table, _ = model.read(ahead(known[-6:] + 3, len(known) - HORIZON))
    (told,) = discover()["forecasting"].explain(model, table)
    assert told.contributions["price ahead"] > 5
    assert abs(told.contributions["noise ahead"]) < 2


def test_predict_py_forecasts_with_known_columns(model: assay.Model, tmp_path: Path) -> None:
    import csv
    import subprocess
    import sys
    import zipfile

    _, known = walk(3)
    rows = ahead(known[-6:], len(known) - HORIZON)
    with zipfile.ZipFile(model.save(tmp_path / "model.zip")) as bundle:
        bundle.extractall(tmp_path / "m")
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, list(rows[0]))
        out.writeheader()
        out.writerows(rows)
    told = subprocess.run(
        [sys.executable, "predict.py", "../rows.csv"], cwd=tmp_path / "m", capture_output=True, text=True, check=True
    ).stdout
    found = [float(r["prediction"]) for r in csv.DictReader(told.splitlines())]
    np.testing.assert_allclose(found, model.predict(rows), rtol=1e-5)


def test_known_columns_hold_numbers_and_have_no_other_role() -> None:
    y, known = walk(3)
    with pytest.raises(SpecError, match="another role"):
        assay.fit(frame(y, known), "y", task="forecasting", known_covariates=["day"], trials=1)
    table = frame(y, known)
    words = Table(
        {**table.columns, "price": Words.of(["low", "high"] * 75)}, {**table.types, "price": ColumnType.CATEGORY}
    )
    with pytest.raises(SpecError, match="hold numbers"):
        assay.fit(words, "y", task="forecasting", known_covariates=["price"], trials=1)

"""Rows become parts and come back: atoms, gaps, grids, dates and rare words."""

from __future__ import annotations

import numpy as np

from assay.data.table import ColumnType, Table, Words
from assay.generation.columns import KNOTS, MAX_LEVELS, RowCoder, fit_rows
from assay.generation.draw import read
from assay.model.graph import Port, Scope, encode


def table(n: int = 600) -> Table:
    rng = np.random.default_rng(0)
    gain = np.where(rng.random(n) < 0.7, 0.0, np.round(rng.lognormal(5, 1, n), 2))
    gain[::9] = np.nan
    weight = 25.0 * rng.integers(100, 240, n)
    rooms = rng.integers(1, 6, n).astype(float)
    town = np.array([f"town {k}" for k in np.minimum(rng.geometric(0.03, n), 150)], dtype=object)
    when = [f"{np.datetime64('2021-05-01') + int(d)} 00:00:00" for d in rng.integers(0, 400, n)]
    columns = {
        "gain": gain, "weight": weight, "rooms": rooms, "town": Words.of(list(town)), "since": Words.of(when),
        "flag": Words.of(["yes"] * n),
    }  # fmt: skip
    kinds = ("number", "integer", "integer", "category", "datetime", "constant")
    return Table(columns, {name: ColumnType(k) for name, k in zip(columns, kinds, strict=True)})


def through_the_graph(coder: RowCoder, rows: Table, raw: bool = False) -> dict[str, np.ndarray]:
    """Rows encoded, and decoded by the graph that delivered generators end with."""
    import onnxruntime

    parts = coder.encode(rows)
    scope = Scope()
    p, q = parts.codes.shape[1], parts.scores.shape[1]
    codes = [
        scope.add("Squeeze", scope.add("Slice", "codes", scope.const([j]), scope.const([j + 1]), scope.const([1])), scope.const([1]))
        for j in range(p)
    ]  # fmt: skip
    columns = coder.emit(scope, codes, "numbers", "uniform", raw)
    ports = {
        c.name: Port(
            columns[c.name], "string" if c.form == "word" else "float32", ["N"] if c.form == "word" else ["N", 1]
        )
        for c in coder.columns
    }
    inputs = [
        Port("codes", "int64", ["N", p]),
        Port("numbers", "float32", ["N", q]),
        Port("uniform", "float32", ["N", coder.n_uniform]),
    ]
    onnx = encode(scope.graph(columns[coder.columns[0].name]), inputs, list(ports.values()))
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    numbers = np.nan_to_num(parts.values).astype(np.float32) if raw else parts.scores
    uniform = np.random.default_rng(1).random((len(rows), coder.n_uniform), np.float32)
    answer = session.run(
        [p.name for p in ports.values()], {"codes": parts.codes, "numbers": numbers, "uniform": uniform}
    )
    return {c.name: read(v, c.to_json()) for c, v in zip(coder.columns, answer, strict=True)}


def test_atoms_gaps_and_frequent_words_come_back_exactly() -> None:
    rows = table()
    coder = fit_rows(rows)
    back = through_the_graph(coder, rows)
    gain = rows.numbers("gain")
    np.testing.assert_array_equal(np.isnan(back["gain"]), np.isnan(gain))
    np.testing.assert_array_equal(back["gain"] == 0, gain == 0)
    np.testing.assert_array_equal(back["rooms"], rows.numbers("rooms"))
    np.testing.assert_array_equal(back["flag"], "yes")
    town = next(c for c in coder.columns if c.name == "town")
    assert town.n_words == MAX_LEVELS - 1 < len(town.words)
    written = rows.words("town").values()
    frequent = np.isin(written, town.words[: town.n_words])
    np.testing.assert_array_equal(back["town"][frequent], written[frequent])
    assert set(back["town"][~frequent]) <= set(town.words[town.n_words :])


def test_numbers_and_dates_come_back_near_and_on_their_grid() -> None:
    rows = table()
    coder = fit_rows(rows)
    back = through_the_graph(coder, rows)
    weight = rows.numbers("weight")
    assert (back["weight"] % 25 == 0).all()
    assert np.abs(back["weight"] - weight).max() <= 100
    assert back["weight"].min() == weight.min() and back["weight"].max() == weight.max()
    given = np.array([np.datetime64(t[:10]) for t in rows.words("since").values()])
    made = np.array([np.datetime64(t[:10]) for t in back["since"]])
    assert np.abs((given - made).astype(int)).max() <= 10
    known = rows.numbers("gain") > 0
    assert (np.round(back["gain"][known], 2) == back["gain"][known]).all()


def test_values_in_their_own_unit_pass_with_their_range_kept() -> None:
    rows = table()
    coder = fit_rows(rows)
    back = through_the_graph(coder, rows, raw=True)
    np.testing.assert_allclose(back["weight"], rows.numbers("weight"))


def test_the_target_comes_first_and_is_a_condition_when_it_has_few_values() -> None:
    coder = fit_rows(table(), "rooms")
    assert coder.columns[0].name == "rooms" and coder.layout.target == 0
    assert list(coder.conditions()) == ["1", "2", "3", "4", "5"]
    assert fit_rows(table(), "weight").layout.target is None


def test_rows_with_words_and_gaps_never_seen_are_encoded_all_the_same() -> None:
    rows = table()
    odd = Table(
        {**rows.columns, "town": Words.of(["Atlantis"] * len(rows)), "weight": np.full(len(rows), np.nan)}, rows.types
    )
    coder = fit_rows(rows)
    parts = coder.encode(odd)
    assert all((parts.codes[:, j] < k).all() for j, k in enumerate(coder.layout.sizes)) and (parts.codes >= 0).all()
    assert np.isfinite(parts.scores).all()


def test_scores_of_a_column_are_normal_by_rank() -> None:
    values = np.random.default_rng(0).lognormal(0, 2, 5000)
    coder = fit_rows(Table({"x": values, "y": -values}, dict.fromkeys("xy", ColumnType.NUMBER)))
    scores = coder.encode(Table({"x": values, "y": -values}, dict.fromkeys("xy", ColumnType.NUMBER))).scores
    assert abs(scores.mean()) < 0.02 and abs(scores.std() - 1) < 0.03
    np.testing.assert_allclose(scores[:, 0], -scores[:, 1], atol=7 / KNOTS)


def test_values_of_an_odd_grid_come_back_to_the_last_digit() -> None:
    """Standardised whole numbers: no decimal grid, more digits than float32 holds, some never seen."""
    rng = np.random.default_rng(0)
    whole = np.round(rng.normal(40, 60, 300))
    odd = (whole - 40.3) / 211.7
    once = rng.normal(size=300)
    columns = {"odd": odd, "once": once}
    coder = fit_rows(Table(columns, dict.fromkeys(columns, ColumnType.NUMBER)))
    told = {c.name: c.to_json() for c in coder.columns}
    assert told["once"]["values"] is None
    values = np.array(told["odd"]["values"])
    assert set(odd) <= set(values)
    np.testing.assert_allclose(np.diff(values), 1 / 211.7, rtol=1e-6)
    back = read(odd.astype(np.float32)[:, None] + np.float32(1e-4), told["odd"])
    np.testing.assert_array_equal(back, odd)
    assert np.isnan(read(np.array([[np.nan]], np.float32), told["odd"])[0])

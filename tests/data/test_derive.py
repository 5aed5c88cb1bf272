"""Derived columns: found where they help, the same in the graph, honest on training rows; noise is left out."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from assay.data.derive import crossed
from assay.data.prepare import Preparation, Recipe, fit
from assay.data.table import ColumnType, Table, Words
from assay.families import Target
from assay.model.compose import RAW, Delivered, model_bytes
from assay.model.gate import raw_feeds, synthetic_rows

N = 600
DERIVED = Recipe(derived=True)


def toy(seed: int = 0) -> tuple[Table, np.ndarray]:
    """y is told by a ratio, by a pair of categories, and by a number within its group."""
    rng = np.random.default_rng(seed)
    price, area, level = np.exp(rng.normal(size=N)), np.exp(rng.normal(size=N)), rng.normal(size=N)
    left, right, group = (rng.integers(0, k, N) for k in (4, 4, 30))
    base = rng.normal(size=30)[group] * 5
    y = np.sin(3 * np.log(price / area)) * 2 + ((left + right) % 2) * 2.0 + level + rng.normal(size=N) * 0.2
    columns = {
        "price": price,
        "area": area,
        "reading": level + base,
        "left": Words.of([f"l{v}" for v in left]),
        "right": Words.of([f"r{v}" for v in right]),
        "group": Words.of([f"g{v}" for v in group]),
    }
    words = ("left", "right", "group")
    return Table(columns, {n: ColumnType.CATEGORY if n in words else ColumnType.NUMBER for n in columns}), y


@pytest.fixture(scope="module")
def fitted() -> tuple[Table, np.ndarray, Preparation, np.ndarray]:
    table, y = toy()
    return (table, y, *fit(DERIVED, table, y, Target("regression"), 0))


def test_what_tells_the_target_is_found(fitted: tuple[Table, np.ndarray, Preparation, np.ndarray]) -> None:
    names = [d.name for d in fitted[2].derived]
    assert {"price / area", "area / price", "price - area"} & set(names)
    assert {"left & right", "right & left"} & set(names)
    assert "reading within group" in names


def test_the_graph_makes_the_same_columns(fitted: tuple[Table, np.ndarray, Preparation, np.ndarray]) -> None:
    table, _, preparation, x = fitted
    _same_in_graph(preparation, table, x.shape[1])


def test_a_pair_of_categories_does_not_tell_a_training_row_its_own_target() -> None:
    rng = np.random.default_rng(1)
    words = {n: Words.of([f"{n}{v}" for v in rng.integers(0, 15, N)]) for n in ("a", "b")}
    table = Table(
        {**words, "x": rng.normal(size=N)}, {"a": ColumnType.CATEGORY, "b": ColumnType.CATEGORY, "x": ColumnType.NUMBER}
    )
    preparation, _ = fit(DERIVED, table, rng.normal(size=N), Target("regression"), 0)
    assert [d.name for d in preparation.derived if "&" in d.name] == [], "225 pairs of pure chance"


def test_a_missing_half_of_a_pair_differs_from_any_text() -> None:
    pair = crossed(Words.of(["a", None, "a"]), Words.of([None, "a", "a"]))
    assert len(set(pair.values().tolist())) == 3


def test_noise_is_left_out_and_signal_kept() -> None:
    rng = np.random.default_rng(2)
    columns = {f"n{i}": rng.normal(size=N) for i in range(60)}
    y = (columns["n3"] + columns["n17"] * columns["n4"] > 0).astype(np.int64)
    table = Table(columns, dict.fromkeys(columns, ColumnType.NUMBER))
    preparation, x = fit(Recipe(select=True), table, y, Target("binary", 2), 0)
    assert {"n3", "n17", "n4"} <= set(preparation.names)
    assert x.shape[1] < 30
    np.testing.assert_array_equal(preparation.transform(table), x)


def test_topics_of_a_text_are_the_same_numbers_in_the_graph() -> None:
    rng = np.random.default_rng(5)
    subjects = [[f"{s}{i}" for i in range(15)] for s in ("sea", "war", "tax")]
    kind = rng.integers(0, 3, N)
    texts = [" ".join(rng.choice([*subjects[k], "the", "of"], 9)) for k in kind]
    texts[3] = ""
    table = Table({"t": Words.of(texts), "x": rng.normal(size=N)}, {"t": ColumnType.TEXT, "x": ColumnType.NUMBER})
    preparation, x = fit(DERIVED, table, (kind == 1).astype(np.int64), Target("binary", 2), 0)
    at = [i for i, n in enumerate(preparation.names) if n.startswith("t topic")]
    assert len(at) > 5
    assert max(abs(np.corrcoef(x[:, i], kind == 1)[0, 1]) for i in at) > 0.8
    _same_in_graph(preparation, table, x.shape[1])


def _same_in_graph(preparation: Preparation, table: Table, width: int) -> None:
    graph = preparation.to_onnx({c: RAW + c for c in table.names})
    delivered = Delivered(graph, {"value": graph.output}, (), {"value": ("float32", ("N", width))})
    data, _ = model_bytes(delivered, {c: table.types[c] for c in table.names})
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for part in (table, synthetic_rows(table, np.random.default_rng(0))):
        np.testing.assert_array_equal(session.run(None, raw_feeds(part))[0], preparation.transform(part))

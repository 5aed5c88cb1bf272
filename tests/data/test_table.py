"""Tables: written and read back whole, and their values named as the file names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.data.labels import labels, number_text
from assay.data.table import ColumnType, Table, Words


def same(a: Table, b: Table) -> bool:
    return a.types == b.types and a.names == b.names and all(
        np.array_equal(x.values(), y.values()) and np.array_equal(x.levels, y.levels)
        if isinstance(x := a.columns[n], Words) and isinstance(y := b.columns[n], Words)
        else np.array_equal(np.asarray(a.columns[n], float), np.asarray(b.columns[n], float), equal_nan=True)
        for n in a.names
    )  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(st.floats(allow_subnormal=False), st.none() | st.text(max_size=5)), max_size=20),
    kind=st.sampled_from([ColumnType.CATEGORY, ColumnType.TEXT, ColumnType.ID]),
)
def test_a_table_is_read_back_as_it_was_written(
    tmp_path: Path, rows: list[tuple[float, str | None]], kind: ColumnType
) -> None:
    table = Table(
        {"n, 1": np.array([r[0] for r in rows], float), "wörds": Words.of([r[1] for r in rows])},
        {"n, 1": ColumnType.NUMBER, "wörds": kind},
    )
    table.write(tmp_path / "t.arrow")
    assert same(Table.read(tmp_path / "t.arrow"), table)


def test_a_foreign_arrow_table_is_not_taken_for_ours() -> None:
    with pytest.raises((KeyError, TypeError)):
        Table.from_arrow(pa.table({"a": [1]}))


def test_written_columns_belong_to_the_reader(tmp_path: Path) -> None:
    Table({"a": np.arange(3.0)}, {"a": ColumnType.NUMBER}).write(tmp_path / "t.arrow")
    column = Table.read(tmp_path / "t.arrow").numbers("a")
    (tmp_path / "t.arrow").write_bytes(b"\0" * 4000)
    assert column.tolist() == [0, 1, 2]


def test_labels_of_numbers_are_their_shortest_text() -> None:
    table = Table({"y": np.array([1.0, 0.0, np.nan, 2.5, 1.0])}, {"y": ColumnType.NUMBER})
    assert labels(table, "y").values().tolist() == ["1", "0", "", "2.5", "1"]
    assert [number_text(v) for v in (1e20, -3.0, 0.1, 1e-7)] == ["1e+20", "-3", "0.1", "1e-07"]
    assert len(labels(Table({"y": np.array([np.nan])}, {"y": ColumnType.NUMBER}), "y").levels) == 0


def test_words_with_rows_taken_keep_their_levels() -> None:
    words = Words.of(["b", None, "a", "b", ""])
    assert words.levels.tolist() == ["b", "a"] and words.codes.tolist() == [0, -1, 1, 0, -1]
    taken = words.take(np.array([2, 1]))
    assert taken.values().tolist() == ["a", ""] and taken.levels.tolist() == ["b", "a"]


def test_asking_for_the_wrong_kind_of_column_is_an_error() -> None:
    table = Table({"n": np.zeros(1), "w": Words.of(["a"])}, {"n": ColumnType.NUMBER, "w": ColumnType.CATEGORY})
    with pytest.raises(TypeError, match="'w' holds words"):
        table.numbers("w")
    with pytest.raises(TypeError, match="'n' holds numbers"):
        table.words("n")

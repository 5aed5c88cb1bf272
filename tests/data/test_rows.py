"""The front: what users send is read as the training file was, and every row has its answer in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.data.loaded import ColumnFormat
from assay.data.readers import read
from assay.data.rows import (
    InputField,
    feeds,
    table_from_columns,
    table_from_csv,
    table_from_pandas,
    table_from_rows,
    table_from_table,
)
from assay.data.table import ColumnType, Table
from assay.errors import DataError

SCHEMA = (
    InputField("age", ColumnType.INTEGER, example=41),
    InputField("price", ColumnType.NUMBER, format=ColumnFormat(decimal=",", thousands=".", currency="€")),
    InputField("plan", ColumnType.CATEGORY),
    InputField("member", ColumnType.BOOLEAN, format=ColumnFormat(true="Ja", false="Nein")),
    InputField("since", ColumnType.DATETIME, format=ColumnFormat(dates="d/m/y")),
)
ROW: dict[str, Any] = {"age": 41, "price": "1.234,50 €", "plan": "b", "member": True, "since": "03/04/2024"}
READ: dict[str, Any] = {"age": 41.0, "price": 1234.5, "plan": "b", "member": "Ja", "since": "2024-04-03 00:00:00"}


def cells(table: Table) -> list[dict[str, Any]]:
    """The rows of a table as a graph is fed, None for NaN."""
    fed = feeds(table, SCHEMA)
    return [
        {n: None if isinstance(v := a[i, 0], np.floating) and np.isnan(v) else v for n, a in fed.items()}
        for i in range(len(table))
    ]


def test_rows_are_read_as_the_training_file_was() -> None:
    table, warnings = table_from_rows([ROW], SCHEMA)
    assert cells(table) == [READ] and warnings == []


@pytest.mark.parametrize(
    ("column", "sent", "read"),
    [
        ("age", "41", 41.0),
        ("age", " 41 ", 41.0),
        ("age", 41.5, 41.5),
        ("age", True, 1.0),
        ("age", np.int64(7), 7.0),
        ("age", None, None),
        ("age", "", None),
        ("age", "NA", None),
        ("age", "?", None),
        ("age", float("nan"), None),
        ("age", float("inf"), None),
        ("age", 10**400, None),
        ("price", 1.234, 1.234),
        ("price", np.float32(1.25), 1.25),
        ("price", "1.234", 1234.0),
        ("price", "1.23", 1.23),
        ("price", "(7,5)", -7.5),
        ("plan", "B", "B"),
        ("plan", " b", " b"),
        ("plan", 1, "1"),
        ("plan", 1.0, "1"),
        ("plan", 1.5, "1.5"),
        ("plan", None, ""),
        ("plan", "NA", ""),
        ("plan", float("nan"), ""),
        ("plan", np.float32("nan"), ""),
        ("plan", True, "true"),
        ("member", False, "Nein"),
        ("member", "ja", "Ja"),
        ("member", "yes", "Ja"),
        ("member", 0, "Nein"),
        ("member", None, ""),
        ("member", "perhaps", "perhaps"),
        ("since", "2024-04-03", "2024-04-03 00:00:00"),
        ("since", "2024-04-03T10:20:30Z", "2024-04-03 10:20:30"),
        ("since", "3-4-24", "2024-04-03 00:00:00"),
        ("since", "-", ""),
    ],
)
def test_a_cell_means_what_it_meant_in_the_file(column: str, sent: Any, read: Any) -> None:
    table, warnings = table_from_rows([{**ROW, column: sent}], SCHEMA)
    expected = {**READ, column: read}
    got = cells(table)[0]
    assert got == pytest.approx(expected) if column == "price" else got == expected
    assert warnings == []


def test_what_cannot_be_read_is_missing_and_said_with_its_place() -> None:
    table, warnings = table_from_rows([ROW, {**ROW, "age": "old", "since": "soon"}], SCHEMA)
    assert cells(table)[1]["age"] is None and cells(table)[1]["since"] == ""
    assert [(w.row, w.column, w.code) for w in warnings] == [(1, "age", "unparseable"), (1, "since", "unparseable")]
    assert "'old'" in warnings[0].message and "41" in warnings[0].message


def test_a_missing_column_is_named_with_the_closest() -> None:
    row = {("Age " if k == "age" else k): v for k, v in ROW.items()}
    with pytest.raises(DataError, match="'age'.*closest: 'Age '") as caught:
        table_from_rows([row], SCHEMA)
    assert caught.value.code == "schema_mismatch" and caught.value.column == "age"


def test_a_cell_left_out_of_one_row_is_missing() -> None:
    table, _ = table_from_rows([ROW, {k: v for k, v in ROW.items() if k != "plan"}], SCHEMA)
    assert [r["plan"] for r in cells(table)] == ["b", ""]


def test_other_columns_are_ignored_and_said_once() -> None:
    table, warnings = table_from_rows([{**ROW, "churn": "no"}, {**ROW, "churn": "yes"}], SCHEMA)
    assert table.names == tuple(f.name for f in SCHEMA)
    assert [(w.code, w.column) for w in warnings] == [("extra_column", "churn")]


def test_optional_columns_may_be_absent() -> None:
    schema = (
        *SCHEMA,
        InputField("note", ColumnType.CATEGORY, required=False),
        InputField("n", ColumnType.NUMBER, False),
    )
    table, _ = table_from_rows([ROW, ROW], schema)
    assert table.words("note").values().tolist() == ["", ""] and np.isnan(table.numbers("n")).all()


def test_columns_and_data_are_the_same_as_rows() -> None:
    table, _ = table_from_columns(list(ROW), [list(ROW.values()), list(ROW.values())], SCHEMA)
    assert cells(table) == [READ, READ]
    with pytest.raises(DataError, match="row 1 has 2 values, and there are 5 columns"):
        table_from_columns(list(ROW), [list(ROW.values()), [1, 2]], SCHEMA)
    with pytest.raises(DataError, match="'age' is named twice"):
        table_from_columns(["age", "age"], [], SCHEMA)


def test_frames_are_the_same_as_rows() -> None:
    frame = pd.DataFrame([ROW, {**ROW, "age": None}])
    frame["since"] = pd.to_datetime(["2024-04-03", None])
    table, _ = table_from_pandas(frame, SCHEMA)
    assert cells(table) == [READ, {**READ, "age": None, "since": ""}]


CSV = 'age,price,plan,member,since\n41,"1.234,50 €",b,Ja,03/04/2024\n'


@pytest.mark.parametrize(
    "data",
    [
        CSV.encode(),
        CSV.replace("\n", "\r\n").encode(),
        ("\ufeff" + CSV).encode(),
        CSV.encode("utf-16"),
        CSV.encode("cp1252"),
        CSV.replace(",", ";").replace("1.234;50", "1.234,50").encode(),
        ("sep=;\n" + CSV.replace(",", ";").replace("1.234;50", "1.234,50")).encode(),
        CSV.replace(",", "\t").replace("1.234\t50", "1.234,50").encode(),
        CSV.replace(",", ", ").replace("1.234, 50", "1.234,50").encode(),
        (CSV + "\n\n\r\n").encode(),
        'since,member,plan,price,age\n03/04/2024,Ja,b,"1.234,50 €",41\n'.encode(),
    ],
)
def test_a_csv_body_in_any_dress_is_the_same_as_rows(data: bytes) -> None:
    table, warnings = table_from_csv(data, SCHEMA)
    assert cells(table) == [READ] and warnings == []


def test_every_record_of_a_csv_has_its_place(tmp_path: Path) -> None:
    lines = [f'{i},"{i},5",p{i},Nein,' for i in range(50)]
    lines[7] = ",,,,"
    (tmp_path / "t.csv").write_text("age,price,plan,member,since\n" + "\n".join(lines) + "\n\n\n")
    table, _ = table_from_csv(tmp_path / "t.csv", SCHEMA)
    assert len(table) == 50
    assert np.isnan(table.numbers("age")[7]) and table.numbers("age")[8:].tolist() == list(range(8, 50))
    one = (InputField("age", ColumnType.NUMBER),)
    assert table_from_csv(b"age\n1\n\n3\n", one)[0].numbers("age").tolist()[::2] == [1.0, 3.0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"age,price,plan,member\n1,2,3,4\n", "'since'"),
        (CSV.encode() + b"1,2,3\n", "row 2 has 3 fields"),
    ],
)
def test_a_csv_that_does_not_fit_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        table_from_csv(data, SCHEMA)
    assert caught.value.code == "schema_mismatch"


@pytest.mark.parametrize(
    "text",
    [
        "id,id,,y\n1.5,2,u,a\n2.5,9,v,b\n3.5,4,u,a\n",
        "5.1,3.5,x,setosa\n4.9,3.0,y,setosa\n6.2,2.9,x,other\n",
        "a, b, c\n1.5, red, x\n2.5, blue, y\n3.5, red, x\n",
        "sep=;\na;b;c\n1,5;7%;x\n2,5;8%;y\n",
    ],
)
def test_the_training_file_itself_is_read_back_the_same(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    loaded = read(path)
    schema = [InputField(n, loaded.table.types[n], format=loaded.formats[n]) for n in loaded.table.names]
    for table in (table_from_csv(path, schema)[0], table_from_table(loaded.table, schema)[0]):
        for name, fed in feeds(table, schema).items():
            np.testing.assert_array_equal(fed, feeds(loaded.table, schema)[name])


def test_a_stored_table_keeps_its_numbers_whatever_the_model_writes() -> None:
    stored = Table({"price": np.array([1.234, np.nan])}, {"price": ColumnType.NUMBER})
    schema = (SCHEMA[1],)
    np.testing.assert_array_equal(table_from_table(stored, schema)[0].numbers("price"), [1.234, np.nan])
    as_words = (InputField("price", ColumnType.CATEGORY),)
    assert table_from_table(stored, as_words)[0].words("price").values().tolist() == ["1.234", ""]


def test_feeds_are_one_column_each_in_the_types_of_the_graph() -> None:
    fed = feeds(table_from_rows([ROW, {}], SCHEMA)[0], SCHEMA)
    assert {n: (a.dtype, a.shape) for n, a in fed.items()} == {
        f.name: (np.dtype(np.float32) if f.type in ("number", "integer") else np.dtype(object), (2, 1)) for f in SCHEMA
    }
    assert all(isinstance(v, str) for n in ("plan", "member", "since") for v in fed[n].ravel())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(list(ROW)), st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)), min_size=1, max_size=8))  # fmt: skip
def test_no_json_value_breaks_a_row(rows: list[dict[str, Any]]) -> None:
    table, _ = table_from_rows([ROW, *rows], SCHEMA)
    assert len(table) == len(rows) + 1
    assert cells(table)[0] == READ
    for name, array in feeds(table, SCHEMA).items():
        assert array.shape == (len(rows) + 1, 1), name

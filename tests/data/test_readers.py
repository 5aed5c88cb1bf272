"""Odd files of every kind: read right, repaired and said so, or refused with the place and the way out."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.data.labels import labels
from assay.data.loaded import Loaded, ReadLimits
from assay.data.readers import from_pandas, read
from assay.data.table import ColumnType, Words
from assay.errors import DataError

PLAIN = [
    ["name", "size", "when"],
    ["ann", "1.5", "2024-01-02"],
    ["bob", "2.5", "2024-01-03"],
    ["cy", "4", "2024-02-01"],
]


def write(tmp_path: Path, data: bytes | str, name: str = "t.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def values(loaded: Loaded) -> dict[str, list[object]]:
    """Plain lists, None where missing."""
    found: dict[str, list[object]] = {}
    for name, column in loaded.table.columns.items():
        if isinstance(column, Words):
            found[name] = [v or None for v in column.values().tolist()]
        else:
            found[name] = [None if np.isnan(v) else float(v) for v in column]
    return found


def codes(loaded: Loaded) -> set[str]:
    return {w.code for w in loaded.warnings}


def joined(rows: list[list[str]], delimiter: str = ",", end: str = "\n") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows(rows)
    return out.getvalue()


PLAIN_VALUES = {
    "name": ["ann", "bob", "cy"],
    "size": [1.5, 2.5, 4.0],
    "when": ["2024-01-02 00:00:00", "2024-01-03 00:00:00", "2024-02-01 00:00:00"],
}

SAME_TABLE = {
    "plain": joined(PLAIN),
    "semicolon": joined(PLAIN, ";"),
    "tab": joined(PLAIN, "\t"),
    "bar": joined(PLAIN, "|"),
    "colon free caret": joined(PLAIN, "^"),
    "windows line ends": joined(PLAIN, end="\r\n"),
    "old mac line ends": joined(PLAIN, end="\r"),
    "no newline at the end": joined(PLAIN).rstrip("\n"),
    "blank lines at the end": joined(PLAIN) + "\n\n\r\n",
    "blank lines between": joined(PLAIN).replace("bob", "\nbob"),
    "byte-order mark": "\ufeff" + joined(PLAIN),
    "all quoted": "\n".join(",".join(f'"{c}"' for c in r) for r in PLAIN),
    "sep line": "sep=;\n" + joined(PLAIN, ";"),
    "sep line with mark": "\ufeffsep=|\r\n" + joined(PLAIN, "|", "\r\n"),
    "preamble": "Report of sales\nprinted 2024-03-01\n\n" + joined(PLAIN),
    "preamble with a comma": "Report, all shops\n" + joined(PLAIN),
    "comment lines": "# source: a\n# made: b\n" + joined(PLAIN),
    "trailing delimiters": joined(PLAIN).replace("\n", ",\n"),
    "trailing delimiters below the header": joined(PLAIN).replace("\n", ",\n").replace("when,", "when"),
    "space after every comma": joined(PLAIN).replace(",", ", "),
    "padded header": joined(PLAIN).replace("size", " size "),
    "spaces as delimiter": joined(PLAIN, " "),
}


@pytest.mark.parametrize("case", SAME_TABLE)
def test_one_table_is_read_the_same_in_every_dress(tmp_path: Path, case: str) -> None:
    assert values(read(write(tmp_path, SAME_TABLE[case]))) == PLAIN_VALUES


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_in_any_width_is_read(tmp_path: Path, encoding: str) -> None:
    text = "naïve,größe\nżółw,1\nкот,2\n猫,3\n"
    found = read(write(tmp_path, text.encode(encoding)))
    assert values(found) == {"naïve": ["żółw", "кот", "猫"], "größe": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "café,größe\nétude,1\nseñor,2\nfaçade,3\n"),
        ("cp1250", "jméno,n\nžluťoučký kůň úpěl ďábelské ódy,1\npříliš žluťoučký,2\nřeřicha,3\n"),
        ("cp1251", "имя,город\nИван Петров,Москва\nАнна Иванова,Казань\n"),
        ("cp932", "名前,都市\n山田太郎さんは東京にいます,東京\nすずき,大阪\n"),
        ("gb18030", "姓名,城市\n张三和李四住在北京,北京\n王五,上海\n"),
        ("cp949", "이름,도시\n철수는 서울에 산다,서울\n영희,부산\n"),
    ],
)
def test_old_encodings_are_guessed_and_said(tmp_path: Path, encoding: str, text: str) -> None:
    found = read(write(tmp_path, text.encode(encoding)))
    assert found.table.names == tuple(text.split("\n")[0].split(","))
    assert found.table.words(found.table.names[0]).levels[0] == text.split("\n")[1].split(",")[0]
    assert "encoding_guessed" in codes(found) and found.dialect.encoding == encoding


def test_utf8_with_one_damaged_byte_stays_utf8(tmp_path: Path) -> None:
    text = ("é,b\n" + "ünïcödé,1\n" * 50).encode() + b"\xff,2\n"
    found = read(write(tmp_path, text))
    assert found.table.words("é").levels[0] == "ünïcödé"
    assert "encoding_repaired" in codes(found)


REFUSED: dict[str, tuple[bytes, str]] = {
    "no bytes": (b"", "empty"),
    "only white space": (b" \n\n  \r\n", "empty"),
    "only a mark": (b"\xef\xbb\xbf", "empty"),
    "header only": (b"a,b,c\n", "no row"),
    "names of nothing": (b",,\n,,\n", "0 columns with values"),
    "one column": (b"a\n1\n2\n3\n", "only one column"),
    "NUL byte": (b"a,b\n1,2\n3,\x004\n" + b"5,6\n" * 50, "NUL byte"),
    "junk": (bytes(range(1, 256)) * 40, "not a text file"),
    "quote never closed": (b'a,b\n1,"x\n2,y\nthree\n4,,,,\n', "quote"),
    "ragged": (b"a,b,c\n1,2\n1,2,3,4\n1,2,3\n1\n", "row 1 has fewer"),
    "web page": (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
    "pickle": (b"\x80\x04\x95\x10\x00\x00\x00", "pickle"),
    "PDF": (b"%PDF-1.7\n...", "PDF"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "old Excel"),
    "zstd": (b"\x28\xb5\x2f\xfd\x04\x00", "zstd"),
    "picture": (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "PNG"),
    "broken JSON": (b'{"a": 1, "b": 2}\n{"a": 1,\n', "row 2 is not valid JSON"),
    "JSON of numbers": (b'[{"a": 1, "b": 2}, 3]', "expected an object"),
    "broken parquet": (b"PAR1" + b"\0" * 40 + b"PAR1", "Parquet"),
    "broken arrow": (b"ARROW1\0\0" + b"\1" * 40, "Arrow"),
    "broken gzip": (gzip.compress(b"a,b\n1,2\n" * 99)[:-20], "cut off"),
    "damaged gzip": (b"\x1f\x8b\x08\x00" + b"\xfe" * 60, "damaged"),
    "broken zip": (b"PK\x03\x04" + b"\1" * 60, "damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path, case: str) -> None:
    data, words = REFUSED[case]
    with pytest.raises(DataError, match=words) as caught:
        read(write(tmp_path, data), name="mine.csv")
    assert caught.value.file == "mine.csv" and "mine.csv" in str(caught.value)


def test_a_ragged_file_is_refused_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(write(tmp_path, "a,b,c\n" + "1,2,3\n" * 6 + "1,2\n" * 4))
    assert caught.value.row == 7


@pytest.mark.parametrize("end", ["\n", ""])
def test_few_ragged_rows_are_mended_and_counted(tmp_path: Path, end: str) -> None:
    rows = ["1,2,x"] * 50
    rows[9], rows[19], rows[29] = "7,8", "7,8,y,surplus", "7,8,z,"
    found = read(write(tmp_path, "a,b,c\n" + "\n".join(rows) + end))
    assert len(found.table) == 50
    c = values(found)["c"]
    assert (c[9], c[19], c[29]) == (None, "y", "z")
    said = {w.code: w.message for w in found.warnings}
    assert "row 10" in said["short_rows"] and "1 rows" in said["short_rows"]
    assert "row 20" in said["long_rows"] and "1 rows" in said["long_rows"]


def test_a_quote_inside_a_field_is_a_character(tmp_path: Path) -> None:
    found = read(write(tmp_path, 'size,n\n5" pipe,1\n6" pipe,2\n7" pipe,3\n"a, ""b""",4\n'))
    assert values(found)["size"] == ['5" pipe', '6" pipe', '7" pipe', 'a, "b"']


def test_a_quote_may_be_escaped_by_a_backslash(tmp_path: Path) -> None:
    lines = [f'"say \\"hi\\", {i}",{i}' for i in range(20)]
    found = read(write(tmp_path, "t,n\n" + "\n".join(lines)))
    assert values(found)["t"][3] == 'say "hi", 3' and codes(found) <= {"id_like"}
    windows = [f'"C:\\dir {i}\\",{i}' for i in range(20)]  # here the backslash is a character
    assert values(read(write(tmp_path, "t,n\n" + "\n".join(windows))))["t"][3] == "C:\\dir 3\\"


def test_an_open_quote_in_an_otherwise_even_file_is_taken_literally(tmp_path: Path) -> None:
    found = read(write(tmp_path, "a,b\n" + "x,1\n" * 30 + '"y,2\n' + "z,3\n" * 30))
    assert len(found.table) == 61 and "quotes_ignored" in codes(found)
    assert values(found)["a"][30] == '"y'


def test_line_ends_inside_quotes_belong_to_the_value(tmp_path: Path) -> None:
    found = read(write(tmp_path, 'a,b\n"one\ntwo",1\n"three\r\nfour",2\n'))
    assert values(found)["a"] == ["one\ntwo", "three\r\nfour"]


def test_missing_and_double_names_are_mended_visibly(tmp_path: Path) -> None:
    found = read(write(tmp_path, "id,,id,id_2,Id\na,1.5,x,4,p\nb,2.5,y,6,q\n"))
    assert found.table.names == ("id", "column_2", "id_3", "id_2", "Id") or len(set(found.table.names)) == 5
    assert (
        found.table.names[0] == "id" and found.table.names[1] == "column_2" and found.table.names[3:] == ("id_2", "Id")
    )
    assert sum(w.code == "renamed_column" for w in found.warnings) == 2


def test_names_that_differ_in_case_alone_stay_apart(tmp_path: Path) -> None:
    found = read(write(tmp_path, "Size,size\n1.5,2.5\n3.5,4.5\n"))
    assert values(found) == {"Size": [1.5, 3.5], "size": [2.5, 4.5]}
    assert not found.warnings


@pytest.mark.parametrize(
    ("text", "has_header"),
    [
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n6.2,2.9,other\n", False),
        ("a,x,p\nb,x,q\na,y,p\nb,y,q\na,x,q\n", False),
        ("country,2001,2002,2003\nnl,1.5,2.5,3.5\nbe,2.5,3.5,4.5\n", True),
        ("0,1,2\n1.5,2.5,a\n3.5,4.5,b\n", True),
        ("a,b\nx,y\nz,w\n", True),
        ("age,plan\n31,b\n42,a\n", True),
    ],
)
def test_a_missing_header_is_noticed(tmp_path: Path, text: str, has_header: bool) -> None:
    found = read(write(tmp_path, text))
    assert found.dialect.header is has_header
    assert ("no_header" in codes(found)) is not has_header
    assert len(found.table) == text.count("\n") - has_header
    if not has_header:
        assert found.table.names[0] == "column_1"


def test_row_names_without_a_header_cell_get_a_column(tmp_path: Path) -> None:
    found = read(write(tmp_path, "mpg,cyl\nMazda RX4,21.0,6\nDatsun 710,22.8,4\nHornet,21.4,6\n"))
    assert found.table.names == ("column_1", "mpg", "cyl")
    assert values(found)["mpg"] == [21.0, 22.8, 21.4]


def test_a_late_change_of_type_is_seen(tmp_path: Path) -> None:
    found = read(write(tmp_path, "a,b\n" + "1,2\n" * 5000 + "1.5,abc\n"))
    assert found.table.types["a"] is ColumnType.NUMBER
    assert values(found)["b"][-1] == "abc"


def test_one_column_is_enough_for_rows_to_predict(tmp_path: Path) -> None:
    found = read(write(tmp_path, "a\n1\n\n3\n\n"), limits=ReadLimits(min_columns=1))
    assert values(found) == {"a": [1.0, None, 3.0]}


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "n": [1.5, None, 3.25],
            "i": [1, 2, 5],
            "flag": [True, False, True],
            "word": ["x", None, "y, z"],
            "when": pd.to_datetime(pd.Series(["2024-01-02 03:04:05", None, "2024-02-01 00:00:00"])),
        }
    )


FRAME_VALUES: dict[str, list[Any]] = {
    "n": [1.5, None, 3.25],
    "i": [1.0, 2.0, 5.0],
    "flag": ["true", "false", "true"],
    "word": ["x", None, "y, z"],
    "when": ["2024-01-02 03:04:05", None, "2024-02-01 00:00:00"],
}


def as_json(lines: bool) -> bytes:
    rows: list[dict[str, Any]] = [{k: v[i] for k, v in FRAME_VALUES.items()} for i in range(3)]
    for row in rows:
        row |= {"flag": row["flag"] == "true", "i": int(row["i"])}
    return "\n".join(map(json.dumps, rows)).encode() if lines else json.dumps(rows, indent=1).encode()


@pytest.mark.parametrize(
    "format",
    [
        "csv",
        "tsv",
        "parquet",
        "feather",
        "stream",
        "jsonl",
        "json",
        "xlsx",
        "csv.gz",
        "csv.zip",
        "parquet.gz",
        "pandas",
    ],
)
def test_every_format_gives_the_same_table(tmp_path: Path, format: str) -> None:
    df, path = frame(), tmp_path / "upload"  # no extension: the content has to tell
    arrow = pa.Table.from_pandas(df)
    if format == "csv":
        df.to_csv(path, index=False)
    elif format == "tsv":
        df.to_csv(path, index=False, sep="\t")
    elif format == "parquet":
        pq.write_table(arrow, path)
    elif format == "feather":
        feather.write_feather(arrow, str(path), compression="lz4")
    elif format == "stream":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, arrow.schema) as out:
            out.write_table(arrow)
    elif format in ("json", "jsonl"):
        path.write_bytes(as_json(format == "jsonl"))
    elif format == "xlsx":
        df.to_excel(path, index=False, engine="openpyxl")
    elif format == "csv.gz":
        path.write_bytes(gzip.compress(df.to_csv(index=False).encode()))
    elif format == "parquet.gz":
        pq.write_table(arrow, tmp_path / "inner")
        path.write_bytes(gzip.compress((tmp_path / "inner").read_bytes()))
    elif format == "csv.zip":
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("__MACOSX/._t.csv", b"\0\5\x16\7")
            z.writestr("folder/t.csv", df.to_csv(index=False))
    found = from_pandas(df) if format == "pandas" else read(path)
    got = values(found)
    got["flag"] = [str(v).lower() for v in got["flag"]]  # a file keeps its own spelling
    assert got == FRAME_VALUES
    assert found.table.types["i"] is ColumnType.INTEGER and found.table.types["flag"] is ColumnType.BOOLEAN


def test_content_wins_over_a_wrong_name_and_type(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pandas(frame()), tmp_path / "t.csv")
    assert read(tmp_path / "t.csv", format="text/csv").dialect.format == "parquet"
    text = write(tmp_path, joined(PLAIN), "t.parquet")
    assert values(read(text, format="application/vnd.apache.parquet")) == PLAIN_VALUES


def test_a_sheet_below_titles_is_found_and_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "b.xlsx"
    with pd.ExcelWriter(path, engine="openpyxl") as book:
        frame().to_excel(book, sheet_name="data", index=False, startrow=3, startcol=1)
        pd.DataFrame({"p": [1.5, 2.5], "q": [3, 4]}).to_excel(book, sheet_name="other", index=False)
        book.sheets["data"]["B1"] = "Quarterly report"
    found = read(path)
    assert found.table.names == tuple(FRAME_VALUES) and len(found.table) == 3
    assert {"preamble_skipped", "first_sheet"} <= codes(found)
    assert read(path, sheet="other").table.names == ("p", "q")
    with pytest.raises(DataError, match="no sheet 'third'"):
        read(path, sheet="third")


def test_nested_columns_are_left_out_and_named(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": [1, 2], "c": "x"}, {"a": 2, "c": "y"}, {"c": "z", "d": 0.5}]
    found = read(write(tmp_path, "\n".join(map(json.dumps, rows)), "t.jsonl"))
    assert values(found) == {"a": [1.0, 2.0, None], "c": ["x", "y", "z"], "d": [None, None, 0.5]}
    assert [w.column for w in found.warnings if w.code == "unsupported_column"] == ["b"]
    pq.write_table(pa.table({"a": [1, 2], "b": [[1], [2, 3]], "c": ["x", "y"]}), tmp_path / "t.parquet")
    found = read(tmp_path / "t.parquet")
    assert found.table.names == ("a", "c") and "unsupported_column" in codes(found)


def test_zip_files_of_anything_but_one_table_are_refused(tmp_path: Path) -> None:
    def packed(**members: bytes) -> Path:
        with zipfile.ZipFile(tmp_path / "t.zip", "w") as z:
            for name, data in members.items():
                z.writestr(name.replace("_dot_", "."), data)
        return tmp_path / "t.zip"

    with pytest.raises(DataError, match="holds 2: 'a.csv', 'b.csv'"):
        read(packed(a_dot_csv=b"a,b\n1,2\n", b_dot_csv=b"a,b\n1,2\n"))
    with pytest.raises(DataError, match="holds 0"):
        read(packed())
    with pytest.raises(DataError, match="archive inside an archive"):
        read(packed(inner_dot_gz=gzip.compress(b"a,b\n1,2\n")))
    for name in ("../../etc/x.csv", "/etc/x.csv", "a/../../x.csv", "..\\x.csv", "C:\\x.csv"):
        with pytest.raises(DataError, match="points outside"):
            read(packed(**{name: b"a,b\n1,2\n"}))


def test_class_names_are_those_of_the_file(tmp_path: Path) -> None:
    text = "yn,digit,level,income,truth\nYes,0,1.0,>50K,TRUE\nNo,1,2.0,<=50K,FALSE\nYes,1,2.5,>50K,TRUE\n"
    table = read(write(tmp_path, text)).table
    expected = {
        "yn": ["Yes", "No", "Yes"],
        "digit": ["0", "1", "1"],
        "level": ["1", "2", "2.5"],
        "income": [">50K", "<=50K", ">50K"],
        "truth": ["TRUE", "FALSE", "TRUE"],
    }
    assert {n: labels(table, n).values().tolist() for n in table.names} == expected
    assert table.types["yn"] is ColumnType.BOOLEAN and table.types["digit"] is ColumnType.INTEGER


def test_types_set_by_the_user_hold_or_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "code,n,flag,day\n007,1,0,1/2/2024\n008,x,1,13/2/2024\n010,3,0,5/2/2024\n")
    wanted = {
        "code": ColumnType.INTEGER,
        "n": ColumnType.NUMBER,
        "flag": ColumnType.BOOLEAN,
        "day": ColumnType.TEXT,
    }
    found = read(path, overrides=wanted)
    assert found.table.types == wanted
    assert values(found) == {
        "code": [7.0, 8.0, 10.0],
        "n": [1.0, None, 3.0],
        "flag": ["0", "1", "0"],
        "day": ["1/2/2024", "13/2/2024", "5/2/2024"],
    }
    assert found.formats["flag"].true == "1" and "mixed_types" in codes(found)
    assert values(read(path, overrides={"n": ColumnType.CATEGORY}))["n"] == ["1", "x", "3"]
    for column, kind in (("day", ColumnType.NUMBER), ("n", ColumnType.BOOLEAN), ("flag", ColumnType.DATETIME)):
        with pytest.raises(DataError, match=column) as caught:
            read(path, overrides={column: kind})
        assert caught.value.column == column
    with pytest.raises(DataError, match="'nope', which is not a column"):
        read(path, overrides={"nope": ColumnType.TEXT})


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp", "Cf"]), min_size=1, max_size=8
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(WORDS.map(lambda w: "w" + w), min_size=3, max_size=12),
    numbers=st.lists(st.floats(-1e9, 1e9).map(lambda v: round(v, 6)), min_size=3, max_size=12),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    inner=st.sampled_from(["", ", ", '"', "\n", ";", "''", '""'])
)  # fmt: skip
def test_a_table_survives_every_dialect(
    tmp_path: Path,
    words: list[str],
    numbers: list[float],
    delimiter: str,
    end: str,
    encoding: str,
    quoting: int,
    inner: str,
) -> None:
    n = min(len(words), len(numbers))
    words, numbers = [w + inner + "t" for w in words[:n]], numbers[:n]
    out = io.StringIO()
    rows = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    rows.writerow(["some words", "a number", "gap"])
    rows.writerows([[w, v, "" if i % 3 else "full"] for i, (w, v) in enumerate(zip(words, numbers, strict=True))])
    found = read(write(tmp_path, out.getvalue().encode(encoding)))
    assert found.table.names == ("some words", "a number", "gap")
    assert found.table.words("some words").values().tolist() == words
    assert [float(t) for t in labels(found.table, "a number").values()] == numbers
    assert found.dialect.delimiter == delimiter

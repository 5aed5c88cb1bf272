"""Bombs: refused early, before memory or disk is full."""

from __future__ import annotations

import gzip
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assay.data.loaded import MB, ReadLimits
from assay.data.readers import read
from assay.errors import DataError

SMALL = ReadLimits(max_bytes_unpacked=8 * MB, max_columns=100, max_rows=10_000, max_line_bytes=64 << 10)


def refused(path: Path, limits: ReadLimits = SMALL, match: str = ".") -> DataError:
    """The refusal, which must come in a few seconds and with little memory of our own."""
    began = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=match) as caught:
            read(path, limits=limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 20
    assert peak < 400 * MB
    return caught.value


def zeros_gz(path: Path, size: int) -> None:
    packer = zlib.compressobj(9, wbits=31)
    line = b"1,2,3\n" * (MB // 6)
    with path.open("wb") as f:
        f.write(packer.compress(b"a,b,c\n"))
        for _ in range(size // len(line)):
            f.write(packer.compress(line))
        f.write(packer.flush())


def test_a_gzip_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    zeros_gz(tmp_path / "t.csv.gz", 40 * MB)
    assert (tmp_path / "t.csv.gz").stat().st_size < MB
    assert refused(tmp_path / "t.csv.gz", match="unpacks to more").code == "dataset_too_large"


def test_a_gzip_bomb_below_the_limit_stops_at_its_ratio(tmp_path: Path) -> None:
    zeros_gz(tmp_path / "t.csv.gz", 80 * MB)
    refused(tmp_path / "t.csv.gz", ReadLimits(), "times as many")


def test_a_zip_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("t.csv", b"a,b\n" + b"0,0\n" * (6 * MB))
    refused(tmp_path / "t.zip", match="unpacks to more")


def test_members_of_a_gzip_are_counted_together(tmp_path: Path) -> None:
    one = gzip.compress(b"1,2\n" * MB)
    (tmp_path / "t.gz").write_bytes(gzip.compress(b"a,b\n") + one * 3)
    refused(tmp_path / "t.gz", match="unpacks to more")


def test_a_workbook_of_zeros_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("xl/workbook.xml", b"<workbook/>")
        z.writestr("xl/worksheets/sheet1.xml", b" " * (20 * MB))
    refused(tmp_path / "t.xlsx", match="unpacks to more")


def test_a_workbook_with_one_cell_far_out_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("xl/workbook.xml", b"<workbook/>")
        z.writestr("xl/worksheets/sheet1.xml", b'<sheetData><c r="A1"/><c s="1" r="XFD1048576"/></sheetData>')
    refused(tmp_path / "t.xlsx", match="XFD1048576")


def test_one_endless_line_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n" + b"x" * (30 * MB))
    assert refused(tmp_path / "t.csv", ReadLimits(), "longer than").row == 1
    (tmp_path / "u.csv").write_bytes(b"x" * (30 * MB))
    refused(tmp_path / "u.csv", ReadLimits(), "longer than")


def test_a_long_line_in_the_middle_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n" + b"1,2\n" * 99 + b"1," + b"9" * 70_000 + b"\n1,2\n")
    assert refused(tmp_path / "t.csv", match="longer than").row == 100


def test_a_flood_of_quoted_line_ends_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b'a,b\n1,"' + b"\n" * (20 * MB))
    refused(tmp_path / "t.csv", ReadLimits())
    (tmp_path / "u.csv").write_bytes(b'a,b\n1,"' + b"x\n" * (10 * MB) + b'"\n')
    refused(tmp_path / "u.csv", ReadLimits())
    (tmp_path / "v.csv").write_bytes(b'a,b\n1,"' + b"1,2\n" * (5 * MB))  # even rows, were it not for the quote
    refused(tmp_path / "v.csv", ReadLimits(), "longer than")


def test_a_million_columns_are_refused(tmp_path: Path) -> None:
    header = ",".join(f"c{i}" for i in range(1_000_000))
    (tmp_path / "t.csv").write_text(header + "\n" + ",".join(["1"] * 1_000_000) + "\n")
    refused(tmp_path / "t.csv", ReadLimits(), "1000000 columns")
    (tmp_path / "t.jsonl").write_text("\n".join(f'{{"c{i}": 1, "d{i}": 2}}' for i in range(200)))
    refused(tmp_path / "t.jsonl", match="columns")


def test_too_many_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 10_001)
    assert refused(tmp_path / "t.csv", match="10000 rows").code == "dataset_too_large"
    (tmp_path / "t.jsonl").write_text('{"a": 1, "b": 2}\n' * 10_001)
    refused(tmp_path / "t.jsonl", match="10000 rows")
    pq.write_table(pa.table({"a": np.zeros(10_001), "b": np.zeros(10_001)}), tmp_path / "t.parquet")
    refused(tmp_path / "t.parquet", match="10001 rows")


def test_a_parquet_dictionary_bomb_is_refused(tmp_path: Path) -> None:
    text = pa.array(["x" * (64 << 10)])
    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(9000, np.int32)), text)
    pq.write_table(pa.table({"a": column, "b": np.zeros(9000)}), tmp_path / "t.parquet", compression="zstd")
    assert (tmp_path / "t.parquet").stat().st_size < MB
    assert refused(tmp_path / "t.parquet", match="unpacks to").column == "a"


def test_small_repetitive_files_are_not_bombs(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"0,1.5\n1,2.5\n" * 200_000))
    assert len(read(tmp_path / "t.csv.gz").table) == 400_000

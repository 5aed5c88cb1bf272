"""JSON lines, or one JSON array of objects, to columns of strings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.data.delimited import Texts
from assay.data.layout import unique_names
from assay.data.loaded import MB, DataWarning, Dialect, ReadLimits
from assay.data.textfile import line_too_long
from assay.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MAX_ARRAY = 256 * MB  # an array is parsed in one piece, which takes some ten times its size


def read_json(path: Path, limits: ReadLimits, file: str) -> Texts:
    """The objects of a file, one to a line or all in one array.  A field that is absent is missing."""
    with path.open("rb") as f:
        first = f.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first == b"[":
        return texts_of_rows(_array(path, file), "json", limits, file)
    return texts_of_rows(_lines(path, limits, file), "jsonl", limits, file)


def _array(path: Path, file: str) -> Iterator[Mapping[str, Any]]:
    import orjson

    if path.stat().st_size > MAX_ARRAY:
        raise DataError(
            f"{file}: a JSON array of more than {MAX_ARRAY} bytes; send it as JSON lines, one object to a line",
            file=file,
            code="dataset_too_large",
        )
    try:
        rows = orjson.loads(path.read_bytes().lstrip(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as e:
        raise DataError(f"{file}: not valid JSON: {e}", file=file) from e
    for i, row in enumerate(rows, 1):
        yield _object(row, i, file)


def _lines(path: Path, limits: ReadLimits, file: str) -> Iterator[Mapping[str, Any]]:
    import orjson

    n = 0
    with path.open("rb") as f:
        while line := f.readline(limits.max_line_bytes + 1):
            if len(line) > limits.max_line_bytes:
                raise line_too_long(file, n + 1, limits)
            line = line.strip(b"\xef\xbb\xbf \t\r\n,")
            if not line:
                continue
            n += 1
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as e:
                raise DataError(f"{file}: row {n} is not valid JSON: {e}", file=file, row=n) from e
            yield _object(row, n, file)


def _object(row: Any, n: int, file: str) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise DataError(
            f"{file}: row {n} is {type(row).__name__}, expected an object of column: value", file=file, row=n
        )
    return row


def texts_of_rows(rows: Iterable[Mapping[str, Any]], format: str, limits: ReadLimits, file: str) -> Texts:
    """Objects as columns, in order of first use."""
    import polars as pl

    values: dict[str, list[str | None]] = {}
    nested: set[str] = set()
    n = 0
    for n, row in enumerate(rows, 1):
        if n > limits.max_rows:
            raise DataError(
                f"{file}: more than {limits.max_rows} rows, the most that is read", file=file, code="dataset_too_large"
            )
        for key, value in row.items():
            column = values.get(key)
            if column is None:
                column = values[key] = []
                if len(values) > limits.max_columns:
                    raise DataError(
                        f"{file}: more than {limits.max_columns} columns", file=file, row=n, code="dataset_too_large"
                    )
            if len(column) < n - 1:
                column.extend([None] * (n - 1 - len(column)))
            if isinstance(value, (dict, list)):
                nested.add(key)
                value = None
            column.append(text_of(value))
    for column in values.values():
        column.extend([None] * (n - len(column)))
    if n == 0:
        raise DataError(f"{file}: there are no rows", file=file)
    names, renamed = unique_names(values)
    columns: dict[str, pl.Series] = {}
    warnings = list(renamed)
    for name, (key, column) in zip(names, values.items(), strict=True):
        if key in nested:
            warnings.append(DataWarning("unsupported_column", name, f"{name!r} holds lists or objects and is left out"))
        else:
            columns[name] = pl.Series("", column, dtype=pl.String)
    if len(columns) < limits.min_columns:
        raise DataError(f"{file}: {len(columns)} usable columns; at least {limits.min_columns} are needed", file=file)
    return Texts(
        columns, Dialect(format, "utf-8"), tuple(w for w in warnings if w.column in columns or w.column in names)
    )


def text_of(value: Any) -> str | None:
    """A JSON value as a file would write it: true, 12, 1.5; null is missing."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

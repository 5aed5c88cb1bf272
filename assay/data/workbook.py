"""One sheet of an XLSX workbook to columns of strings."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from assay.data.archives import CHUNK, check_workbook
from assay.data.delimited import Texts
from assay.data.layout import is_header, unique_names
from assay.data.loaded import DataWarning, Dialect, ReadLimits
from assay.errors import DataError

MAX_CELLS = 40_000_000  # of the rectangle around all cells, which is what a sheet takes in memory
_CELL = re.compile(rb'<(?:\w+:)?c [^>]{0,200}?\br="([A-Z]{1,3})([0-9]{1,7})"')
_PREAMBLE = 20


def read_workbook(path: Path, limits: ReadLimits, file: str, sheet: str | int = 0) -> Texts:
    """The sheet by name or position.  The header is the first row that is filled as far as the table is wide."""
    import fastexcel
    import polars as pl

    check_workbook(path, limits, file)
    _check_sheets(path, file)
    try:
        book = fastexcel.read_excel(str(path))
        if sheet not in book.sheet_names and not (isinstance(sheet, int) and sheet < len(book.sheet_names)):
            raise DataError(
                f"{file}: no sheet {sheet!r}; there are {', '.join(map(repr, book.sheet_names))}", file=file
            )
        loaded = book.load_sheet(sheet, header_row=None, dtypes="string", skip_whitespace_tail_rows=True)
        frame = pl.DataFrame(loaded.to_arrow())
        label = loaded.name
        others = len(book.sheet_names) - 1
    except fastexcel.FastExcelError as e:
        raise DataError(f"{file}: the workbook cannot be read ({str(e).splitlines()[0][:200]})", file=file) from e
    if frame.is_empty():
        raise DataError(f"{file}: the sheet {label!r} is empty", file=file)
    if len(frame) > limits.max_rows or frame.width > limits.max_columns:
        raise DataError(
            f"{file}: {len(frame)} rows of {frame.width} columns; at most {limits.max_rows} and {limits.max_columns} are "
            f"read", file=file, code="dataset_too_large",
        )  # fmt: skip
    texts = _table(frame, file, limits)
    said = texts.warnings
    if others:
        said = (DataWarning("first_sheet", None, f"{file}: the sheet {label!r} is read, {others} more are not"), *said)
    return Texts(texts.columns, Dialect("xlsx", member=label), said)


def _table(frame: object, file: str, limits: ReadLimits) -> Texts:
    import polars as pl

    assert isinstance(frame, pl.DataFrame)
    frame = frame.with_columns(pl.all().replace("", None))
    filled = frame.select(pl.sum_horizontal(pl.all().is_not_null()).alias("n"))["n"].to_list()
    width = max(filled[: _PREAMBLE + 300], default=0)
    first = next((i for i, n in enumerate(filled[:_PREAMBLE]) if n >= max(1, 0.8 * width)), 0)
    frame = frame.slice(first)
    frame = frame[[c.name for c in frame.get_columns() if c.null_count() < len(c)]]
    frame = frame.filter(pl.any_horizontal(pl.all().is_not_null()))
    if frame.width < limits.min_columns:
        raise DataError(
            f"{file}: {frame.width} columns with values; at least {limits.min_columns} are needed", file=file
        )
    rows = [["" if v is None else str(v) for v in r] for r in frame.head(300).rows()]
    warnings = [DataWarning("preamble_skipped", None, f"{first} rows above the table are skipped")] if first else []
    if is_header(rows[0], rows[1:]):
        names, renamed = unique_names(rows[0])
        frame = frame.slice(1)
    else:
        names, renamed = unique_names(f"column_{i + 1}" for i in range(frame.width))
        warnings.append(
            DataWarning("no_header", None, "the first row looks like data; columns are named column_1, ...")
        )
    if frame.is_empty():
        raise DataError(f"{file}: there is a header but no row below it", file=file)
    return Texts(dict(zip(names, frame.get_columns(), strict=True)), Dialect("xlsx"), (*warnings, *renamed))


def _check_sheets(path: Path, file: str) -> None:
    """A single cell far out makes a huge rectangle: measure it before anything lays it out."""
    with zipfile.ZipFile(path) as book:
        for name in book.namelist():
            if not (name.startswith("xl/worksheets/") and name.endswith(".xml")):
                continue
            letters, last_row, tail = b"A", 1, b""
            with book.open(name) as f:
                while piece := f.read(CHUNK):
                    found = _CELL.findall(tail + piece)
                    if found:
                        widest = max((c for c, _ in found), key=lambda c: (len(c), c))
                        letters = max(letters, widest, key=lambda c: (len(c), c))
                        last_row = max(last_row, max(int(r) for _, r in found))
                    tail = piece[-256:]
            n_columns = 0
            for letter in letters:
                n_columns = 26 * n_columns + letter - 64
            if n_columns * last_row > MAX_CELLS:
                raise DataError(
                    f"{file}: {name} reaches to cell {letters.decode()}{last_row}, more than {MAX_CELLS} cells; "
                    f"send the table as CSV",
                    file=file,
                    code="dataset_too_large",
                )

"""A file to a typed table.  What the file is, its content says; names and declared types are only hints.

Meant to run in a guarded child process: the limits here are honest, but a hostile file meets the process's own first.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from assay.data import archives
from assay.data.delimited import Texts, read_delimited
from assay.data.images.read import holds_pictures, read_images, with_types
from assay.data.infer import infer_table
from assay.data.loaded import DataWarning, Dialect, Loaded, ReadLimits
from assay.data.table import ColumnType
from assay.data.textfile import clean_text
from assay.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (
    "csv", "tsv", "parquet", "arrow", "jsonl", "json", "xlsx", "gzip", "zip", "tar", "imagefolder", "coco", "voc", "masks",
)  # fmt: skip
_CONTENT_TYPES = {
    "text/csv": "csv", "application/csv": "csv", "text/tab-separated-values": "tsv", "text/plain": "csv",
    "application/vnd.apache.parquet": "parquet", "application/x-parquet": "parquet", "application/parquet": "parquet",
    "application/vnd.apache.arrow.file": "arrow", "application/vnd.apache.arrow.stream": "arrow",
    "application/x-ndjson": "jsonl", "application/jsonl": "jsonl", "application/json": "json",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/zip": "zip", "application/gzip": "gzip", "application/x-gzip": "gzip", "application/x-tar": "tar",
}  # fmt: skip
_EXTENSIONS = {
    ".csv": "csv", ".txt": "csv", ".data": "csv", ".tsv": "tsv", ".tab": "tsv", ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".xlsx": "xlsx", ".xlsm": "xlsx", ".gz": "gzip", ".zip": "zip", ".tar": "tar", ".tgz": "gzip",
}  # fmt: skip
# content that is known and not read, with the way out
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\xd0\xcf\x11\xe0", "an old Excel or Office file; save it as .xlsx or CSV"),
    (b"%PDF", "a PDF document; export the table as CSV"),
    (b"\x89PNG", "a PNG picture, not a table"),
    (b"\xff\xd8\xff", "a JPEG picture, not a table"),
    (b"GIF8", "a GIF picture, not a table"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"\x89HDF", "an HDF5 file; save the table as Parquet"),
    (b"\x93NUMPY", "a NumPy array; save it as CSV or Parquet with column names"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd; send it plain, or as gzip or zip"),
    (b"BZh", "packed with bzip2; send it plain, or as gzip or zip"),
    (b"\xfd7zXZ", "packed with xz; send it plain, or as gzip or zip"),
    (b"7z\xbc\xaf", "a 7-Zip archive; send it plain, or as gzip or zip"),
    (b"Rar!", "a RAR archive; send it plain, or as gzip or zip"),
    (b"\x7fELF", "a program, not a table"),
    (b"Obj\x01", "an Avro file; save the table as Parquet"),
    (b"ORC", "an ORC file; save the table as Parquet"),
    (b"$FL2", "an SPSS file; save the table as CSV"),
)
_PICKLE = re.compile(rb"^\x80[\x02-\x05]")
_HTML = re.compile(rb"^\s*<(?:!doctype|html|\?xml)", re.IGNORECASE)


def read(
    path: Path,
    *,
    name: str | None = None,
    format: str | None = None,
    overrides: Mapping[str, ColumnType] | None = None,
    limits: ReadLimits = ReadLimits(),
    sheet: str | int = 0,
    delimiter: str | None = None,
) -> Loaded:
    """The table in a file, with the type of every column; pictures in an archive or a folder are a table as well.

    name: shown in messages, the file's own by default.  format: one of FORMATS or a content type; content that says
    otherwise wins.  overrides: types set by the user.  sheet: of a workbook.  delimiter: instead of the one found.
    Raises DataError with file, row and column as far as they are known.
    """
    file = name or path.name
    if holds_pictures(path):
        return with_types(read_images(path, file=file, limits=limits), overrides, file)
    texts = read_texts(path, file=file, format=format, limits=limits, sheet=sheet, delimiter=delimiter)
    return _typed(texts, overrides, file)


def read_texts(
    path: Path,
    *,
    file: str,
    format: str | None = None,
    limits: ReadLimits = ReadLimits(),
    known: Sequence[str] = (),
    sheet: str | int = 0,
    delimiter: str | None = None,
) -> Texts:
    """The columns of a file as strings, before any type is decided."""
    hint = hinted_format(format, file)
    with tempfile.TemporaryDirectory(prefix="assay-read-") as made:
        workdir = Path(made)
        member = ""
        found = sniff(path, file, hint)
        if found in ("gzip", "zip"):
            target = workdir / "unpacked"
            if found == "zip":
                member = archives.unpack_zip(path, target, limits, file)
            else:
                archives.unpack_gzip(path, target, limits, file)
            path = target
            found = sniff(path, file, hinted_format(None, member or re.sub(r"\.gz$", "", file, flags=re.IGNORECASE)))
            if found in ("gzip", "zip"):
                raise DataError(f"{file}: an archive inside an archive is not read; send the table itself", file=file)
        texts = _read_as(found, path, workdir, limits, file, known, sheet, delimiter)
    return replace(texts, dialect=replace(texts.dialect, member=member)) if member else texts


def _read_as(
    format: str, path: Path, workdir: Path, limits: ReadLimits, file: str, known: Sequence[str], sheet: str | int,
    delimiter: str | None,
) -> Texts:  # fmt: skip
    # heavy readers are imported when one is needed
    if format == "parquet":
        from assay.data.columnar import read_parquet

        return read_parquet(path, limits, file)
    if format == "arrow":
        from assay.data.columnar import read_arrow

        return read_arrow(path, limits, file)
    if format == "json":
        from assay.data.jsonrows import read_json

        return read_json(path, limits, file)
    if format == "xlsx":
        from assay.data.workbook import read_workbook

        return read_workbook(path, limits, file, sheet)
    return read_delimited(
        clean_text(path, workdir, limits, file), workdir, limits, file, known=known, delimiter=delimiter
    )


def sniff(path: Path, file: str, hint: str = "") -> str:
    """What a file is by its first bytes: a name of FORMATS, "json" for JSON lines too, "csv" for any text."""
    with path.open("rb") as f:
        head = f.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"FEA1")):
        return "arrow"
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "xlsx" if _is_workbook(path) else "zip"
    for magic, what in _FOREIGN:
        if head.startswith(magic) and not (magic.isalnum() and hint in ("csv", "tsv")):
            raise DataError(f"{file}: this is {what}", file=file)
    if _PICKLE.match(head):
        raise DataError(
            f"{file}: this is a Python pickle, which is never opened; save the table as Parquet or CSV", file=file
        )
    if _HTML.match(head.lstrip(b"\xef\xbb\xbf")):
        raise DataError(
            f"{file}: this is a web page or XML, not a table; check the link or export it as CSV", file=file
        )
    if head.startswith(b"\xff\xff\xff\xff") or (hint == "arrow" and b"\0" in head):
        return "arrow"  # the stream form of Arrow
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    looks_json = text.startswith(b"{") or re.match(rb"\[\s*(\{|\])", text) is not None
    return "json" if looks_json and (b'"' in head or hint in ("json", "jsonl")) else "csv"


def _is_workbook(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as z:
            return "xl/workbook.xml" in z.namelist()
    except (zipfile.BadZipFile, OSError):
        return False


def hinted_format(format: str | None, file: str) -> str:
    """The format that a declared type or a file name stands for; "" when they say nothing."""
    if format:
        plain = format.split(";")[0].strip().lower()
        return plain if plain in FORMATS else _CONTENT_TYPES.get(plain, "")
    return next((f for e, f in _EXTENSIONS.items() if file.lower().endswith(e)), "")


def from_pandas(
    frame: pd.DataFrame, *, overrides: Mapping[str, ColumnType] | None = None, name: str = "the frame"
) -> Loaded:
    """A pandas frame under the same rules as a file.  The index is not a column."""
    import pyarrow as pa

    from assay.data.columnar import texts_of
    from assay.data.jsonrows import text_of

    columns = []
    for i in range(frame.shape[1]):
        series = frame.iloc[:, i]
        try:
            columns.append(pa.Array.from_pandas(series))
        except (pa.ArrowException, TypeError, ValueError):  # a column of mixed objects
            columns.append(pa.array([None if v is None or v != v else text_of(v) for v in series], pa.string()))
    table = pa.Table.from_arrays([pa.chunked_array([c]) if isinstance(c, pa.Array) else c for c in columns],
                                 names=[str(c) for c in frame.columns])  # fmt: skip
    return _typed(texts_of(table, "pandas", ReadLimits(), name), overrides, name)


def _typed(texts: Texts, overrides: Mapping[str, ColumnType] | None, file: str) -> Loaded:
    try:
        table, formats, said = infer_table(texts.columns, overrides)
    except DataError as e:
        raise DataError(f"{file}: {e}", file=file, row=e.row, column=e.column, code=e.code) from e
    return Loaded(table, formats, (*texts.warnings, *said), texts.dialect)


__all__ = ["FORMATS", "ColumnType", "DataWarning", "Dialect", "Loaded", "ReadLimits", "from_pandas", "read"]

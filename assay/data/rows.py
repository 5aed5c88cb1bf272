"""The front of a delivered model: what users send, read exactly as the training file was read."""

from __future__ import annotations

import base64
import csv
import difflib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.data.dateforms import parse_date
from assay.data.fronts import Front, from_json
from assay.data.labels import labels, number_text
from assay.data.layout import SEPARATOR_LINE, follows_every, unique_names
from assay.data.loaded import ColumnFormat, ReadLimits
from assay.data.longform import GROUP, TIME, gathered
from assay.data.numberforms import MISSING_VALUES, MISSING_WORDS, parse_number
from assay.data.table import Blobs, Column, ColumnType, Table, Words
from assay.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_NUMERIC = frozenset({ColumnType.NUMBER, ColumnType.INTEGER})
_TRUE_WORDS, _FALSE_WORDS = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
MAX_WARNINGS = 100  # told one by one; a whole column in a wrong style needs no more
SAMPLE = 65_536  # characters of a CSV looked at for its dialect
_CONTEXT_MISSING = frozenset({"", *MISSING_VALUES})


@dataclass(frozen=True)
class InputField:
    """One input column of a model.  role: "group" or "time" of a column that puts rows together; no input of the graph."""

    name: str
    type: ColumnType
    required: bool = True
    example: Any = None
    format: ColumnFormat = field(default_factory=ColumnFormat)
    front: Front | None = None
    role: str = ""

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> InputField:
        form = ColumnFormat.from_json(data.get("format") or {})
        front = from_json(data["front"]) if data.get("front") else None
        required, example = data.get("required", True), data.get("example")
        return InputField(
            data["name"], ColumnType(data["type"]), required, example, form, front, str(data.get("role") or "")
        )


@dataclass(frozen=True)
class RowWarning:
    """A cell (or, with row None, a column) that was not used as it stands.  Rows count from 0, as in the answer."""

    row: int | None
    column: str
    code: str
    message: str

    def to_json(self) -> dict[str, Any]:
        return {"row": self.row, "column": self.column, "code": self.code, "message": self.message}


Taken = tuple[Table, list[RowWarning]]


def table_from_rows(rows: Sequence[Mapping[str, Any]], schema: Sequence[InputField]) -> Taken:
    """Rows as JSON objects.  A column that no row has is a schema_mismatch; a cell left out is missing."""
    given: dict[str, None] = {}
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(f"row {i} is {type(row).__name__}, expected an object", row=i + 1, code="schema_mismatch")
        given.update(dict.fromkeys(row))
    warnings = _check(list(given), schema, empty=not rows)
    return _table({f.name: [row.get(f.name) for row in rows] for f in schema}, schema, warnings)


def table_from_columns(columns: Sequence[str], data: Sequence[Sequence[Any]], schema: Sequence[InputField]) -> Taken:
    """`{"columns": [...], "data": [[...], ...]}`: every row has one value a column."""
    if len(set(columns)) != len(columns):
        twice = next(c for c in columns if list(columns).count(c) > 1)
        raise DataError(f"column {twice!r} is named twice", column=twice, code="schema_mismatch")
    for i, row in enumerate(data):
        if not isinstance(row, Sequence) or isinstance(row, str) or len(row) != len(columns):
            found = len(row) if isinstance(row, Sequence) and not isinstance(row, str) else repr(row)[:40]
            message = f"row {i} has {found} values, and there are {len(columns)} columns"
            raise DataError(message, row=i + 1, code="schema_mismatch")
    warnings = _check(columns, schema)
    place = {c: j for j, c in enumerate(columns)}
    return _table({f.name: [row[place[f.name]] for row in data] for f in schema if f.name in place}, schema, warnings)


def table_from_csv(source: bytes | Path, schema: Sequence[InputField], *, limits: ReadLimits | None = None) -> Taken:
    """A delimited file with a header.  One table row for every record, in order; only blank lines at the end are none.

    Raises DataError with the row where the number of fields is wrong.
    """
    text = decoded(source if isinstance(source, bytes) else source.read_bytes())
    if separator := SEPARATOR_LINE.match(text):
        text = text[separator.end() :]
    delimiter = _delimiter(text, schema)
    spaced = follows_every(text[:SAMPLE].split("\n")[1:], delimiter)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=spaced)
    csv.field_size_limit((limits or ReadLimits()).max_line_bytes)
    try:
        records = list(reader)
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: {error}", row=reader.line_num, code="unsupported_format") from None
    known_names = {f.name for f in schema}
    if not records:
        raise DataError("the file is empty; expected a header line with the model's columns", code="schema_mismatch")
    header, body = list(unique_names(records[0])[0]), records[1:]
    if not known_names & set(header) and known_names <= {f"column_{i + 1}" for i in range(len(header))}:
        header, body = [f"column_{i + 1}" for i in range(len(header))], records  # as in training: there is no header
    if len(header) > 1:
        while body and not body[-1]:
            body.pop()
    for i, record in enumerate(body):
        if len(record) != len(header) and not (len(header) == 1 and not record):
            message = f"row {i + 1} has {len(record)} fields, and the header has {len(header)}"
            raise DataError(message, row=i + 1, code="schema_mismatch")
    body = [r or [""] for r in body]
    return table_from_columns(header, body, schema)


def table_from_pandas(frame: pd.DataFrame, schema: Sequence[InputField]) -> Taken:
    """A DataFrame, by its column names; the order of columns does not matter, that of rows is kept."""
    names = list(unique_names(str(c) for c in frame.columns)[0])
    warnings = _check(names, schema)
    columns: dict[str, Any] = {}
    for f in schema:
        if f.name in names:
            series = frame.iloc[:, names.index(f.name)]
            kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else "O"
            if f.type in _NUMERIC and kind in "iuf":
                columns[f.name] = series.to_numpy(np.float64)
            elif kind == "M":
                columns[f.name] = [
                    None if t is None else str(t)
                    for t in series.dt.strftime("%Y-%m-%d %H:%M:%S").where(series.notna(), None)
                ]
            else:
                columns[f.name] = series.astype(object).where(series.notna(), None).tolist()
    return _table(columns, schema, warnings)


def table_from_table(table: Table, schema: Sequence[InputField]) -> Taken:
    """A stored table, whose types may have been guessed otherwise than the model's.  Its numbers are numbers already."""
    warnings = _check(table.names, schema)
    columns: dict[str, Any] = {}
    for f in schema:
        if f.name in table.columns:
            column = table.columns[f.name]
            if isinstance(column, Blobs):
                columns[f.name] = column
            elif not isinstance(column, Words) and f.type in _NUMERIC:
                columns[f.name] = np.asarray(column, np.float64)
            else:
                columns[f.name] = [v or None for v in labels(table, f.name).values().tolist()]
    return _table(columns, schema, warnings)


def feeds(table: Table, schema: Sequence[InputField]) -> dict[str, np.ndarray]:
    """The inputs of the graph: what a column's front makes of it, else float32 (n, 1) for numbers and object (n, 1)
    with "" for missing for words."""
    return {f.name: feed(table.columns[f.name], f.front) for f in schema if not f.role}


def feed(column: Column, front: Front | None) -> np.ndarray:
    """One column as an input of the graph."""
    if front is not None:
        return front.encode(column)
    if isinstance(column, Words):
        return column.values()[:, None]
    if isinstance(column, Blobs):
        raise TypeError("files need a front to enter a graph")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, which the graph bounds
        return np.asarray(column.astype(np.float32)[:, None])


def decoded(data: bytes) -> str:
    """Text of a file: by its mark, else UTF-8, else Windows-1252, which every byte string is."""
    for mark, codec in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(codec, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _delimiter(text: str, schema: Sequence[InputField]) -> str:
    """The one whose header has most of the model's columns."""
    first = text[: text.find("\n") if "\n" in text else len(text)].rstrip("\r")
    names = {f.name for f in schema}

    def known(delimiter: str) -> int:
        header = next(csv.reader([first], delimiter=delimiter), [])
        return len(names & {h.strip() for h in header})

    return max(",;\t|", key=known)


def _check(given: Sequence[str], schema: Sequence[InputField], empty: bool = False) -> list[RowWarning]:
    names = {f.name for f in schema}
    present = set(given)
    for f in schema:
        if f.required and f.name not in present and not empty:
            close = difflib.get_close_matches(f.name, [g for g in given if g not in names], n=1, cutoff=0.5)
            hint = f"closest: {close[0]!r}" if close else f"given: {', '.join(map(repr, given[:10])) or 'nothing'}"
            message = f"column {f.name!r} ({f.type}) is missing; {hint}"
            raise DataError(message, column=f.name, code="schema_mismatch")
    extra = [g for g in given if g not in names]
    return [RowWarning(None, g, "extra_column", f"{g!r} is not a column of the model and is ignored") for g in extra]


def _table(columns: Mapping[str, Any], schema: Sequence[InputField], warnings: list[RowWarning]) -> Taken:
    n = len(next(iter(columns.values()))) if columns else 0
    made: dict[str, Column] = {}
    for f in schema:
        values = columns.get(f.name)
        if values is None:
            values = [None] * n
        if isinstance(values, np.ndarray | Blobs):
            made[f.name] = values
        elif f.type is ColumnType.IMAGE:
            made[f.name] = _files(values, f, warnings)
        elif f.type in _NUMERIC:
            made[f.name] = _numbers(values, f, warnings)
        else:
            made[f.name] = _words(values, f, warnings)
    return _gathered(Table(made, {f.name: f.type for f in schema}), schema), warnings


def _gathered(table: Table, schema: Sequence[InputField]) -> Table:
    """Points of series as one row a series, where the model reads long form."""
    role = {f.role: f.name for f in schema if f.role}
    if GROUP not in role:
        return table
    return gathered(table, role[GROUP], role.get(TIME), [f.name for f in schema if not f.role])


def _files(values: Sequence[Any], f: InputField, warnings: list[RowWarning]) -> Blobs:
    """Bytes as they are, text as base64 (a data: URL too); pictures are decoded at once, so that bad ones are told."""
    found: list[bytes | None] = []
    for i, v in enumerate(values):
        if isinstance(v, str):
            try:
                v = base64.b64decode(v.partition(",")[2] if v.startswith("data:") else v, validate=True)
            except ValueError:
                _unparseable(warnings, i, f, v, "base64")
                v = None
        found.append(bytes(v) if isinstance(v, (bytes, bytearray, memoryview)) and v else None)
        if found[-1] is None and v is not None:
            _unparseable(warnings, i, f, repr(v), "the bytes of a file")
    files = Blobs.of(found)
    if f.front is None or f.front.kind != "image":
        return files
    from assay.data.front_image import decode

    decoded, unreadable = decode(f.front, files)
    for i in unreadable:
        if len(warnings) < MAX_WARNINGS:
            text = f"{f.name!r} of row {i} is no readable picture and is answered as if it were missing"
            warnings.append(RowWarning(i, f.name, "unreadable_image", text))
    return decoded


def _numbers(values: Sequence[Any], f: InputField, warnings: list[RowWarning]) -> np.ndarray:
    if set(map(type, values)) <= {float, type(None)}:
        out = np.array(values, np.float64)
        out[np.isinf(out)] = math.nan
        return out
    out = np.empty(len(values))
    missing = {*_CONTEXT_MISSING, *(m.strip().lower() for m in f.format.missing)}
    for i, v in enumerate(values):
        if isinstance(v, (int, float, np.number)):
            out[i] = _float(v)
        elif v is None:
            out[i] = math.nan
        else:
            text = str(v).strip()
            number = None if text.lower() in missing else parse_number(text, f.format)
            if number is None:
                number = math.nan
                if text.lower() not in missing:
                    _unparseable(warnings, i, f, text, "a number")
            out[i] = number
    infinite = np.isinf(out)
    out[infinite] = math.nan
    return out


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits
        return math.nan


def _words(values: Sequence[Any], f: InputField, warnings: list[RowWarning]) -> Words:
    if f.type is ColumnType.DATETIME:
        return Words.of([_date(v, i, f, warnings) for i, v in enumerate(values)])
    if f.type is ColumnType.BOOLEAN:
        return Words.of([_truth(v, f) for v in values])
    if set(map(type, values)) <= {str, type(None)}:
        return _texts(values, f)
    return Words.of([_word(v, f) for v in values])


def _texts(values: Sequence[str | None], f: InputField) -> Words:
    """As `_word` for each, looking at every distinct text once."""
    index: dict[str | None, int] = {None: -1}
    levels: list[str] = []
    codes = np.empty(len(values), np.int32)
    for i, v in enumerate(values):
        code = index.get(v)
        if code is None:
            code = -1 if _word(v, f) is None else len(levels)
            index[v] = code
            if code >= 0:
                levels.append(str(v))
        codes[i] = code
    return Words(codes, np.array(levels, dtype=object).reshape(len(levels)))


def _word(value: Any, f: InputField) -> str | None:
    if isinstance(value, str):
        return None if value in f.format.missing or value.strip() in MISSING_WORDS else value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, float, np.number)):
        number = _float(value)
        return None if math.isnan(number) else number_text(number)
    return None if value is None else str(value)


def _truth(value: Any, f: InputField) -> str | None:
    """The file's own word for what was sent: JSON's true, a 1, or the word itself."""
    word = _word(value, f)
    if word is None or word in (f.format.true, f.format.false):
        return word
    folded = word.strip().lower()
    for own in (f.format.true, f.format.false):
        if own and folded == own.strip().lower():
            return own
    if folded in _TRUE_WORDS and f.format.true:
        return f.format.true
    if folded in _FALSE_WORDS and f.format.false:
        return f.format.false
    return word


def _date(value: Any, row: int, f: InputField, warnings: list[RowWarning]) -> str | None:
    word = _word(value, f)
    if word is None or word.strip().lower() in _CONTEXT_MISSING:
        return None
    canonical = parse_date(word, f.format.dates or "y-m-d") or parse_date(word, "y-m-d")
    if canonical is None:
        _unparseable(warnings, row, f, word, "a date")
    return canonical


def _unparseable(warnings: list[RowWarning], row: int, f: InputField, text: str, what: str) -> None:
    if len(warnings) < MAX_WARNINGS:
        example = f"; expected something like {f.example!r}" if f.example is not None else ""
        message = f"{text[:60]!r} is not {what}{example}; it counts as missing"
        warnings.append(RowWarning(row, f.name, "unparseable", message))

"""The table inside Assay: named columns, each either numbers or words.

Three physical forms are enough for every column type: `number` and `integer` are float64 arrays with NaN for missing;
an `image` is the bytes of its file; everything else is dictionary-encoded text, with code -1 for missing.  A `datetime`
is text in the one form `YYYY-MM-DD HH:MM:SS`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

_TYPES = b"assay.types"


class ColumnType(StrEnum):
    NUMBER = "number"
    INTEGER = "integer"
    CATEGORY = "category"
    BOOLEAN = "boolean"
    TEXT = "text"
    DATETIME = "datetime"
    ID = "id"
    CONSTANT = "constant"
    IMAGE = "image"


@dataclass(frozen=True, eq=False)
class Words:
    """Dictionary-encoded text.  codes: int32 (n,), -1 is missing.  levels: distinct str values, in order of first use."""

    codes: np.ndarray
    levels: np.ndarray  # object (k,)

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: np.ndarray) -> Words:
        return Words(self.codes[rows], self.levels)

    def values(self) -> np.ndarray:
        """object (n,) of str; "" where missing."""
        return np.asarray(np.append(self.levels, "").astype(object)[self.codes], dtype=object)

    @staticmethod
    def of(values: Sequence[str | None] | np.ndarray) -> Words:
        """From strings; None and "" are missing."""
        index: dict[str, int] = {}
        codes = np.empty(len(values), dtype=np.int32)
        for i, v in enumerate(values):
            codes[i] = -1 if v is None or v == "" else index.setdefault(str(v), len(index))
        return Words(codes, np.array(list(index), dtype=object))


@dataclass(frozen=True, eq=False)
class Blobs:
    """Files, one a row.  array: a pyarrow array of large_binary, null where missing; it is mapped, not read."""

    array: Any

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, row: int) -> bytes | None:
        value = self.array[int(row)].as_py()
        return None if value is None else bytes(value)

    def __iter__(self) -> Iterator[bytes | None]:
        return (self[i] for i in range(len(self)))

    def take(self, rows: np.ndarray) -> Blobs:
        import pyarrow as pa

        rows = np.asarray(rows)
        return Blobs(self.array.take(pa.array(np.flatnonzero(rows) if rows.dtype == bool else rows, pa.int64())))

    @property
    def missing(self) -> np.ndarray:
        """bool (n,)."""
        return np.asarray(self.array.is_null().to_numpy(zero_copy_only=False), bool)

    @staticmethod
    def of(values: Sequence[bytes | None]) -> Blobs:
        """From bytes; None and b"" are missing."""
        import pyarrow as pa

        return Blobs(pa.array([v or None for v in values], pa.large_binary()))


Column = np.ndarray | Words | Blobs


@dataclass(frozen=True, eq=False)
class Table:
    """Columns by name in file order, with their types.  Never mutated."""

    columns: Mapping[str, Column]
    types: Mapping[str, ColumnType]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def numbers(self, name: str) -> np.ndarray:
        """A numeric column, float64 (n,).  Raises TypeError for any other."""
        column = self.columns[name]
        if not isinstance(column, np.ndarray):
            raise TypeError(f"column {name!r} holds {_form(column)}")
        return column

    def words(self, name: str) -> Words:
        """A column of words.  Raises TypeError for any other."""
        column = self.columns[name]
        if not isinstance(column, Words):
            raise TypeError(f"column {name!r} holds {_form(column)}")
        return column

    def blobs(self, name: str) -> Blobs:
        """A column of files.  Raises TypeError for any other."""
        column = self.columns[name]
        if not isinstance(column, Blobs):
            raise TypeError(f"column {name!r} holds {_form(column)}")
        return column

    def take(self, rows: np.ndarray) -> Table:
        """The rows at these positions (or where a boolean mask holds)."""
        columns = {k: c[rows] if isinstance(c, np.ndarray) else c.take(rows) for k, c in self.columns.items()}
        return Table(columns, self.types)

    def select(self, names: Sequence[str]) -> Table:
        return Table({n: self.columns[n] for n in names}, {n: self.types[n] for n in names})

    def without(self, names: Sequence[str]) -> Table:
        return self.select([n for n in self.columns if n not in set(names)])

    def to_arrow(self) -> pa.Table:
        """Numbers as float64 (NaN kept), words as dictionary columns; the types in the schema's metadata."""
        import pyarrow as pa

        arrays = [_to_arrow(c) for c in self.columns.values()]
        types = json.dumps({name: str(kind) for name, kind in self.types.items()})
        schema = pa.schema(
            [pa.field(n, a.type) for n, a in zip(self.columns, arrays, strict=True)], metadata={_TYPES: types.encode()}
        )
        return pa.Table.from_arrays(arrays, schema=schema)

    @staticmethod
    def from_arrow(table: pa.Table) -> Table:
        """The inverse of `to_arrow`.  Raises KeyError for a table without the types."""
        types = {n: ColumnType(t) for n, t in json.loads(table.schema.metadata[_TYPES]).items()}
        return Table({n: _from_arrow(table.column(n)) for n in table.column_names}, types)

    def write(self, path: Path) -> None:
        """As one Arrow IPC file; compressed unless it holds files, which are compressed already."""
        import pyarrow as pa

        arrow = self.to_arrow()
        has_files = any(isinstance(c, Blobs) for c in self.columns.values())
        options = pa.ipc.IpcWriteOptions(compression=None if has_files else "zstd")
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, arrow.schema, options=options) as writer:
            writer.write_table(arrow)

    @staticmethod
    def read(path: Path) -> Table:
        """A table written by `write`."""
        import pyarrow as pa

        with pa.memory_map(str(path)) as source:
            return Table.from_arrow(pa.ipc.open_file(source).read_all())


def _form(column: Column) -> str:
    return "numbers" if isinstance(column, np.ndarray) else "words" if isinstance(column, Words) else "files"


def _to_arrow(column: Column) -> pa.Array:
    import pyarrow as pa

    if isinstance(column, Blobs):
        return column.array
    if isinstance(column, Words):
        codes = pa.array(column.codes, mask=column.codes < 0)
        return pa.DictionaryArray.from_arrays(codes, pa.array(column.levels.tolist(), pa.string()))
    return pa.array(np.asarray(column, np.float64))


def _from_arrow(column: pa.ChunkedArray) -> Column:
    import pyarrow as pa

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # a column without any chunk
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
    if pa.types.is_large_binary(array.type):
        return Blobs(array)
    if pa.types.is_dictionary(array.type):
        codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
        levels = array.dictionary.to_pylist()
        return Words(codes, np.array(levels, dtype=object).reshape(len(levels)))
    return np.array(array.to_numpy(zero_copy_only=False), dtype=np.float64)

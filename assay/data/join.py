"""Tables of the same columns, one under the other: a job's own validation and test rows below its training rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from assay.data.labels import labels
from assay.data.table import Blobs, Column, Table, Words
from assay.errors import DataError


def stacked(tables: Sequence[Table], names: Sequence[str]) -> Table:
    """The rows of all tables under the columns and types of the first one.

    names: what each table is called in errors.  Columns that only later tables have are left out.  Words where the first
    table has numbers are read as numbers, missing where they are none; numbers where it has words become words.  Raises
    DataError when a table lacks a column.
    """
    first = tables[0]
    for table, name in zip(tables[1:], names[1:], strict=True):
        lacking = [c for c in first.names if c not in table.columns]
        if lacking:
            raise DataError(
                f"{name} has no column {lacking[0]!r}, which {names[0]} has", column=lacking[0], code="schema_mismatch"
            )
    columns = {c: _stacked([_as(first.columns[c], t, c) for t in tables]) for c in first.names}
    return Table(columns, first.types)


def _as(model: Column, table: Table, name: str) -> Column:
    """A column in the physical form of the model."""
    column = table.columns[name]
    if isinstance(model, Blobs) or isinstance(column, Blobs):
        if type(model) is not type(column):
            raise DataError(
                f"{name!r} holds files in one table and none in the other", column=name, code="schema_mismatch"
            )
        return column
    if isinstance(model, Words):
        return labels(table, name)
    return _numbers(column) if isinstance(column, Words) else column


def _numbers(words: Words) -> np.ndarray:
    values = np.full(len(words.levels) + 1, np.nan)
    for i, level in enumerate(words.levels):
        try:
            values[i] = float(level)
        except ValueError:
            continue
    return np.asarray(np.where(np.isfinite(values), values, np.nan)[words.codes])


def _stacked(columns: Sequence[Column]) -> Column:
    if all(isinstance(c, np.ndarray) for c in columns):
        return np.concatenate([np.asarray(c) for c in columns])
    if all(isinstance(c, Blobs) for c in columns):
        return Blobs.of([v for c in columns if isinstance(c, Blobs) for v in c])
    return Words.of(np.concatenate([c.values() for c in columns if isinstance(c, Words)]))

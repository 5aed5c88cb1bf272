"""Long form: one row a point of a series.  Rows of one group, put in the order of time, become one row of series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.data.labels import labels
from assay.data.table import Column, ColumnType, Table, Words
from assay.errors import DataError

GROUP, TIME = "group", "time"  # roles of columns that are no input of the graph


@dataclass(frozen=True, eq=False)
class Places:
    """Where every point goes.  series: int64 (n,), its series; step: int64 (n,), its place there; names: (m,) of str.

    Series are numbered in the order of their first points.
    """

    series: np.ndarray
    step: np.ndarray
    names: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """int64 (m,): the row of each series that comes first in the table."""
        return np.unique(self.series, return_index=True)[1]

    @property
    def lengths(self) -> np.ndarray:
        return np.bincount(self.series, minlength=len(self.names))


def places(table: Table, group: str, time: str | None) -> Places:
    """Points with equal times, and all points without a time column, keep the order of their rows.

    Raises DataError for a point without a group.
    """
    words = labels(table, group)
    lost = np.flatnonzero(words.codes < 0)
    if len(lost):
        message = f"row {lost[0] + 1} has no value in {group!r}, which says to which series a point belongs"
        raise DataError(message, row=int(lost[0]) + 1, column=group, code="schema_mismatch")
    used, start, code = np.unique(words.codes, return_index=True, return_inverse=True)
    turn = np.argsort(start, kind="stable")
    rank = np.empty(len(used), np.int64)
    rank[turn] = np.arange(len(used))
    series = rank[code] if len(code) else np.empty(0, np.int64)
    key = np.zeros(len(series)) if time is None else _sort_key(table.columns[time])
    order = np.lexsort((key, series))
    sizes = np.bincount(series, minlength=len(used))
    step = np.empty(len(series), np.int64)
    step[order] = np.arange(len(series)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return Places(series, step, words.levels[used[turn]].astype(object))


def gathered(table: Table, group: str, time: str | None, channels: Sequence[str]) -> Table:
    """One row a series: its name, and a column of (m, L) numbers for every channel, NaN after its end."""
    at = places(table, group, time)
    length = int(at.lengths.max(initial=1))
    columns: dict[str, Column] = {group: Words(np.arange(len(at.names), dtype=np.int32), at.names)}
    for name in channels:
        series = np.full((len(at.names), length), np.nan)
        series[at.series, at.step] = table.numbers(name)
        columns[name] = series
    return Table(columns, {group: ColumnType.ID, **dict.fromkeys(channels, ColumnType.NUMBER)})


def _sort_key(column: Column) -> np.ndarray:
    """Numbers as they are, words (dates in their one form among them) alphabetically; missing comes first."""
    if isinstance(column, Words):
        rank = np.argsort(np.argsort(column.levels.astype(str), kind="stable"), kind="stable")
        return np.asarray(np.append(rank, -1)[column.codes], np.float64)
    if isinstance(column, np.ndarray):
        return np.asarray(np.nan_to_num(column, nan=-np.inf), np.float64)
    raise TypeError("files have no order in time")

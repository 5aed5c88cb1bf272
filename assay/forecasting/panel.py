"""Rows to series: sorted, without repeats, on one calendar, gaps filled.  The same in training and in serving.

Imports of this module travel in the bundle: numpy, the standard library and the table only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from assay.data.table import Table, Words
from assay.errors import DataError
from assay.forecasting.stamps import Calendar, Irregular, infer, seconds_of

LEAST_VALUES = 2  # of a series in training
GAP = 10  # a gap after the training data may be one of so many parts of the window


@dataclass(frozen=True)
class Layout:
    """Where the series are.  targets: one column (long form, or a single series) or several (wide form).  known: columns
    of numbers whose future is known."""

    time: str
    targets: tuple[str, ...]
    group: str | None
    known: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"time": self.time, "targets": list(self.targets), "group": self.group, "known": list(self.known)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Layout:
        return Layout(data["time"], tuple(data["targets"]), data["group"], tuple(data.get("known", ())))


@dataclass(frozen=True, eq=False)
class Series:
    """One series without gaps.  name: of its group or column, "" for the only one.  first: step of values[0].

    beside: float64 (n + more, k), the known columns from `first` on; `more` rows lie after the values.
    """

    name: str
    first: int
    values: np.ndarray  # float64 (n,)
    beside: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))


@dataclass(frozen=True, eq=False)
class Panel:
    """All series on one calendar.  filled: values that were interpolated; left_out: rows without a value at an end."""

    calendar: Calendar
    series: tuple[Series, ...]
    filled: int = 0
    left_out: int = 0
    skipped: tuple[str, ...] = field(default=())  # series without two values


def read_panel(table: Table, layout: Layout, calendar: Calendar | None = None, least: int = LEAST_VALUES) -> Panel:
    """The series of a table.  calendar: the model's, in serving; None infers it.  least: values of a series, or it is
    skipped; 0 keeps those of which only known columns are there.

    Raises DataError: stamps that are missing, double (both rows are told), or off the calendar.
    """
    stamps, numbers = _stamps(table, layout.time)
    names, codes = _groups(table, layout.group)
    order = np.lexsort((stamps, codes))
    _check_twice(stamps, codes, order, names, table, layout)
    bounds = np.flatnonzero(np.diff(codes[order], prepend=-1, append=-1))
    groups = [order[a:b] for a, b in pairwise(bounds)]
    if calendar is None:
        try:
            calendar = infer([stamps[g] for g in groups], numbers)
        except Irregular as error:
            raise _off(error, table, layout, groups) from None
    steps = calendar.steps(stamps)
    wrong = np.flatnonzero(steps != np.round(steps))
    if len(wrong):
        off = Irregular(f"{len(wrong)} of {len(steps)} stamps lie off the calendar ({calendar.name})", int(wrong[0]))
        raise _off(off, table, layout, None)
    whole = steps.astype(np.int64)
    known_columns = [table.numbers(name) for name in layout.known]
    found: list[Series] = []
    skipped: list[str] = []
    filled = left_out = 0
    for rows in groups:
        for target in layout.targets:
            name = target if len(layout.targets) > 1 else names[codes[rows[0]]]
            values = table.numbers(target)[rows]
            known = np.flatnonzero(np.isfinite(values))
            if len(known) < least:
                skipped.append(name)
                continue
            if not len(known):
                first = int(whole[rows[0]])
                found.append(Series(name, first, np.empty(0), _beside(known_columns, rows, whole, first, 0)))
                continue
            left_out += len(rows) - 1 - int(known[-1]) + int(known[0])
            at = whole[rows[known]]
            grid = np.arange(at[0], at[-1] + 1)
            filled += len(grid) - len(at)
            beside = _beside(known_columns, rows, whole, int(at[0]), len(grid))
            found.append(Series(name, int(at[0]), np.interp(grid, at, values[known]), beside))
    return Panel(calendar, tuple(found), filled, left_out, tuple(skipped))


def _beside(columns: Sequence[np.ndarray], rows: np.ndarray, steps: np.ndarray, first: int, n: int) -> np.ndarray:
    """float64 (n + more, k): known columns from step `first` on.  Gaps are interpolated in the first n rows, beside values,
    and NaN after them."""
    last = max(int(steps[rows[-1]]), first + n - 1)
    out = np.full((last - first + 1, len(columns)), np.nan)
    inside = rows[steps[rows] >= first]
    for j, column in enumerate(columns):
        out[steps[inside] - first, j] = column[inside]
        fill(out[:n, j])
    return out


def fill(values: np.ndarray) -> None:
    """Interpolate what is NaN in place; ends keep the nearest value, and a column without any is 0."""
    at = np.flatnonzero(np.isfinite(values))
    values[:] = np.interp(np.arange(len(values)), at, values[at]) if len(at) else 0.0


def beside_window(series: Series, width: int, season: int, horizon: int) -> np.ndarray:
    """float64 (width + horizon, k): the known columns of the window's steps, and of the horizon; NaN where not known."""
    n, k = len(series.values), series.beside.shape[1]
    out = np.full((width + horizon, k), np.nan)
    for j in range(k):
        out[:width, j] = window(series.beside[:n, j], width, season)
    after = series.beside[n : n + horizon]
    out[width : width + len(after)] = after
    return out


def window(values: np.ndarray, width: int, season: int) -> np.ndarray:
    """The last `width` values; a shorter history is continued into the past by its first season."""
    kept = values[-width:]
    lack = width - len(kept)
    if not lack:
        return kept
    m = season if len(kept) >= season else 1
    past = kept[:m]
    return np.concatenate([np.resize(past[::-1], lack)[::-1], kept])


def continued(series: Series, known: Mapping[str, Any]) -> Series:
    """A history that goes on where what the model keeps of the series ends, or begins within it: with those values before
    it.  known: `next`, `window` and, of a model with known columns, `beside` of the model's series.

    A gap between them of at most a tenth of the window is interpolated; a longer one leaves the history alone.  Rows
    without any value, which only tell of known columns, follow whatever the model keeps.
    """
    past = np.asarray(known["window"], np.float64)
    start = int(known["next"]) - len(past)  # step of past[0]
    gap = series.first - int(known["next"])
    if not len(series.values):
        return Series(series.name, start, past, _joined(series, known, start, len(past)))
    if series.first <= start or gap > len(past) // GAP:
        return series
    kept = past[: series.first - start]
    between = np.interp(np.arange(1, gap + 1), [0, gap + 1], [kept[-1], series.values[0]]) if gap > 0 else kept[:0]
    values = np.concatenate([kept, between, series.values])
    return Series(series.name, start, values, _joined(series, known, start, len(values)))


def _joined(series: Series, known: Mapping[str, Any], start: int, n: int) -> np.ndarray:
    """What the model keeps of the known columns from step `start` on, with what the series says over it."""
    k = series.beside.shape[1]
    if not k:
        return series.beside
    kept = np.asarray(known["beside"], np.float64)
    ahead = series.first - start  # of the rows; less than 0 where they began before what is kept
    out = np.full((max(len(kept), ahead + len(series.beside), n), k), np.nan)
    out[: len(kept)] = kept
    told = series.beside[max(0, -ahead) :]
    place = out[max(0, ahead) : max(0, ahead) + len(told)]
    place[:] = np.where(np.isfinite(told), told, place)
    for j in range(k):
        fill(out[:n, j])
    return out


def _stamps(table: Table, name: str) -> tuple[np.ndarray, bool]:
    """(stamps, whether they are plain numbers)."""
    column = table.columns[name]
    if isinstance(column, np.ndarray):
        missing = np.flatnonzero(~np.isfinite(column))
        if not len(missing):
            return column.astype(np.float64), True
    elif isinstance(column, Words):
        missing = np.flatnonzero(column.codes < 0)
        if not len(missing):
            try:
                return seconds_of([str(v) for v in column.levels.tolist()])[column.codes], False
            except ValueError:
                raise DataError(
                    f"{name!r} holds {str(column.levels[0])[:40]!r}, and a time column holds dates such as 2024-01-31, "
                    "or whole numbers; set the column's type to datetime",
                    column=name,
                    code="schema_mismatch",
                ) from None
    else:
        raise DataError(
            f"{name!r} holds files; a time column holds dates or numbers", column=name, code="schema_mismatch"
        )
    raise DataError(
        f"row {missing[0] + 1} has no stamp in {name!r}, or one that cannot be read; fill it in or drop the row",
        row=int(missing[0]) + 1,
        column=name,
        code="schema_mismatch",
    )


def _groups(table: Table, name: str | None) -> tuple[Sequence[str], np.ndarray]:
    if name is None:
        return [""], np.zeros(len(table), np.int64)
    column = table.columns[name]
    if isinstance(column, Words):
        missing = np.flatnonzero(column.codes < 0)
        if len(missing):
            raise DataError(
                f"row {missing[0] + 1} has no series in {name!r}",
                row=int(missing[0]) + 1,
                column=name,
                code="schema_mismatch",
            )
        return [str(v) for v in column.levels.tolist()], column.codes.astype(np.int64)
    values = table.numbers(name)
    missing = np.flatnonzero(~np.isfinite(values))
    if len(missing):
        raise DataError(
            f"row {missing[0] + 1} has no series in {name!r}",
            row=int(missing[0]) + 1,
            column=name,
            code="schema_mismatch",
        )
    found, codes = np.unique(values, return_inverse=True)
    return [str(int(v)) if float(v).is_integer() else repr(float(v)) for v in found], codes


def _check_twice(
    stamps: np.ndarray, codes: np.ndarray, order: np.ndarray, names: Sequence[str], table: Table, layout: Layout
) -> None:
    same = (np.diff(stamps[order]) == 0) & (np.diff(codes[order]) == 0)
    if not same.any():
        return
    at = int(np.flatnonzero(same)[0])
    a, b = sorted((int(order[at]), int(order[at + 1])))
    series = f" of series {names[codes[a]]!r}" if layout.group is not None else ""
    hint = (
        "aggregate them, or drop one"
        if layout.group is not None
        else "aggregate them, drop one, or name the column that tells the series apart as task.group_column"
    )
    raise DataError(
        f"rows {a + 1} and {b + 1}{series} have the same stamp {_cell(table, layout.time, a)} in {layout.time!r} "
        f"({int(same.sum())} such pairs); {hint}",
        row=b + 1,
        column=layout.time,
        code="schema_mismatch",
    )


def _off(error: Irregular, table: Table, layout: Layout, groups: Sequence[np.ndarray] | None) -> DataError:
    row = error.row
    if row is not None and groups is not None:
        row = int(np.concatenate(groups)[row])
    place = "" if row is None else f", row {row + 1} with {_cell(table, layout.time, row)} among them"
    return DataError(
        f"{error}{place}: the stamps of {layout.time!r} are irregular; aggregate the rows to a regular step (a sum or mean "
        "per hour, day, week or month), one row a step and series",
        row=None if row is None else row + 1,
        column=layout.time,
        code="schema_mismatch",
    )


def _cell(table: Table, name: str, row: int) -> str:
    column = table.columns[name]
    if isinstance(column, Words):
        return repr(str(column.levels[column.codes[row]]))
    return f"{float(table.numbers(name)[row]):g}"

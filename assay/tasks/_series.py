"""What reading series asks of a task: which columns are steps or channels, and how rows become series."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.data.longform import GROUP, TIME, Places, gathered, places
from assay.data.table import Column, ColumnType, Table, Words
from assay.errors import DataError, SpecError
from assay.spec import ColumnFacts, JobSpec, ProfileFacts, Resolved, column

LEAST_STEPS = 3
MOST_STEPS = 4096  # of a series in long form; what comes after them is cut off
NUMBERS = (ColumnType.NUMBER, ColumnType.INTEGER)


@dataclass(frozen=True)
class Facts:
    name: str
    type: str
    missing: int
    distinct: int


@dataclass(frozen=True)
class Seen:
    """A profile in which what holds steps or channels is a number, and everything else is constant."""

    n_rows: int
    columns: tuple[ColumnFacts, ...]


def as_steps(spec: JobSpec, profile: ProfileFacts) -> tuple[Seen, dict[str, str]]:
    """Wide form: every numeric column is a step, one that holds a single number too; and why others are left out.

    Raises SpecError where there are fewer than LEAST_STEPS.
    """
    found, why = _numeric(spec, profile, single=True)
    steps = [c.name for c in found if c.type == ColumnType.NUMBER]
    if len(steps) < LEAST_STEPS:
        same = [c.name for c in profile.columns if c.name != spec.task.target and _one_number(c)]
        if len(same) >= LEAST_STEPS:
            raise SpecError(
                f"{len(same)} columns hold one value, or none, in all rows, {same[0]!r} among them: no series differs "
                "from another",
                pointer="/dataset_id",
            )
        raise SpecError(
            f"sequence_classification reads a series from the numeric columns of a row, in their order, and there are "
            f"{len(steps)}; at least {LEAST_STEPS} are needed.  Is every row one point in time?  Then name the column "
            "that tells the series apart in task.group_column, and the one that orders them in task.time_column",
            pointer="/task/group_column",
        )
    return Seen(profile.n_rows, found), why


def as_channels(spec: JobSpec, profile: ProfileFacts) -> tuple[Seen, tuple[str, ...], dict[str, str]]:
    """Long form: the profile of the series instead of that of the points, its channels, and why others are left out.

    A channel counts as many columns as a series has points, so that costs are estimated rightly.  Raises SpecError.
    """
    task = spec.task
    group = column(profile, str(task.group_column), "/task/group_column")
    if task.time_column is not None:
        column(profile, task.time_column, "/task/time_column")
    if group.missing:
        raise SpecError(
            f"{group.name!r} has no value in {group.missing} rows; every point needs the name of its series",
            pointer="/task/group_column",
        )
    found, why = _numeric(spec, profile, single=False)
    channels = tuple(c.name for c in found if c.type == ColumnType.NUMBER)
    if not channels:
        held = ", ".join(f"{c.name!r} ({c.type})" for c in profile.columns[:8])
        raise SpecError(f"no numeric column is left to read series from: {held}", pointer="/task/ignore_columns")
    n = max(1, group.distinct)
    length = int(np.clip(round(profile.n_rows / n), 1, MOST_STEPS))
    points = tuple(Facts(f"{c} {i}", ColumnType.NUMBER, 0, 2) for c in channels for i in range(length))
    rest: list[ColumnFacts] = []
    for c in found:
        if c.name == task.target:  # a series counts as without a target only where the data say so, see `prepare`
            rest.append(Facts(c.name, c.type, 0, c.distinct))
        elif c.name not in channels:
            rest.append(c)
    return Seen(n, (*rest, *points)), channels, why


def long_form(resolved: Resolved, spec: JobSpec, channels: tuple[str, ...], why: Mapping[str, str]) -> Resolved:
    """What was decided for series, with the columns that make them."""
    task = spec.task
    order = f"ordered by {task.time_column!r}" if task.time_column else "in the order of their rows"
    because = (
        *resolved.because,
        f"long form: {resolved.n_rows} series told apart by {task.group_column!r}, {order}, of "
        + f"{len(channels)} channel(s); folds hold whole series",
    )
    return dataclasses.replace(
        explained(resolved, why), features=channels, because=because, group_column=task.group_column,
        time_column=task.time_column, options={**resolved.options, "form": "long"},
    )  # fmt: skip


def explained(resolved: Resolved, why: Mapping[str, str]) -> Resolved:
    return dataclasses.replace(
        resolved, left_out=tuple((name, why.get(name, reason)) for name, reason in resolved.left_out)
    )


def numeric_columns(table: Table, names: tuple[str, ...]) -> Table:
    """The table with these columns as numbers; a column of one value may hold it as a word."""
    columns: dict[str, Column] = dict(table.columns)
    for name in names:
        held = columns[name]
        if isinstance(held, Words):
            levels = np.array([_number(str(v)) for v in held.levels] + [np.nan])
            columns[name] = levels[held.codes]
    types = {**table.types, **dict.fromkeys(names, ColumnType.NUMBER)}
    return Table(columns, types)


def one_row_a_series(table: Table, resolved: Resolved) -> tuple[Table, Resolved]:
    """Series with their target, and what was resolved for rows of series: nothing groups or orders them any more.

    Raises DataError where the target differs within a series.
    """
    group, time = str(resolved.group_column), resolved.time_column
    parts = resolved.options.get("parts")
    options = dict(resolved.options)
    names = table
    if parts is not None:  # a name in two files is two series
        sizes = [int(parts.get(part, 0)) for part in ("train", "validation", "test")]
        which = np.repeat(np.arange(3), sizes)
        names = _told_apart(table, group, which)
        at = places(names, group, time)
        counts = np.bincount(which[at.first], minlength=3)
        options["parts"] = dict(zip(("train", "validation", "test"), counts.tolist(), strict=True))
    at = places(names, group, time)
    _check_target(table, resolved.target, group, at)
    kept = _within(at, table)
    series = gathered(kept(names), group, time, resolved.features)
    heads = table.take(at.first)
    others = [n for n in (resolved.target, resolved.weight_column) if n is not None]
    columns = {**{n: heads.columns[n] for n in others}, **{n: series.columns[n] for n in resolved.features}}
    types = {**{n: heads.types[n] for n in others}, **dict.fromkeys(resolved.features, ColumnType.NUMBER)}
    plain = dataclasses.replace(resolved, group_column=None, time_column=None, options=options)
    return Table(columns, types), plain


def role_fields(
    table: Table, resolved: Resolved, formats: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Any], ...]:
    """The manifest's entries for the columns that put points together."""
    fields: list[dict[str, Any]] = []
    for role, name in ((GROUP, resolved.group_column), (TIME, resolved.time_column)):
        if name is not None:
            kind = ColumnType.ID if role == GROUP else ColumnType(table.types[name])
            example = table.take(np.array([0])).columns[name]
            shown = example.values()[0] if isinstance(example, Words) else float(example[0])  # type: ignore[arg-type]
            fields.append(
                {"name": name, "type": str(kind), "required": True, "example": shown, "format": dict(formats.get(name, {})), "role": role}
            )  # fmt: skip
    return tuple(fields)


def _numeric(spec: JobSpec, profile: ProfileFacts, single: bool) -> tuple[tuple[ColumnFacts, ...], dict[str, str]]:
    """Numeric columns without a role as NUMBER, the rest as it is or as CONSTANT; and why columns are not read.

    single: a column of one number is a number, too.
    """
    task = spec.task
    role = {task.target, task.group_column, task.time_column, task.weight_column, *task.ignore_columns}
    numeric = [c for c in profile.columns if c.name not in role and c.type in NUMBERS]
    found: list[ColumnFacts] = []
    why: dict[str, str] = {}
    for c in profile.columns:
        if c.name in role:
            found.append(c)
        elif c.type in NUMBERS or (single and len(numeric) >= LEAST_STEPS and _one_number(c)):
            found.append(Facts(c.name, ColumnType.NUMBER, c.missing, max(2, c.distinct)))
        else:
            if c.type not in (ColumnType.CONSTANT, ColumnType.ID):
                why[c.name] = f"holds {c.type} values, and series are read from numbers"
            found.append(
                Facts(c.name, c.type if c.type == ColumnType.ID else ColumnType.CONSTANT, c.missing, c.distinct)
            )
    return tuple(found), why


def _one_number(facts: ColumnFacts) -> bool:
    example = getattr(facts, "example", None)
    return facts.type == ColumnType.CONSTANT and (example in (None, "") or not np.isnan(_number(str(example))))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _told_apart(table: Table, group: str, which: np.ndarray) -> Table:
    from assay.data.labels import labels

    words = labels(table, group)
    names = [None if c < 0 else f"{w} {words.levels[c]}" for c, w in zip(words.codes, which, strict=True)]
    return Table({**table.columns, group: Words.of(names)}, {**table.types, group: ColumnType.ID})


def _check_target(table: Table, target: str, group: str, at: Places) -> None:
    from assay.data.labels import labels

    codes = labels(table, target).codes
    first = codes[at.first]
    other = np.flatnonzero(codes != first[at.series])
    if len(other):
        row = int(other[0])
        words = labels(table, target)
        shown = [repr(str(words.levels[c])) if c >= 0 else "nothing" for c in (first[at.series[row]], codes[row])]
        raise DataError(
            f"series {str(at.names[at.series[row]])!r} of {group!r} has {shown[0]} in {target!r} first and {shown[1]} in "
            f"row {row + 1}; a series has one class, the same in all of its rows",
            row=row + 1,
            column=target,
            code="schema_mismatch",
        )


def _within(at: Places, table: Table):  # type: ignore[no-untyped-def]
    """Points past MOST_STEPS are passed over."""
    kept = np.flatnonzero(at.step < MOST_STEPS)
    return (lambda t: t) if len(kept) == len(table) else (lambda t: t.take(kept))

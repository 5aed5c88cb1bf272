"""What every supervised table task must keep, as a suite that a plug-in's author inherits.

>>> class TestMine(TaskSuite):  # doctest: +SKIP
...     task = my_task
...     def table(self): return my_table, "target"
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from assay.data.table import Column, ColumnType, Table, Words
from assay.errors import SpecError
from assay.metrics import METRICS
from assay.spec import JobSpec, Resolved, resolve
from assay.tasks import TaskType


@dataclass(frozen=True)
class ColumnFacts:
    name: str
    type: str
    missing: int
    distinct: int


@dataclass(frozen=True)
class ProfileFacts:
    n_rows: int
    columns: tuple[ColumnFacts, ...]


def facts_of(table: Table) -> ProfileFacts:
    """The little of a profile that resolving needs."""
    return ProfileFacts(len(table), tuple(_facts(name, column, table) for name, column in table.columns.items()))


class TaskSuite:
    """Inherit, set `task`, and give `table()`: a table with at least 60 rows and the name of its target."""

    task: ClassVar[TaskType]

    def table(self) -> tuple[Table, str]:
        raise NotImplementedError("give a table and the name of its target")

    def resolved(self, **task: Any) -> Resolved:
        table, target = self.table()
        return resolve(JobSpec.from_json({"task": {"type": self.task.name, "target": target, **task}}), facts_of(table))

    def test_it_names_itself_and_its_kinds(self) -> None:
        assert isinstance(self.task, TaskType)
        assert self.task.name.islower()
        assert self.task.about
        for kind in self.task.kinds:
            assert kind in METRICS[self.task.default_metric(kind)].kinds

    def test_what_it_resolves_to_survives_json(self) -> None:
        resolved = self.resolved()
        assert Resolved.from_json(json.loads(json.dumps(resolved.to_json()))) == resolved

    def test_the_target_is_never_a_feature(self) -> None:
        table, target = self.table()
        problem = self.task.prepare(table, self.resolved())
        assert target not in problem.features.names
        assert target not in problem.gate.names

    def test_rows_without_a_target_are_left_out_and_counted(self) -> None:
        table, target = self.table()
        holes = table.take(np.arange(len(table)))
        column = holes.columns[target]
        rows = np.arange(0, len(table), 10)
        if isinstance(column, Words):
            codes = column.codes.copy()
            codes[rows] = -1
            column = Words(codes, column.levels)
        else:
            column = table.numbers(target).astype(np.float64)
            column[rows] = np.nan
        holed = Table({**holes.columns, target: column}, holes.types)
        problem = self.task.prepare(holed, self.resolved())
        assert problem.left_out == len(rows)
        assert len(problem.y) == len(table) - len(rows)

    def test_test_rows_are_in_no_fold(self) -> None:
        problem = self.task.prepare(self.table()[0], self.resolved())
        assert len(problem.folds.test) > 0
        for train, valid in problem.folds.pairs:
            assert not set(problem.folds.test) & (set(train) | set(valid))

    def test_the_same_input_gives_the_same_problem(self) -> None:
        a, b = (self.task.prepare(self.table()[0], self.resolved()) for _ in range(2))
        assert (a.y == b.y).all()
        assert all(
            (p[0] == q[0]).all() and (p[1] == q[1]).all() for p, q in zip(a.folds.pairs, b.folds.pairs, strict=True)
        )

    def test_an_unknown_target_is_refused_with_the_closest_name(self) -> None:
        table, target = self.table()
        with pytest.raises(SpecError) as caught:
            resolve(JobSpec.from_json({"task": {"type": self.task.name, "target": target + "x"}}), facts_of(table))
        assert caught.value.code == "target_not_found"
        assert repr(target) in str(caught.value)


def _facts(name: str, column: Column, table: Table) -> ColumnFacts:
    if isinstance(column, Words):
        used = column.codes[column.codes >= 0]
        return ColumnFacts(name, str(table.types[name]), int((column.codes < 0).sum()), len(np.unique(used)))
    column = table.numbers(name)
    known = column[~np.isnan(column)] if column.dtype.kind == "f" else column
    kind = table.types[name] if column.dtype.kind == "f" else ColumnType.INTEGER
    return ColumnFacts(name, str(kind), int(len(column) - len(known)), len(np.unique(known)))

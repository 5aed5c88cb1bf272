"""Regression of one numeric column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.data.table import ColumnType, Table
from assay.errors import DataError, SpecError
from assay.spec import JobSpec, ProfileFacts, Resolved, column
from assay.tasks._problem import Problem, build_problem, resolve_table
from assay.tasks._supervised import Supervised

if TYPE_CHECKING:
    from assay.tasks import TaskType


class Regression(Supervised):
    """Predict a number."""

    name = "regression"
    about = "predict a number for every row"
    kinds: tuple[str, ...] = ("regression",)

    def default_metric(self, kind: str) -> str:
        return "rmse"

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        if not spec.task.target:
            raise SpecError("regression needs task.target, the column to predict", pointer="/task/target")
        target = column(profile, spec.task.target, "/task/target", "target_not_found")
        # an id-like or constant column of whole numbers may be a fine target: only words cannot be one
        if target.type in (ColumnType.CATEGORY, ColumnType.TEXT, ColumnType.BOOLEAN, ColumnType.DATETIME):
            raise SpecError(
                f"{target.name!r} holds {target.type} values, and regression needs numbers; "
                "use task.type 'classification', or set the column's type to number",
                pointer="/task/target",
            )
        if target.distinct < 2:
            raise SpecError(
                f"{target.name!r} has one value only; there is nothing to predict",
                pointer="/task/target",
                code="single_class_target",
            )
        because = [f"regression: {target.name!r} has {target.distinct} distinct numbers"]
        return resolve_table(spec, profile, "regression", self.default_metric("regression"), because)

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        values = table.columns[resolved.target]
        if not isinstance(values, np.ndarray):
            raise DataError(
                f"{resolved.target!r} holds words, and regression needs numbers",
                column=resolved.target,
                code="schema_mismatch",
            )
        keep = np.flatnonzero(np.isfinite(values))
        if resolved.metric == "rmsle" and len(keep) and values[keep].min() <= -1:
            raise SpecError(
                f"rmsle needs targets above -1; the smallest of {resolved.target!r} is {values[keep].min():g}",
                pointer="/objective/metric",
            )
        return build_problem(table, resolved, values[keep].astype(np.float64), (), keep)


task: TaskType = Regression()

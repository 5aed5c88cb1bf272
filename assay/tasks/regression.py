"""Regression of one numeric column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from assay.data.table import ColumnType, Table
from assay.errors import DataError, SpecError
from assay.multitask.targets import MULTIOUTPUT
from assay.spec import JobSpec, ProfileFacts, Resolved, column
from assay.tasks import _alike, _quantile
from assay.tasks._problem import Problem, build_problem, resolve_table
from assay.tasks._several import SeveralTargets
from assay.tasks._ways import ByKind, only_one

if TYPE_CHECKING:
    from assay.tasks import TaskType


class Regression(ByKind):
    """Predict a number, or several."""

    name = "regression"
    about = "predict a number for every row"
    kinds: tuple[str, ...] = ("regression", MULTIOUTPUT, _quantile.KIND)
    ways = {MULTIOUTPUT: SeveralTargets(), _quantile.KIND: _quantile.Quantiles()}

    def default_metric(self, kind: str) -> str:
        return {MULTIOUTPUT: "r2", _quantile.KIND: _quantile.METRIC}.get(kind, "rmse")

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        if spec.task.targets:
            only_one(self, spec, MULTIOUTPUT)
            if _quantile.is_asked(spec):
                raise SpecError(
                    "quantiles are predicted of one column; name it in task.target", pointer="/objective/quantiles"
                )
            return _alike.resolve(spec, profile, self.default_metric(MULTIOUTPUT), MULTIOUTPUT)
        if not spec.task.target:
            raise SpecError(
                "regression needs task.target, the column to predict, or task.targets, the columns of several numbers",
                pointer="/task/target",
            )
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
        if _quantile.is_asked(spec) and _quantile.KIND in self.kinds:
            return _quantile.resolve(spec, profile)
        because = [f"regression: {target.name!r} has {target.distinct} distinct numbers"]
        return resolve_table(spec, profile, "regression", self.default_metric("regression"), because)

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        if resolved.kind == MULTIOUTPUT:
            return _alike.prepare(table, resolved)
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
        problem = build_problem(table, resolved, values[keep].astype(np.float64), (), keep)
        return _quantile.of_quantiles(problem) if resolved.kind == _quantile.KIND else problem


task: TaskType = Regression()

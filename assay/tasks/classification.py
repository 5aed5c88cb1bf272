"""Classification of table rows: two classes or many."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import numpy as np

from assay.data.table import ColumnType, Table
from assay.errors import DataError, SpecError
from assay.multitask.targets import MULTILABEL
from assay.spec import JobSpec, ProfileFacts, Resolved, column
from assay.tasks import _alike
from assay.tasks._problem import Problem, build_problem, resolve_table
from assay.tasks._several import SeveralTargets
from assay.tasks._ways import ByKind, only_one

if TYPE_CHECKING:
    from assay.tasks import TaskType

MAX_CLASSES = 1000


class Classification(ByKind):
    """Binary, multiclass and multilabel; the labels are kept exactly as they are written in the data."""

    name = "classification"
    about = "predict one of two or more classes for every row, with probabilities"
    kinds: tuple[str, ...] = ("binary", "multiclass", MULTILABEL)
    ways = {MULTILABEL: SeveralTargets()}

    def default_metric(self, kind: str) -> str:
        return "roc_auc" if kind == "binary" else "log_loss"

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        if spec.task.targets:
            only_one(self, spec, MULTILABEL)
            return _alike.resolve(spec, profile, self.default_metric(MULTILABEL), MULTILABEL)
        if not spec.task.target:
            raise SpecError(
                "classification needs task.target, the column to predict, or task.targets, the columns of several labels",
                pointer="/task/target",
            )
        target = column(profile, spec.task.target, "/task/target", "target_not_found")
        if target.distinct < 2:
            raise SpecError(
                f"{target.name!r} has {target.distinct} distinct value(s); classification needs at least two",
                pointer="/task/target",
                code="single_class_target",
            )
        if target.distinct > MAX_CLASSES:
            raise SpecError(
                f"{target.name!r} has {target.distinct} distinct values, more than {MAX_CLASSES} classes; "
                + (
                    "use task.type 'regression'"
                    if target.type in (ColumnType.NUMBER, ColumnType.INTEGER)
                    else "group them first"
                ),
                pointer="/task/target",
            )
        kind = "binary" if target.distinct == 2 else "multiclass"
        if spec.task.positive_class is not None and kind != "binary":
            raise SpecError(
                f"positive_class is for two classes; {target.name!r} has {target.distinct}",
                pointer="/task/positive_class",
            )
        because = [f"{kind}: {target.name!r} has {target.distinct} distinct values"]
        resolved = resolve_table(spec, profile, kind, self.default_metric(kind), because)
        return resolved

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        from assay.data.labels import labels

        if resolved.kind == MULTILABEL:
            return _alike.prepare(table, resolved)
        words = labels(table, resolved.target)
        keep = np.flatnonzero(words.codes >= 0)
        used = np.unique(words.codes[keep])
        names = order_classes([str(words.levels[c]) for c in used], resolved.positive_class)
        code_of = {name: i for i, name in enumerate(names)}
        recode = np.full(len(words.levels), -1, dtype=np.int64)
        for c in used:
            recode[c] = code_of[str(words.levels[c])]
        if len(names) < 2:
            raise DataError(
                f"{resolved.target!r} has one class only", column=resolved.target, code="single_class_target"
            )
        return build_problem(table, resolved, recode[words.codes[keep]], tuple(names), keep)


def order_classes(names: list[str], positive: str | None) -> list[str]:
    """Numbers by value, words alphabetically; a named positive class comes last (it is class 1 of two)."""
    try:
        ordered = sorted(names, key=float)
    except ValueError:
        ordered = sorted(names)
    if positive is None:
        return ordered
    if positive not in ordered:
        close = difflib.get_close_matches(positive, ordered, n=1)
        hint = f"closest: {close[0]!r}" if close else f"classes: {', '.join(map(repr, ordered[:10]))}"
        raise SpecError(f"{positive!r} is not a class of the target; {hint}", pointer="/task/positive_class")
    return [n for n in ordered if n != positive] + [positive]


task: TaskType = Classification()

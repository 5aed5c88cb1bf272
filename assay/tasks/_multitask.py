"""What a job with several targets is about: the kind of each, the rows that have any label, and folds fair to all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from assay.data.table import ColumnType, Table
from assay.errors import DataError, SpecError
from assay.multitask.targets import KIND, MultiTarget, OneTarget, Truth
from assay.spec import MIN_ROWS, ColumnFacts, JobSpec, ProfileFacts, Resolved, column
from assay.tasks._problem import Problem, build_problem, resolve_table

CLASS_LIMIT = 20  # whole numbers with more distinct values than this are amounts
MAX_CLASSES = 200  # of one target
MAX_TARGETS = 50
RANK_BINS = 4  # of a numeric target, for folds
_NO_USE = ("target", "positive_class", "horizon")


def resolve(spec: JobSpec, profile: ProfileFacts, default_metric: str) -> Resolved:
    """Every `auto` decided.  Raises SpecError."""
    task = spec.task
    for name in _NO_USE:
        if getattr(task, name) is not None:
            way_out = "name all targets in task.targets" if name == "target" else "leave it out"
            raise SpecError(f"multitask has no use for task.{name}; {way_out}", pointer=f"/task/{name}")
    names = _names(task.targets)
    facts = [column(profile, n, f"/task/targets/{i}", "target_not_found") for i, n in enumerate(names)]
    kinds = [_kind(c, profile.n_rows, f"/task/targets/{i}") for i, c in enumerate(facts)]
    because = [f"{c.name!r} is {kind}: {_why(c)}" for c, kind in zip(facts, kinds, strict=True)]
    # the target with the most labels stands for all where one is asked for
    first = min(facts, key=lambda c: c.missing)
    others = tuple(n for n in names if n != first.name)
    single = replace(task, target=first.name, targets=None, ignore_columns=(*task.ignore_columns, *others))
    resolved = resolve_table(replace(spec, task=single), profile, KIND, default_metric, because)
    left_out = tuple((c, "a target" if c in others else why) for c, why in resolved.left_out)
    because = [*resolved.because, "rows that miss some labels are used for the others"]
    if resolved.metric == default_metric:
        because.append(f"{default_metric}: every target counts the same, whatever its unit")
    return replace(
        resolved,
        target=", ".join(names),
        left_out=left_out,
        because=tuple(because),
        options={**resolved.options, "targets": [{"name": n, "kind": k} for n, k in zip(names, kinds, strict=True)]},
    )


def prepare(table: Table, resolved: Resolved) -> Problem:
    """Rows with at least one label, their labels, and folds that keep every target's labels in proportion."""
    wanted = [(str(t["name"]), str(t["kind"])) for t in resolved.options["targets"]]
    read = [_read(table, name, kind) for name, kind in wanted]
    targets = [target for target, _ in read]
    matrix = np.column_stack([values for _, values in read])
    keep = np.flatnonzero(~np.isnan(matrix).all(1))
    if len(keep) < MIN_ROWS:
        raise DataError(f"{len(keep)} rows have a label; at least {MIN_ROWS} are needed", code="too_few_rows")
    truth = Truth.of(matrix[keep], targets)
    problem = build_problem(table, resolved, strata(truth, resolved.folds), (), keep)
    _check_folds(problem, truth)
    return replace(problem, y=truth, target=MultiTarget.of(targets, resolved.metric), classes=())


def strata(truth: Truth, folds: int) -> np.ndarray:
    """Classes, ranks of numbers and missing labels of the targets together, as far as rows suffice.  int64 (n,)."""
    n = len(truth)
    codes = np.zeros(n, np.int64)
    for i, target in enumerate(truth.targets):
        values = np.asarray(truth)[:, i]
        if target.classes:
            own = np.nan_to_num(values, nan=-1).astype(np.int64)
        else:
            rows, y = truth.column(i)
            own = np.full(n, -1, np.int64)
            own[rows] = np.argsort(np.argsort(y, kind="stable"), kind="stable") * RANK_BINS // max(1, len(y))
        joined = np.unique(codes * (own.max() + 2) + own + 1, return_inverse=True)[1]
        if i == 0 or np.bincount(joined).min() >= 2 * folds:
            codes = joined.astype(np.int64)
    return codes


def _names(targets: Sequence[str] | None) -> list[str]:
    if not targets:
        raise SpecError("multitask needs task.targets, the columns to predict", pointer="/task/targets")
    if len(targets) < 2:
        raise SpecError(
            f"multitask predicts two or more columns, and task.targets names {len(targets)}; for one use task.type "
            "'classification' or 'regression'",
            pointer="/task/targets",
        )
    if len(targets) > MAX_TARGETS:
        raise SpecError(f"task.targets names {len(targets)} columns; at most {MAX_TARGETS}", pointer="/task/targets")
    for i, name in enumerate(targets):
        if name in targets[:i]:
            raise SpecError(f"task.targets names {name!r} twice", pointer=f"/task/targets/{i}")
    return list(targets)


def _kind(c: ColumnFacts, n_rows: int, pointer: str) -> str:
    if n_rows - c.missing < MIN_ROWS:
        raise SpecError(
            f"only {n_rows - c.missing} rows have a value in {c.name!r}; at least {MIN_ROWS} are needed",
            pointer=pointer,
            code="too_few_rows",
        )
    if c.distinct < 2:
        raise SpecError(
            f"{c.name!r} has {c.distinct} distinct value(s); there is nothing to predict",
            pointer=pointer,
            code="single_class_target",
        )
    if c.type in (ColumnType.IMAGE, ColumnType.DATETIME):
        raise SpecError(
            f"{c.name!r} holds {c.type} values; a target is a number or a class. Leave it out of task.targets",
            pointer=pointer,
        )
    is_number = c.type != ColumnType.ID or isinstance(getattr(c, "example", ""), (int, float))
    amounts = (ColumnType.INTEGER, ColumnType.ID)
    if is_number and (c.type == ColumnType.NUMBER or (c.type in amounts and c.distinct > CLASS_LIMIT)):
        return "binary" if c.distinct == 2 else "regression"
    if c.distinct > MAX_CLASSES:
        raise SpecError(
            f"{c.name!r} has {c.distinct} distinct values, more than {MAX_CLASSES} classes of one target; group them first",
            pointer=pointer,
        )
    return "binary" if c.distinct == 2 else "multiclass"


def _why(c: ColumnFacts) -> str:
    return f"type {c.type}, {c.distinct} distinct values" + (f", {c.missing} missing" if c.missing else "")


def _read(table: Table, name: str, kind: str) -> tuple[OneTarget, np.ndarray]:
    """A target and its labels, float64 (n,), NaN where missing.  Raises DataError."""
    from assay.data.labels import labels
    from assay.tasks.classification import order_classes

    if kind == "regression":
        values = table.columns[name]
        if not isinstance(values, np.ndarray):
            raise DataError(f"{name!r} holds words, and was taken for numbers", column=name, code="schema_mismatch")
        return OneTarget(name, kind), np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    words = labels(table, name)
    used = np.unique(words.codes[words.codes >= 0])
    if len(used) < 2:
        raise DataError(f"{name!r} has one class only", column=name, code="single_class_target")
    classes = order_classes([str(words.levels[c]) for c in used], None)
    recode = np.full(len(words.levels) + 1, np.nan)
    for c in used:
        recode[c] = classes.index(str(words.levels[c]))
    return OneTarget(name, "binary" if len(classes) == 2 else "multiclass", tuple(classes)), recode[words.codes]


def _check_folds(problem: Problem, truth: Truth) -> None:
    """Every target must be learnable in every fold.  Raises DataError."""
    for train, _ in problem.folds.pairs:
        for i, target in enumerate(truth.targets):
            _, y = truth[train].column(i)
            if len(y) < 2 or not np.any(y != y[0]):
                raise DataError(
                    f"{target.name!r} has labels in so few rows, or so few of them differ, that a fold has nothing to "
                    "learn it from; leave it out of task.targets, or ask for fewer folds",
                    column=target.name,
                    code="too_few_rows",
                )

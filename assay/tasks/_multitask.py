"""What a job with several targets is about: the kind of each, the rows that have any label, and folds fair to all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from assay.data.table import Table
from assay.errors import DataError, SpecError
from assay.multitask.targets import KIND, MultiTarget, Truth
from assay.spec import MIN_ROWS, ColumnFacts, JobSpec, ProfileFacts, Resolved, column
from assay.tasks._multitask_kinds import Asked, at_least_two, kind_of, read_target
from assay.tasks._problem import Problem, build_problem, resolve_table

RANK_BINS = 4  # of a numeric target, for folds


def resolve(
    spec: JobSpec, profile: ProfileFacts, asked: tuple[Asked, ...], families: tuple[str, ...], default_metric: str
) -> Resolved:
    """Every `auto` decided.  families: those to search.  Raises SpecError."""
    task = spec.task
    at_least_two(asked)
    names = [a.name for a in asked]
    facts, kinds = told_of(asked, profile)
    for i, one in enumerate(asked):
        if one.columns is not None or one.kind not in ("auto", "classification", "regression"):
            raise SpecError(
                f"{one.name!r} is asked for as a target of texts (kind {one.kind!r}); columns and such kinds are for "
                "families that read texts, such as mt_dnn",
                pointer=f"/task/targets/{i}",
            )
    because = [why(c, kind) for c, kind in zip(facts, kinds, strict=True)]
    # the target with the most labels stands for all where one is asked for
    first = min(facts, key=lambda c: c.missing)
    others = tuple(n for n in names if n != first.name)
    single = replace(task, target=first.name, targets=None, ignore_columns=(*task.ignore_columns, *others))
    searched = replace(spec, task=single, search=replace(spec.search, families=families))
    resolved = resolve_table(searched, profile, KIND, default_metric, because)
    left_out = tuple((c, "a target" if c in others else reason) for c, reason in resolved.left_out)
    because = [*resolved.because, "rows that miss some labels are used for the others"]
    if resolved.metric == default_metric:
        because.append(f"{default_metric}: every target counts the same, whatever its unit")
    return replace(
        resolved,
        families=families,
        target=", ".join(names),
        left_out=left_out,
        because=tuple(because),
        options={**resolved.options, "targets": [{"name": n, "kind": k} for n, k in zip(names, kinds, strict=True)]},
    )


def told_of(asked: tuple[Asked, ...], profile: ProfileFacts) -> tuple[list[ColumnFacts], list[str]]:
    """The columns of the targets and the kind of each.  Raises SpecError."""
    places = [f"/task/targets/{i}" for i in range(len(asked))]
    facts = [column(profile, a.name, p, "target_not_found") for a, p in zip(asked, places, strict=True)]
    kinds = [kind_of(c, profile.n_rows, p, a.kind) for c, p, a in zip(facts, places, asked, strict=True)]
    return facts, kinds


def prepare(table: Table, resolved: Resolved) -> Problem:
    """Rows with at least one label, their labels, and folds that keep every target's labels in proportion."""
    wanted = [(str(t["name"]), str(t["kind"])) for t in resolved.options["targets"]]
    read = [read_target(table, name, kind) for name, kind in wanted]
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


def why(c: ColumnFacts, kind: str) -> str:
    """A target's kind, in words."""
    missing = f", {c.missing} missing" if c.missing else ""
    return f"{c.name!r} is {kind}: type {c.type}, {c.distinct} distinct values{missing}"


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

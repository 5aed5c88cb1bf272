"""Several targets that are all alike, labels or numbers, of tables: what is asked, and who learns them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from assay.data.table import ColumnType, Table
from assay.errors import DataError, SpecError
from assay.families import for_task
from assay.multitask.targets import KIND, MULTILABEL, MULTIOUTPUT, MultiTarget, Truth
from assay.spec import MIN_ROWS, ColumnFacts, JobSpec, ProfileFacts, Resolved, column
from assay.tasks._multitask import strata, why
from assay.tasks._multitask_kinds import AUTO, asked_of, kind_of, read_target
from assay.tasks._problem import Problem, build_problem, resolve_table

JOINT = ("hard_sharing",)  # families that learn all targets together, tried beside those that learn each by itself
_NO_USE = ("target", "positive_class", "horizon")


def resolve(spec: JobSpec, profile: ProfileFacts, default_metric: str, kind: str) -> Resolved:
    """Every `auto` decided.  kind: "multilabel" or "multioutput".  Raises SpecError."""
    task = spec.task
    for name in _NO_USE:
        if getattr(task, name) is not None:
            way_out = "name all targets in task.targets" if name == "target" else "leave it out"
            raise SpecError(f"{kind} has no use for task.{name}; {way_out}", pointer=f"/task/{name}")
    names = _names(spec, kind)
    facts = [column(profile, n, f"/task/targets/{i}", "target_not_found") for i, n in enumerate(names)]
    kinds = [_kind(c, kind, profile.n_rows, f"/task/targets/{i}") for i, c in enumerate(facts)]
    # the target with the most labels stands for all where one is asked for
    first = min(facts, key=lambda c: c.missing)
    others = tuple(n for n in names if n != first.name)
    single = replace(task, target=first.name, targets=None, ignore_columns=(*task.ignore_columns, *others))
    own, joint = _split_families(replace(spec, task=single))
    only_joint = spec.search.families is not None and own.search.families is None
    if spec.limits.time_seconds is not None:  # folds for the time that one target gets
        own = replace(own, limits=replace(spec.limits, time_seconds=spec.limits.time_seconds / len(names)))
    because = [why(c, k) for c, k in zip(facts, kinds, strict=True)]
    resolved = resolve_table(own, profile, kind, default_metric, because)
    return replace(
        resolved,
        target=", ".join(names),
        families=joint if only_joint else (*resolved.families, *joint),
        left_out=tuple((c, "a target" if c in others else reason) for c, reason in resolved.left_out),
        because=(*resolved.because, "rows that miss some targets are used for the others"),
        options={**resolved.options, "targets": [{"name": n, "kind": k} for n, k in zip(names, kinds, strict=True)]},
    )


def prepare(table: Table, resolved: Resolved) -> Problem:
    """Rows with at least one target, and folds that keep all of them in proportion."""
    read = [read_target(table, str(t["name"]), str(t["kind"])) for t in resolved.options["targets"]]
    targets = [target for target, _ in read]
    for target in targets:
        if resolved.kind == MULTILABEL and len(target.classes) != 2:
            raise DataError(f"{target.name!r} has {len(target.classes)} classes; a label has two", column=target.name)
    matrix = np.column_stack([values for _, values in read])
    keep = np.flatnonzero(~np.isnan(matrix).all(1))
    if len(keep) < MIN_ROWS:
        raise DataError(f"{len(keep)} rows have a target; at least {MIN_ROWS} are needed", code="too_few_rows")
    truth = Truth.of(matrix[keep], targets)
    problem = build_problem(table, resolved, strata(truth, resolved.folds), (), keep)
    return replace(problem, y=truth, target=MultiTarget.of(targets, resolved.metric), classes=())


def _names(spec: JobSpec, kind: str) -> list[str]:
    asked = asked_of(spec.task.targets)
    if len(asked) < 2:
        raise SpecError(
            f"{kind} predicts two or more columns, and task.targets names {len(asked)}; for one name it in task.target",
            pointer="/task/targets",
        )
    for i, one in enumerate(asked):
        if one.columns is not None or one.kind != AUTO:
            raise SpecError(
                f"targets of {spec.task.type} are names of columns; kinds and columns of each go with task.type 'multitask'",
                pointer=f"/task/targets/{i}",
            )
    return [one.name for one in asked]


def _kind(c: ColumnFacts, kind: str, n_rows: int, pointer: str) -> str:
    """The kind of one target where all must be alike.  Raises SpecError."""
    found = kind_of(c, n_rows, pointer)
    if kind == MULTILABEL and found != "binary":
        raise SpecError(
            f"{c.name!r} has {c.distinct} distinct values; a label has two, for example 0 and 1. Columns with more "
            "classes, and numbers, go with task.type 'multitask'",
            pointer=pointer,
        )
    words = (ColumnType.CATEGORY, ColumnType.TEXT, ColumnType.BOOLEAN)
    if kind == MULTIOUTPUT and c.type in words:
        raise SpecError(
            f"{c.name!r} holds {c.type} values, and regression needs numbers; use task.type 'multitask' for classes and "
            "numbers together",
            pointer=pointer,
        )
    return "binary" if kind == MULTILABEL else "regression"


def _split_families(spec: JobSpec) -> tuple[JobSpec, tuple[str, ...]]:
    """The request for families that fit every target by itself, and the names of those that learn all together."""
    tables = {n for n, f in for_task(KIND).items() if getattr(f, "form", "table") == "table"}
    known = tables - {"independent"}
    named = spec.search.families
    if named is None:
        return spec, tuple(f for f in JOINT if f in known)
    joint = tuple(dict.fromkeys(f for f in named if f in known))
    alone = tuple(f for f in named if f not in known)
    if not alone and joint:
        return replace(spec, search=replace(spec.search, families=None)), joint
    return replace(spec, search=replace(spec.search, families=alone)), joint

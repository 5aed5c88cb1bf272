"""A supervised problem over a table, ready to be searched: rows, targets, folds, and the rows of the replay gate."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from assay.data.fronts import Front
from assay.data.split import Folds, make_folds
from assay.data.table import ColumnType, Table, Words
from assay.errors import DataError, SpecError
from assay.families import Shape, Target
from assay.metrics import METRICS, Metric, for_kind
from assay.spec import MIN_ROWS, ColumnFacts, JobSpec, ProfileFacts, Resolved, column, pick_families, pick_strategy

LEAST_FOLDS = 3
WORTHWHILE_TRIALS = 16  # a search of fewer is hardly one
SLOTS = 2  # trials side by side that are reckoned with; how many there will be is not known when a job is made
_NUMBERS = ("regression", "multioutput", "quantile")  # kinds whose targets are numbers
GATE_ROWS = 1000  # real rows replayed through every graph before it is published


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything a trial needs.  y: int64 codes (n,) or float64 targets (n,), for the rows that have one."""

    resolved: Resolved
    features: Table
    y: np.ndarray
    weight: np.ndarray | None
    target: Target
    classes: tuple[str, ...]
    folds: Folds
    gate: Table  # features of the gate's rows: real ones and synthetic ones
    left_out: int = 0  # rows without a target
    notes: tuple[str, ...] = field(default=())
    fronts: Mapping[str, Front] = field(default_factory=dict)  # of columns that no graph reads by itself
    fields: tuple[Mapping[str, Any], ...] = ()  # of the input schema, for columns that only put rows together

    @property
    def metric(self) -> Metric:
        return METRICS[self.resolved.metric]


def resolve_table(spec: JobSpec, profile: ProfileFacts, kind: str, default_metric: str, because: list[str]) -> Resolved:
    """The part of resolving that all supervised table tasks share."""
    task = spec.task
    if not task.target:
        raise SpecError(f"{task.type} needs task.target, the column to predict", pointer="/task/target")
    target = column(profile, task.target, "/task/target", "target_not_found")
    usable = profile.n_rows - target.missing
    if usable < MIN_ROWS:
        raise SpecError(
            f"only {usable} rows have a value in {task.target!r}; at least {MIN_ROWS} are needed",
            pointer="/task/target",
            code="too_few_rows",
        )
    metric = spec.objective.metric
    if metric == "auto":
        metric = default_metric
        because.append(f"metric {metric}: the usual one for {kind}")
    if metric not in METRICS or kind not in METRICS[metric].kinds:
        raise SpecError(
            f"{metric!r} is not a metric for {kind}; known: {', '.join(for_kind(kind))}", pointer="/objective/metric"
        )
    features, left_out = _features(spec, profile)
    if task.monotone:
        spec = _for_monotone(spec, kind, features)
        told = ", ".join(f"{c} {d}" for c, d in task.monotone.items())
        because.append(f"families {', '.join(spec.search.families or ())}: they keep to monotone ({told})")
    shape = Shape(usable, len(features), 0 if kind in _NUMBERS else target.distinct)
    families = pick_families(spec, shape.n_rows, shape.n_features, shape.n_classes)
    method, folds = _validation(spec, shape, families, because)
    strategy = pick_strategy(spec)
    if spec.device == "gpu":
        because.append("device gpu: as asked; without a GPU worker the job waits")
    return Resolved(
        task=task.type,
        kind=kind,
        target=task.target,
        metric=metric,
        greater_is_better=METRICS[metric].greater_is_better,
        features=tuple(c.name for c in features),
        left_out=tuple(left_out),
        method=method,
        folds=folds,
        test_fraction=spec.validation.test_fraction,
        seed=spec.validation.seed,
        strategy=strategy,
        families=families,
        ensemble=spec.search.ensemble,
        lane="gpu" if spec.device == "gpu" else "cpu",
        n_rows=usable,
        n_classes=shape.n_classes,
        positive_class=task.positive_class,
        group_column=task.group_column,
        time_column=task.time_column,
        weight_column=task.weight_column,
        because=tuple(because),
        options={"monotone": dict(task.monotone)} if task.monotone else {},
    )


def able_families(spec: JobSpec, attribute: str, cannot: str) -> JobSpec:
    """The request with only families that have an attribute.  Raises SpecError for one named that has not."""
    from assay.families import for_task

    able = tuple(n for n, f in for_task(spec.task.type).items() if getattr(f, attribute, False))
    named = spec.search.families
    for i, family in enumerate(named or ()):
        if family not in able:
            raise SpecError(
                f"{family!r} {cannot}; families that can: {', '.join(able) or 'none'}", pointer=f"/search/families/{i}"
            )
    if named is not None:
        return spec
    if not able:
        raise SpecError(f"no family of {spec.task.type} can: each {cannot}", pointer="/task/type")
    return replace(spec, search=replace(spec.search, families=able))


def _for_monotone(spec: JobSpec, kind: str, features: Sequence[ColumnFacts]) -> JobSpec:
    """Checks task.monotone.  Raises SpecError."""
    if kind not in ("binary", "regression", "quantile"):
        raise SpecError(
            f"monotone columns are for a number or two classes; this job is {kind}. Leave task.monotone out",
            pointer="/task/monotone",
        )
    types = {c.name: c.type for c in features}
    for name, direction in (spec.task.monotone or {}).items():
        pointer = f"/task/monotone/{name}"
        if name not in types:
            close = difflib.get_close_matches(name, list(types), n=1)
            hint = f"closest: {close[0]!r}" if close else f"features: {', '.join(list(types)[:10])}"
            raise SpecError(f"{name!r} is not a feature of this job; {hint}", pointer=pointer)
        if types[name] not in (ColumnType.NUMBER, ColumnType.INTEGER):
            raise SpecError(f"{name!r} holds {types[name]} values, and only numbers rise and fall", pointer=pointer)
        if direction not in ("increasing", "decreasing"):
            raise SpecError(f"{direction!r} is no direction; choose 'increasing' or 'decreasing'", pointer=pointer)
    return able_families(spec, "monotone", "does not keep to monotone columns")


def build_problem(
    table: Table, resolved: Resolved, y: np.ndarray, classes: tuple[str, ...], keep: np.ndarray
) -> Problem:
    """Folds and gate for the rows in `keep` (positions with a target); y belongs to exactly those rows."""
    from assay.model.gate import gate_table

    rng = np.random.default_rng([resolved.seed, 1])
    features = table.take(keep).select(resolved.features)
    weight = _weights(table, resolved, keep)
    n_classes = len(classes)
    groups = None if resolved.group_column is None else _codes(table, resolved.group_column)[keep]
    order = None if resolved.time_column is None else _sort_key(table, resolved.time_column)[keep]
    notes: list[str] = []
    k = resolved.folds
    if groups is not None and resolved.method == "group":
        found = len(np.unique(groups))
        if found < 2:
            raise DataError(
                f"{resolved.group_column!r} has one group only; grouped validation needs two",
                column=resolved.group_column,
                code="too_few_rows",
            )
        if found < k:
            notes.append(f"{found} folds instead of {k}: {resolved.group_column!r} has no more groups")
            k = found
    parts = resolved.options.get("parts")
    if parts is None:
        fraction = resolved.test_fraction
        folds = make_folds(resolved.method, k, fraction, rng, n=len(y), strata=y, groups=groups, order=order)
    else:
        folds = given_folds(parts, keep, resolved, k, rng, y=y, groups=groups, order=order)
    return Problem(
        resolved=replace(resolved, n_classes=n_classes, folds=len(folds), n_rows=len(y)),
        features=features,
        y=y,
        weight=weight,
        target=Target(resolved.kind, n_classes, resolved.metric),
        classes=classes,
        folds=folds,
        gate=gate_table(features, np.random.default_rng([resolved.seed, 2]), GATE_ROWS),
        left_out=len(table) - len(keep),
        notes=tuple(notes),
    )


def given_folds(
    parts: Mapping[str, int],
    keep: np.ndarray,
    resolved: Resolved,
    k: int,
    rng: np.random.Generator,
    *,
    y: np.ndarray,
    groups: np.ndarray | None,
    order: np.ndarray | None,
) -> Folds:
    """Folds where the user gave validation rows, test rows, or both; they follow the training rows in the table."""
    ends = np.cumsum([parts.get(name, 0) for name in ("train", "validation", "test")])
    part = np.searchsorted(ends, keep, side="right")  # 0, 1 or 2 for every row with a target
    train, valid, test = (np.flatnonzero(part == i) for i in range(3))
    for name, rows in (("train", train), ("validation", valid), ("test", test)):
        if parts.get(name) and not len(rows):
            raise DataError(f"no row of the {name} dataset has a value in {resolved.target!r}", code="too_few_rows")
    if len(valid):
        return Folds(test, ((train, valid),))
    own = [None if a is None else a[train] for a in (groups, order)]
    inner = make_folds(resolved.method, k, 0.0, rng, n=len(train), strata=y[train], groups=own[0], order=own[1])
    return Folds(test, tuple((train[a], train[b]) for a, b in inner.pairs))


def _features(spec: JobSpec, profile: ProfileFacts) -> tuple[list[ColumnFacts], list[tuple[str, str]]]:
    task = spec.task
    for i, name in enumerate(task.ignore_columns):
        column(profile, name, f"/task/ignore_columns/{i}")
    roles = {task.target: "the target"}
    for role, text in (
        ("group_column", "groups the rows"),
        ("time_column", "orders the rows"),
        ("weight_column", "weights the rows"),
    ):
        name = getattr(task, role)
        if name is not None:
            column(profile, name, f"/task/{role}")
            roles.setdefault(name, text)
    features: list[ColumnFacts] = []
    left_out: list[tuple[str, str]] = []
    for c in profile.columns:
        if c.name == task.target:
            continue
        why = roles.get(c.name)
        if why is None and c.name in task.ignore_columns:
            why = "ignored as asked"
        if why is None and c.type == ColumnType.ID:
            why = "identifies rows; set its type to use it all the same"
        if why is None and (c.type == ColumnType.CONSTANT or c.distinct == 0):
            why = "has one value only"
        if why is None:
            features.append(c)
        else:
            left_out.append((c.name, why))
    if not features:
        reasons = "; ".join(f"{c!r} {why}" for c, why in left_out[:5]) or "the table has the target only"
        raise SpecError(f"no column is left to predict from: {reasons}", pointer="/task/ignore_columns")
    return features, left_out


def _validation(spec: JobSpec, shape: Shape, families: Sequence[str], because: list[str]) -> tuple[str, int]:
    method, folds, n = spec.validation.method, spec.validation.folds, shape.n_rows
    for needs, name in (("group", "group_column"), ("time", "time_column")):
        if method == needs and getattr(spec.task, name) is None:
            raise SpecError(f"validation.method {needs!r} needs task.{name}", pointer=f"/task/{name}")
    if method == "auto":
        if spec.task.group_column is not None:
            method = "group"
        elif spec.task.time_column is not None:
            method = "time"
        else:
            method = "cv" if n <= 100_000 else "holdout"
        because.append(f"validation {method}: {n} rows" + (", grouped" if method == "group" else ""))
    if folds is None:
        # small tables need every row for training and have the time for more folds; large ones are judged well by few
        folds = 8 if n < 2_000 else 5 if n <= 100_000 or method == "holdout" else 3
        why = f"{n} rows"
        can = _folds_in_time(spec, shape, families)
        if method != "holdout" and can < folds:
            folds, why = max(LEAST_FOLDS, can), f"{n} rows in {spec.limits.time_seconds:g} s"
        because.append(f"{folds} folds: {why}" if method != "holdout" else f"one fold of 1/{folds}: {why}")
    return method, min(folds, max(2, n // 5))


def _folds_in_time(spec: JobSpec, shape: Shape, families: Sequence[str]) -> int:
    """Folds with which about WORTHWHILE_TRIALS typical trials end within the time limit."""
    from assay.families import discover

    if spec.limits.time_seconds is None:
        return 50
    known = discover()
    seconds = float(np.median([known[f].cost(known[f].Config(), shape).seconds for f in families]))
    return int(SLOTS * spec.limits.time_seconds / max(1e-6, WORTHWHILE_TRIALS * seconds))


def _weights(table: Table, resolved: Resolved, keep: np.ndarray) -> np.ndarray | None:
    name = resolved.weight_column
    if name is None:
        return None
    if not isinstance(table.columns[name], np.ndarray):
        raise DataError(f"weight column {name!r} is not numeric", column=name, code="schema_mismatch")
    weight = table.numbers(name)[keep]
    bad = ~np.isfinite(weight) | (weight < 0)
    if bad.any():
        row = int(keep[np.flatnonzero(bad)[0]]) + 1
        raise DataError(
            f"weight column {name!r} has a missing or negative value in row {row}",
            row=row,
            column=name,
            code="schema_mismatch",
        )
    if weight.sum() == 0:
        raise DataError(f"all weights in {name!r} are zero", column=name, code="schema_mismatch")
    return np.asarray(weight * (len(weight) / weight.sum()), dtype=np.float64)


def _codes(table: Table, name: str) -> np.ndarray:
    values = table.columns[name]
    raw = values.codes if isinstance(values, Words) else np.nan_to_num(table.numbers(name), nan=np.inf)
    return np.asarray(np.unique(raw, return_inverse=True)[1])


def _sort_key(table: Table, name: str) -> np.ndarray:
    """Order of a time column: numbers as they are, words (ISO dates among them) alphabetically; missing is oldest."""
    values = table.columns[name]
    if isinstance(values, Words):
        rank = np.argsort(np.argsort(values.levels.astype(str), kind="stable"), kind="stable")
        return np.asarray(np.append(rank, -1)[values.codes])
    return np.asarray(np.nan_to_num(table.numbers(name), nan=-np.inf))

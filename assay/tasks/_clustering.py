"""What a clustering job is about: its columns, its metric, and the truth column that is only told about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from assay.data.split import Folds
from assay.data.table import ColumnType, Table
from assay.errors import DataError, SpecError
from assay.families import Target
from assay.metrics import METRICS, for_kind
from assay.metrics.clustering import EXTERNAL, KIND
from assay.spec import MIN_ROWS, JobSpec, ProfileFacts, Resolved, column, pick_families, pick_strategy
from assay.tasks._problem import GATE_ROWS, Problem

RESAMPLES = 2  # parts a clustering is found again on
MOST_RESAMPLES = 10
_NO_USE = ("targets", "positive_class", "weight_column", "time_column", "group_column", "horizon")
_UNREAD = {
    ColumnType.ID: "identifies rows; set its type to use it all the same",
    ColumnType.TEXT: "is free text, which has no distances here",
    ColumnType.IMAGE: "holds pictures, which have no distances here",
}


def resolve(spec: JobSpec, profile: ProfileFacts, default_metric: str) -> Resolved:
    """Every `auto` decided.  Raises SpecError."""
    task, because = spec.task, []
    for name in _NO_USE:
        if getattr(task, name) is not None:
            raise SpecError(f"clustering has no use for task.{name}; leave it out", pointer=f"/task/{name}")
    if profile.n_rows < MIN_ROWS:
        raise SpecError(
            f"the dataset has {profile.n_rows} rows; at least {MIN_ROWS} are needed",
            pointer="/dataset_id",
            code="too_few_rows",
        )
    if task.target:
        column(profile, task.target, "/task/target", "target_not_found")
        because.append(f"truth {task.target!r}: compared with the clusters for the report, never seen by the search")
    metric = spec.objective.metric
    if metric == "auto":
        metric = default_metric
        because.append(f"metric {metric}: criteria of compactness, density and agreement between families, combined")
    known = [m for m in for_kind(KIND) if m not in EXTERNAL]
    if metric in EXTERNAL:
        raise SpecError(
            f"{metric!r} compares with a truth, which may not choose clusters; it is reported when task.target names one. "
            f"Choose by: {', '.join(known)}",
            pointer="/objective/metric",
        )
    if metric not in known:
        raise SpecError(
            f"{metric!r} is not a metric for clustering; known: {', '.join(known)}", pointer="/objective/metric"
        )
    features, left_out = _columns(spec, profile)
    method = spec.validation.method
    if method in ("group", "time"):
        raise SpecError(
            f"validation.method {method!r} is not for clustering, which clusters all rows; leave it out",
            pointer="/validation/method",
        )
    resamples = min(spec.validation.folds or RESAMPLES, MOST_RESAMPLES)
    because.append(f"all {profile.n_rows} rows are clustered; found again on {resamples} resamples to tell how stable")
    voted = spec.search.ensemble and metric == "clustering_quality"
    because.append(
        "one clustering is delivered, since clusters of several have no names in common: "
        + ("the one that the likelier ones agree with" if voted else "the best one")
    )
    return Resolved(
        task=task.type,
        kind=KIND,
        target=task.target or "",
        metric=metric,
        greater_is_better=METRICS[metric].greater_is_better,
        features=tuple(features),
        left_out=tuple(left_out),
        method="resamples",
        folds=resamples,
        test_fraction=0.0,
        seed=spec.validation.seed,
        strategy=pick_strategy(spec),
        families=pick_families(spec, profile.n_rows, len(features)),
        ensemble=voted,
        lane="gpu" if spec.device == "gpu" else "cpu",
        n_rows=profile.n_rows,
        because=tuple(because),
    )


def prepare(table: Table, resolved: Resolved) -> Problem:
    """All rows, and the codes of the truth column where there is one (`y`; -1 without).  Raises DataError."""
    from assay.model.gate import gate_table

    features = table.select(resolved.features)
    n = len(table)
    if n < MIN_ROWS:
        raise DataError(f"{n} rows can be used; at least {MIN_ROWS} are needed", code="too_few_rows")
    rows = np.arange(n)
    return Problem(
        resolved=replace(resolved, n_rows=n),
        features=features,
        y=_truth(table, resolved.target),
        weight=None,
        target=Target(KIND, 0, resolved.metric, n_targets=2),
        classes=(),
        folds=Folds(np.empty(0, np.int64), ((rows, rows),)),
        gate=gate_table(features, np.random.default_rng([resolved.seed, 2]), GATE_ROWS),
    )


def _columns(spec: JobSpec, profile: ProfileFacts) -> tuple[list[str], list[tuple[str, str]]]:
    task = spec.task
    for i, name in enumerate(task.ignore_columns):
        column(profile, name, f"/task/ignore_columns/{i}")
    kept: list[str] = []
    left_out: list[tuple[str, str]] = []
    for c in profile.columns:
        why = "is the truth, for the report only" if c.name == task.target else None
        if why is None and c.name in task.ignore_columns:
            why = "ignored as asked"
        if why is None:
            why = _UNREAD.get(ColumnType(c.type))
        if why is None and (c.type == ColumnType.CONSTANT or c.distinct == 0):
            why = "has one value only"
        if why is None:
            kept.append(c.name)
        else:
            left_out.append((c.name, why))
    if not kept:
        reasons = "; ".join(f"{c!r} {why}" for c, why in left_out[:5]) or "the table has none"
        raise SpecError(f"no column is left to cluster by: {reasons}", pointer="/task/ignore_columns")
    return kept, left_out


def _truth(table: Table, target: str) -> np.ndarray:
    if not target:
        return np.full(len(table), -1, np.int64)
    from assay.data.labels import labels

    return np.asarray(labels(table, target).codes, np.int64)

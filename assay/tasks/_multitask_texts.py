"""Several targets of texts: single texts and pairs, classes and numbers, and what each target reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from assay.data.table import Table, Words
from assay.errors import SpecError
from assay.families import Shape, discover
from assay.multitask.targets import KIND, Truth
from assay.multitask.texts import PAIR, RANKING, SIMILARITY, SINGLE, Reads, TextTarget
from assay.spec import JobSpec, ProfileFacts, Resolved
from assay.tasks import _multitask as tables
from assay.tasks._multitask_kinds import Asked, at_least_two
from assay.tasks._problem import Problem, resolve_table
from assay.tasks._text import about_texts, as_texts, fronted

WORTH = 0.35  # of a job's time: what one trial of its dearest family may take
THERE = 0.2  # a target reads the texts that at least this share of its rows have


def resolve(
    spec: JobSpec, profile: ProfileFacts, asked: tuple[Asked, ...], families: tuple[str, ...], default_metric: str
) -> Resolved:
    """Every `auto` decided.  Raises SpecError."""
    at_least_two(asked)
    facts, kinds = tables.told_of(asked, profile)
    because = [tables.why(c, kind) for c, kind in zip(facts, kinds, strict=True)]
    first = min(facts, key=lambda c: c.missing)
    others = tuple(a.name for a in asked if a.name != first.name)
    task = replace(spec.task, target=first.name, targets=None, ignore_columns=(*spec.task.ignore_columns, *others))
    single = replace(spec, task=task, search=replace(spec.search, families=families))
    texts, reasons = as_texts(single, profile)
    single, said = _with_folds(single, profile.n_rows, families)
    resolved = resolve_table(single, texts, KIND, default_metric, because)
    resolved = about_texts(resolved, texts, reasons, single, said)
    targets = [
        _target(a, k, resolved.features, f"/task/targets/{i}")
        for i, (a, k) in enumerate(zip(asked, kinds, strict=True))
    ]
    left_out = tuple((c, "a target" if c in others else reason) for c, reason in resolved.left_out)
    because = [*resolved.because, "rows that miss some labels are used for the others"]
    for t in targets:
        if t["columns"] is None and len(resolved.features) > 1:
            because.append(f"{t['name']!r} reads the texts that at least {THERE:.0%} of its rows have")
    return replace(
        resolved,
        families=families,
        target=", ".join(a.name for a in asked),
        left_out=left_out,
        because=tuple(because),
        options={**resolved.options, "form": "texts", "targets": targets},
    )


def prepare(table: Table, resolved: Resolved) -> Problem:
    """As for a table, with fronts for the texts, and with what every target reads."""
    problem = tables.prepare(table, resolved)
    truth = problem.y
    assert isinstance(truth, Truth)
    reads = []
    for i, told in enumerate(resolved.options["targets"]):
        rows = truth.column(i)[0]
        columns = told["columns"] or _there(problem.features, rows)
        reads.append(_reads(told, tuple(problem.features.names.index(c) for c in columns), truth, i))
    target = TextTarget.over(truth.targets, reads, resolved.metric)
    return fronted(replace(problem, target=target))


def _with_folds(spec: JobSpec, n_rows: int, families: tuple[str, ...]) -> tuple[JobSpec, list[str]]:
    """Five folds, three, or one part of a fifth, as a trial of a net fits into the time.  Returns what to say of it."""
    v, task, seconds = spec.validation, spec.task, spec.limits.time_seconds
    if v.method != "auto" or v.folds is not None or task.group_column is not None or task.time_column is not None:
        return spec, []
    known = discover()
    one = max(known[f].cost(known[f].Config(), Shape(n_rows, 1)).seconds for f in families)
    fitting = [k for k in (5, 3) if seconds is None or k * one <= WORTH * seconds]
    method, folds = ("cv", fitting[0]) if fitting else ("holdout", 5)
    parts = f"{folds} folds" if fitting else f"one part of 1/{folds}"
    why = f"{parts}: {n_rows} texts" + ("" if seconds is None else f" in {seconds:g} s")
    return replace(spec, validation=replace(v, method=method, folds=folds)), [why]


def _target(asked: Asked, kind: str, features: tuple[str, ...], pointer: str) -> dict[str, Any]:
    for k, name in enumerate(asked.columns or ()):
        if name not in features:
            raise SpecError(
                f"{name!r} is not read as text; columns of text: {', '.join(map(repr, features))}",
                pointer=f"{pointer}/columns/{k}",
            )
    pair = asked.kind in (PAIR, SIMILARITY, RANKING)
    if pair and asked.columns is not None and len(asked.columns) != 2:
        raise SpecError(
            f"{asked.kind} reads two columns of text, not {len(asked.columns)}", pointer=f"{pointer}/columns"
        )
    if pair and len(features) < 2:
        raise SpecError(
            f"{asked.kind} reads two columns of text; there is {', '.join(map(repr, features))}",
            pointer=f"{pointer}/kind",
        )
    if asked.kind == RANKING and kind != "binary":
        raise SpecError(
            f"ranking needs a target of two values, which tells good candidates from others; {asked.name!r} is {kind}",
            pointer=f"{pointer}/kind",
        )
    columns = None if asked.columns is None else list(asked.columns)
    if pair and columns is None and len(features) == 2:
        columns = list(features)
    return {"name": asked.name, "kind": kind, "way": asked.kind, "columns": columns}


def _there(features: Table, rows: np.ndarray) -> list[str]:
    """The columns that enough of these rows have a text in; all if none has."""
    shares = {}
    for name, column in features.columns.items():
        assert isinstance(column, Words)
        shares[name] = float(np.mean(column.codes[rows] >= 0)) if len(rows) else 0.0
    return [n for n, share in shares.items() if share >= THERE] or list(features.names)


def _reads(told: dict[str, Any], columns: tuple[int, ...], truth: Truth, i: int) -> Reads:
    way = str(told["way"])
    if way == RANKING:
        return Reads(RANKING, columns[:2])
    if len(columns) == 2 and way in ("auto", PAIR, SIMILARITY):
        return Reads(PAIR if truth.targets[i].classes else SIMILARITY, columns)
    return Reads(SINGLE, columns)

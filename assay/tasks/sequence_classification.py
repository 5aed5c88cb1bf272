"""Classification of series: wide rows (one row a series, one column a step) or long form (one row a point)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.data.table import Table
from assay.spec import JobSpec, ProfileFacts, Resolved, Validation
from assay.tasks._problem import Problem
from assay.tasks._series import (
    as_channels,
    as_steps,
    explained,
    long_form,
    numeric_columns,
    one_row_a_series,
    role_fields,
)
from assay.tasks.classification import Classification

if TYPE_CHECKING:
    from assay.model.deliver import Built, Source
    from assay.model.manifest import Manifest
    from assay.tasks import TaskType

GATE_CELLS = 150_000  # numbers of all real series that the gate replays
LEAST_GATE = 60
FIRST = "minirocket"
FEW = 100  # series below which none is kept for a test


class SequenceClassification(Classification):
    """Without task.group_column a row is a series; with it, the rows of a group are."""

    name = "sequence_classification"
    about = "predict one of two or more classes for every time series, with probabilities"
    kinds: tuple[str, ...] = ("binary", "multiclass")

    def resolve(self, spec: JobSpec, profile: ProfileFacts) -> Resolved:
        if spec.task.group_column is None:
            steps, why = as_steps(spec, profile)
            resolved = all_for_training(in_order(explained(super().resolve(spec, steps), why), spec))
            form = f"wide form: {len(resolved.features)} steps, {resolved.features[0]!r} to {resolved.features[-1]!r}"
            return dataclasses.replace(
                resolved, because=(*resolved.because, form), options={**resolved.options, "form": "wide"}
            )
        series, channels, why = as_channels(spec, profile)
        method = "cv" if spec.validation.method in ("group", "time") else spec.validation.method
        plain = dataclasses.replace(
            spec,
            task=dataclasses.replace(spec.task, group_column=None, time_column=None),
            validation=dataclasses.replace(spec.validation, method=method),
        )
        hidden = tuple(c for c in series.columns if c.name not in (spec.task.group_column, spec.task.time_column))
        resolved = super().resolve(plain, dataclasses.replace(series, columns=hidden))
        return all_for_training(in_order(long_form(resolved, spec, channels, why), spec))

    def prepare(self, table: Table, resolved: Resolved) -> Problem:
        from assay.data.front_series import SeriesFront
        from assay.model.gate import gate_table

        if resolved.options.get("form") != "long":
            problem = super().prepare(numeric_columns(table, resolved.features), resolved)
        else:
            series, plain = one_row_a_series(numeric_columns(table, resolved.features), resolved)
            problem = super().prepare(series, plain)
            length = problem.features.numbers(resolved.features[0]).shape[1]
            problem = dataclasses.replace(
                problem,
                resolved=dataclasses.replace(
                    problem.resolved, group_column=resolved.group_column, time_column=resolved.time_column
                ),
                fronts={name: SeriesFront(length) for name in resolved.features},
                fields=role_fields(table, resolved, {}),
            )
        cells = sum(np.asarray(c).size for c in problem.features.columns.values()) / len(problem.y)
        n = int(np.clip(GATE_CELLS / cells, LEAST_GATE, 1000))
        rng = np.random.default_rng([resolved.seed, 2])
        return dataclasses.replace(problem, gate=gate_table(problem.features, rng, n))

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        from assay.data.profile import about_target

        shown = numeric_columns(table, resolved.features)
        if resolved.options.get("form") == "long":
            shown = one_row_a_series(shown, resolved)[0]
        return [w.to_json() for w in about_target(shown.select([resolved.target]), resolved.target, resolved.kind)]

    def deliver(
        self,
        problem: Problem,
        sources: Sequence[Source],
        folder: Path,
        *,
        ensemble: bool,
        info: Mapping[str, Any],
        formats: Mapping[str, Mapping[str, Any]],
        seconds: float,
    ) -> Built:
        fields = tuple({**f, "format": dict(formats.get(f["name"], {}))} for f in problem.fields)
        known = dataclasses.replace(problem, fields=fields)
        return super().deliver(known, sources, folder, ensemble=ensemble, info=info, formats=formats, seconds=seconds)

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        found = super().answers(outputs, manifest)
        if "group" not in outputs:
            return found
        return [{"group": str(g), **answer} for g, answer in zip(outputs["group"], found, strict=True)]

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        lines = super().csv(outputs, manifest)
        if "group" not in outputs:
            yield from lines
            return
        for first, line in zip(["group", *map(str, outputs["group"])], lines, strict=True):
            yield [*line, first]


def in_order(resolved: Resolved, spec: JobSpec) -> Resolved:
    """The family that is strong almost everywhere first, even where another is cheaper; in the user's order if there is one."""
    if spec.search.families is not None:
        return resolved
    families = sorted(resolved.families, key=lambda name: name != FIRST)
    return dataclasses.replace(resolved, families=tuple(families))


def all_for_training(resolved: Resolved) -> Resolved:
    """Without a test part where series are few, unless a share other than the usual one was asked for.

    On ArrowHead (36 training series) the usual tenth cost 9 of 100 unseen series.
    """
    if resolved.n_rows >= FEW or resolved.test_fraction != Validation().test_fraction:
        return resolved
    because = f"no test part: {resolved.n_rows} series are all needed for training; a test dataset can be given"
    return dataclasses.replace(resolved, test_fraction=0.0, because=(*resolved.because, because))


task: TaskType = SequenceClassification()

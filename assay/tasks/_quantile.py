"""Quantile regression: several quantiles of one number, with an interval for every row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.quantile.levels import KIND as KIND
from assay.quantile.levels import Levelled, QuantileTarget, checked, middle, name
from assay.tasks._problem import able_families, resolve_table
from assay.tasks._supervised import Supervised

if TYPE_CHECKING:
    import numpy as np

    from assay.data.table import Table
    from assay.model.deliver import Built, Source
    from assay.model.manifest import Manifest
    from assay.spec import JobSpec, ProfileFacts, Resolved
    from assay.tasks._problem import Problem

METRIC = "pinball"


def is_asked(spec: JobSpec) -> bool:
    from assay.metrics import METRICS

    metric = METRICS.get(spec.objective.metric)
    return spec.objective.quantiles is not None or (metric is not None and KIND in metric.kinds)


def resolve(spec: JobSpec, profile: ProfileFacts) -> Resolved:
    """Every `auto` decided.  Raises SpecError."""
    levels = checked(spec.objective.quantiles)
    because = [f"quantile: {', '.join(map(name, levels))}"]
    if spec.objective.quantiles is None:
        because[0] += f", the usual ones for {spec.objective.metric}"
    spec = able_families(spec, "quantiles", "predicts no quantiles")
    resolved = resolve_table(spec, profile, KIND, METRIC, because)
    # a fit on all rows has no rows left to calibrate its quantiles on
    return replace(resolved, options={**resolved.options, "quantiles": list(levels)})


class Quantiles(Supervised):
    """Answers have the quantile nearest to the median as `value`, all under `quantiles`, the outer two as `interval`."""

    def warnings(self, table: Table, resolved: Resolved) -> list[dict[str, Any]]:
        return super().warnings(table, replace(resolved, kind="regression"))

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
        from assay.quantile.deliver import deliver

        return deliver(problem, sources, folder, ensemble=ensemble, info=info, formats=formats, seconds=seconds)

    def answers(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> list[dict[str, Any]]:
        levels = [float(q) for q in manifest.info["quantiles"]]
        names, at = [name(q) for q in levels], middle(levels)
        found = []
        for row in outputs["quantiles"].tolist():
            answer = {"value": row[at], "quantiles": dict(zip(names, row, strict=True))}
            if len(row) > 1:
                answer |= {"interval": [row[0], row[-1]], "low": row[0], "high": row[-1]}
            found.append(answer)
        return found

    def csv(self, outputs: Mapping[str, np.ndarray], manifest: Manifest) -> Iterator[list[str]]:
        levels = [float(q) for q in manifest.info["quantiles"]]
        at = middle(levels)
        yield ["prediction", *(f"quantile_{name(q)}" for q in levels)]
        for row in outputs["quantiles"].tolist():
            yield [repr(row[at]), *(repr(v) for v in row)]


def of_quantiles(problem: Problem) -> Problem:
    """A regression problem as one of the quantiles that its options name."""
    levels = tuple(float(q) for q in problem.resolved.options["quantiles"])
    return replace(
        problem,
        y=Levelled.of(problem.y, levels),
        target=QuantileTarget.of(levels, problem.resolved.metric),
        resolved=replace(problem.resolved, refit=False),
    )

"""From trials on quantiles to one graph: the members' weighted mean, calibrated, as `quantiles`, and the middle as `value`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.table import ColumnType
from assay.metrics import all_values
from assay.metrics.quantile import coverage, width
from assay.model.compose import Delivered, ensemble_graph, model_bytes
from assay.model.deliver import Blend, Built, Composed, Source, Way
from assay.model.deliver import deliver as deliver_one
from assay.model.gate import GateReport, raw_feeds, replay
from assay.model.graph import Scope, dedupe
from assay.quantile.calibrate import emit_shifted, fit_shifts, shifted
from assay.quantile.levels import Levelled, middle
from assay.tasks._problem import Problem


def deliver(
    problem: Problem,
    sources: Sequence[Source],
    folder: Path,
    *,
    ensemble: bool,
    info: Mapping[str, Any],
    formats: Mapping[str, Mapping[str, Any]],
    seconds: float,
) -> Built:
    """Write `model.onnx` and `model.zip` (see `assay.model.deliver.deliver`)."""
    levels = _truth(problem).quantiles
    about = {"quantiles": list(levels), "interval_of": [levels[0], levels[-1]] if len(levels) > 1 else None}
    way = Way(_compose, _values, about)
    return deliver_one(
        problem, sources, folder, ensemble=ensemble, info=info, formats=formats, seconds=seconds, way=way
    )


def _truth(problem: Problem) -> Levelled:
    assert isinstance(problem.y, Levelled)
    return problem.y


def _shifts(problem: Problem, blend: Blend) -> np.ndarray:
    rows, y = problem.folds.covered, _truth(problem)
    return fit_shifts(y[rows], blend.of([m.oof[rows] for m, _ in blend.members], 0), y.quantiles)


def _compose(problem: Problem, blend: Blend, info: Mapping[str, Any]) -> Composed:
    levels, shifts = _truth(problem).quantiles, _shifts(problem, blend)
    together = ensemble_graph([m.checkpoint.graph for m, _ in blend.members], blend.weights, n_targets=len(levels))
    scope = Scope()
    told = emit_shifted(scope, scope.include(together.graph), shifts)
    at = scope.const(np.array([middle(levels)], np.int64))
    outputs = {"value": scope.add("Gather", told, at, axis=1), "quantiles": told}
    graph = dedupe(scope.graph(told), keep=outputs.values())
    delivered = Delivered(graph, outputs, (), {"quantiles": ("float32", ("N", len(levels)))})
    types = {name: ColumnType(problem.features.types[name]) for name in problem.features.names}
    about = {"producer": "assay", "job": str(info.get("job_id", ""))}
    data, names = model_bytes(delivered, types, about, problem.fronts)
    expected = shifted(blend.of([m.checkpoint.array("gate") for m, _ in blend.members], 0), shifts)
    feeds = raw_feeds(problem.gate, problem.fronts)
    scale = float(np.std(problem.y)) or 1.0
    try:
        report = replay(data, feeds, expected, scale=scale, outputs=[names["quantiles"]])
    except Exception as error:  # the runtime refuses to load or to run it
        report = GateReport(False, len(expected), float("inf"), 0, f"{type(error).__name__}: {error}")
    return data, names, report


def _values(problem: Problem, blend: Blend, rows: np.ndarray, predictions: Sequence[np.ndarray]) -> dict[str, float]:
    if not len(rows):
        return {}
    y, weight = _truth(problem)[rows], None if problem.weight is None else problem.weight[rows]
    told = shifted(blend.of(predictions, 0), _shifts(problem, blend))
    found = all_values(problem.resolved.kind, y, told, weight)
    if len(y.quantiles) > 1:
        found |= {"interval_coverage": coverage(y, told, weight), "interval_width": width(told, weight)}
    return found

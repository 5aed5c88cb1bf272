"""From trials on several targets to one graph: the members' weighted mean, taken apart into the answer of each target.

Outputs are `label_<i>` and `probabilities_<i>` for classes and `value_<i>` for numbers; the manifest's `info.targets`
names the target of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.table import ColumnType
from assay.metrics import METRICS
from assay.model.calibrate import OF_LABELS, fit_threshold
from assay.model.compose import Delivered, attention, decide, ensemble_graph, model_bytes
from assay.model.deliver import Blend, Built, Composed, Source, Way
from assay.model.deliver import deliver as deliver_one
from assay.model.gate import GateReport, raw_feeds, replay
from assay.model.graph import ML, Scope, dedupe
from assay.multitask.report import questions, values
from assay.multitask.targets import KIND, MULTILABEL, MULTIOUTPUT, OneTarget, Truth, spans
from assay.multitask.texts import TextTarget
from assay.tasks._problem import Problem

OF_ONE = {
    "f1_macro": "f1", "f1_micro": "f1", "f1_weighted": "f1", "balanced_accuracy": "balanced_accuracy",
    "matthews_corrcoef": "matthews_corrcoef",
}  # fmt: skip
"""By the job's metric, that of one label by which its threshold is chosen."""
OF_ANSWERS = OF_LABELS | {"f1", "f1_micro", "hamming_loss"}


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
    targets = truth_of(problem).targets
    about = [{**t.to_json(), "outputs": public_names(i, t), **_read_by(problem, i)} for i, t in enumerate(targets)]
    way = Way(_compose, _values, {"targets": about})
    return deliver_one(
        problem, sources, folder, ensemble=ensemble, info=info, formats=formats, seconds=seconds, way=way
    )


def _read_by(problem: Problem, i: int) -> dict[str, Any]:
    """What a target of texts reads."""
    if not isinstance(problem.target, TextTarget):
        return {}
    reads = problem.target.reads[i]
    return {"way": reads.way, "columns": [problem.features.names[c] for c in reads.columns]}


def truth_of(problem: Problem) -> Truth:
    assert isinstance(problem.y, Truth)
    return problem.y


def public_names(i: int, target: OneTarget) -> list[str]:
    """Of a target's outputs: what is answered, then the numbers behind it."""
    return [f"label_{i}", f"probabilities_{i}"] if target.classes else [f"value_{i}"]


def apart(
    together: Delivered, targets: Sequence[OneTarget], kind: str = KIND, thresholds: Sequence[float | None] = ()
) -> Delivered:
    """A graph with the answers of all targets side by side as `value`, as one with outputs of each target.

    kind "multilabel" has the probability of every label together as `probabilities` too, "multioutput" all numbers as
    `value`.  thresholds: of the targets, probability of the second class from which it is answered.
    """
    scope = Scope()
    value = scope.include(together.graph)
    outputs: dict[str, str] = {}
    ports: dict[str, tuple[str, tuple[int | str | None, ...]]] = {}
    if kind == MULTIOUTPUT:
        outputs["value"] = scope.add("Identity", value)
        ports["value"] = ("float32", ("N", len(targets)))
    elif kind == MULTILABEL:
        seconds = np.array([s.start + 1 for s in spans(targets)], np.int64)
        outputs["probabilities"] = scope.add("Gather", value, scope.const(seconds), axis=1)
        ports["probabilities"] = ("float32", ("N", len(targets)))
    limits = list(thresholds) or [None] * len(targets)
    for i, (target, span) in enumerate(zip(targets, spans(targets), strict=True)):
        add_label_outputs(scope, value, i, target, span, outputs, ports, limits[i])
    shown = attention(scope)
    outputs |= shown
    ports |= {name: ("float32", ("N", f"{name}_tokens")) for name in shown}
    graph = scope.graph(next(iter(outputs.values())))
    return Delivered(dedupe(graph, keep=outputs.values()), outputs, (), ports)


def add_label_outputs(
    scope: Scope,
    value: str,
    i: int,
    target: OneTarget,
    span: slice,
    outputs: dict[str, str],
    ports: dict[str, tuple[str, tuple[int | str | None, ...]]],
    threshold: float | None = None,
) -> None:
    """The public outputs of target number i, whose answer stands at `span` of the value.  Adds to outputs and ports."""
    ends = [scope.const(np.array([v], np.int64)) for v in (span.start, span.stop, 1)]
    own = scope.add("Slice", value, *ends)
    if not target.classes:
        outputs[f"value_{i}"] = own
        ports[f"value_{i}"] = ("float32", ("N", 1))
        return
    outputs[f"label_{i}"] = scope.add(
        "LabelEncoder",
        _chosen(scope, own, threshold),
        domain=ML,
        keys_int64s=list(range(target.width)),
        values_strings=list(target.classes),
        default_string="",
    )
    outputs[f"probabilities_{i}"] = own
    ports[f"label_{i}"] = ("string", ("N",))
    ports[f"probabilities_{i}"] = ("float32", ("N", target.width))


def _chosen(scope: Scope, p: str, threshold: float | None) -> str:
    if threshold is None:
        return scope.add("ArgMax", p, axis=1, keepdims=0)
    second = scope.add("Gather", p, scope.const(np.int64(1)), axis=1)
    return scope.add("Cast", scope.add("GreaterOrEqual", second, scope.const(np.float32(threshold))), to=7)


def thresholds_of(problem: Problem, blend: Blend) -> list[float | None]:
    """Of every label, where the job's metric looks at answers: learned from the blend's own out-of-fold predictions."""
    truth = truth_of(problem)
    single = OF_ONE.get(problem.metric.name)
    if problem.resolved.kind != MULTILABEL or single is None:
        return [None] * len(truth.targets)
    rows = problem.folds.covered
    mean = blend.of([m.oof[rows] for m, _ in blend.members], 0)
    weight = None if problem.weight is None else problem.weight[rows]
    found = []
    for i, span in enumerate(spans(truth.targets)):
        own, y = truth[rows].column(i)
        w = None if weight is None else weight[own]
        found.append(fit_threshold(y, mean[own, span], METRICS[single], w))
    return found


def _compose(problem: Problem, blend: Blend, info: Mapping[str, Any]) -> Composed:
    """The graph of a blend, and how every target's answer compared with the fitted predictors' on the gate's rows."""
    truth = truth_of(problem)
    graphs = [m.checkpoint.graph for m, _ in blend.members]
    limits = thresholds_of(problem, blend)
    together = ensemble_graph(graphs, blend.weights, n_targets=problem.target.n_targets)
    delivered = apart(together, truth.targets, problem.resolved.kind, limits)
    types = {name: ColumnType(problem.features.types[name]) for name in problem.features.names}
    about = {"producer": "assay", "job": str(info.get("job_id", ""))}
    graph, names = model_bytes(delivered, types, about, problem.fronts)
    expected = blend.of([m.checkpoint.array("gate") for m, _ in blend.members], 0)
    feeds = raw_feeds(problem.gate, problem.fronts)
    reports = []
    for i, (target, span) in enumerate(zip(truth.targets, spans(truth.targets), strict=True)):
        own = [names[n] for n in public_names(i, target)]
        scale = 1.0 if target.classes else float(np.std(truth.column(i)[1])) or 1.0
        try:
            report = replay(graph, feeds, expected[:, span], target.classes, limits[i], scale=scale, outputs=own)
        except Exception as error:  # the runtime refuses to load or to run it
            report = GateReport(False, len(expected), float("inf"), 0, f"{type(error).__name__}: {error}")
        reports.append((target.name, report))
        if not report.passed:
            break
    return graph, names, _together(reports)


def _together(reports: Sequence[tuple[str, GateReport]]) -> GateReport:
    """The worst of every target; the speed is that of one whole run, for each run computes all."""
    failed = [f"{name!r}: {r.message}" for name, r in reports if not r.passed]
    return GateReport(
        not failed,
        reports[0][1].n_rows,
        max(r.max_difference for _, r in reports),
        sum(r.label_flips for _, r in reports),
        "; ".join(failed),
        max(r.ms_per_row for _, r in reports),
    )


def _values(problem: Problem, blend: Blend, rows: np.ndarray, predictions: Sequence[np.ndarray]) -> dict[str, float]:
    if not len(rows):
        return {}
    weight = None if problem.weight is None else problem.weight[rows]
    kind, truth, p = problem.resolved.kind, truth_of(problem), blend.of(predictions, 0)
    found = values(truth[rows], p, weight, questions(problem, rows), kind)
    limits = thresholds_of(problem, blend)
    if any(t is not None for t in limits):  # metrics of answers by the answers that are really given
        told = p.copy()
        for span, threshold in zip(spans(truth.targets), limits, strict=True):
            told[:, span] = np.eye(2)[decide(p[:, span], threshold)]
        answered = values(truth[rows], told, weight, questions(problem, rows), kind)
        found |= {n: v for n, v in answered.items() if n.rpartition(":")[2] in OF_ANSWERS}
    return found

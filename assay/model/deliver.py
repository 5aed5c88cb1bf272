"""From finished trials to a delivered model: choose, weigh, compose, replay, package.

Needs nothing but the trials' checkpoints and the problem, so any worker can do it, also after a crash.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.table import Blobs, ColumnType, Words
from assay.errors import AssayError, DataError
from assay.metrics import all_values
from assay.model import checkpoint
from assay.model.bundle import write_bundle
from assay.model.compose import combine, ensemble_graph, model_bytes
from assay.model.ensemble import bagged_weights, greedy_weights
from assay.model.gate import GateReport, raw_feeds, replay
from assay.model.manifest import Manifest, Member
from assay.tasks._problem import Problem

CANDIDATES = 25  # best trials that may enter the ensemble, besides the best of every family
SELECTION_ROWS = 10_000  # rows the greedy selection scores on; more change its choices little and cost seconds
BYTES_PER_SECOND = 12_000_000  # of checkpoints that are composed, encoded, replayed and packed, on one core
LEAST_BYTES = 10_000_000
BAGGED_ROWS = 5_000  # validation rows up to which the selection is bagged; more decide well enough by themselves
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A completed trial and where its checkpoint lies."""

    number: int
    family: str
    score: float
    path: Path


@dataclass(frozen=True)
class Built:
    """A packaged model: file names in the folder, its manifest and its internal score on validation rows."""

    bundle: str
    onnx: str
    manifest: Mapping[str, Any]
    score: float
    gate: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            "bundle": self.bundle,
            "onnx": self.onnx,
            "manifest": self.manifest,
            "score": self.score,
            "gate": self.gate,
        }


@dataclass(frozen=True, eq=False)
class Loaded:
    """A candidate member."""

    source: Source
    checkpoint: checkpoint.Checkpoint
    oof: np.ndarray  # (n, k), NaN where a row was never validated


def deliver(
    problem: Problem,
    sources: Sequence[Source],
    folder: Path,
    *,
    ensemble: bool,
    info: Mapping[str, Any],
    formats: Mapping[str, Mapping[str, Any]],
    seconds: float,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Built:
    """Write `model.onnx` and `model.zip` into the folder.

    ensemble False: the best trial alone.  seconds: what is left; it bounds the choice and the size of the ensemble.  Members whose graph
    does not answer like their fitted predictors are left out, and the choice is made again.  Raises AssayError when none
    is left, DataError when there is no readable checkpoint.
    """
    until = time.monotonic() + 0.5 * seconds
    candidates = _candidates(problem, sources, ensemble)
    if not candidates:
        raise DataError("no completed trial has a readable checkpoint")
    while candidates:
        weights = _weigh(problem, candidates, until) if ensemble else np.ones(1)
        members = _in_time([(c, w) for c, w in zip(candidates, weights, strict=False) if w > 0], seconds)
        graph, names, report = _compose(problem, members, info)
        if report.passed:
            return _package(problem, members, graph, names, report, folder, info, formats, clock())
        log.warning("an ensemble of %d did not pass the replay gate: %s", len(members), report.message)
        guilty = {m.source.number for m, _ in members if not _compose(problem, [(m, 1.0)], info)[2].passed}
        if not guilty:  # each is right alone: give up the blend, not the model
            guilty = {m.source.number for m, _ in members[1:]}
        candidates = [c for c in candidates if c.source.number not in guilty]
        if len(members) == 1 and not guilty:
            break
    raise AssayError(f"no trial's graph answers like its fitted model: {report.message}")


def _candidates(problem: Problem, sources: Sequence[Source], ensemble: bool) -> list[Loaded]:
    ordered = sorted(sources, key=lambda s: (-s.score, s.number))
    chosen = ordered[: CANDIDATES if ensemble else 3]
    if ensemble:
        best_of_family = {s.family: s for s in reversed(ordered)}
        chosen += [s for s in best_of_family.values() if s not in chosen]
    loaded: list[Loaded] = []
    for source in chosen:
        try:
            opened = checkpoint.load(source.path)
            loaded.append(Loaded(source, opened, opened.array("oof").astype(np.float64)))
        except (DataError, KeyError, OSError):
            log.exception("the checkpoint of trial %d cannot be read", source.number)
    return loaded if ensemble else loaded[:1]


def _in_time(members: list[tuple[Loaded, float]], seconds: float) -> list[tuple[Loaded, float]]:
    """Without the members that bring least for their size, until composing and replaying the rest fits the time."""
    room = max(LEAST_BYTES, seconds * BYTES_PER_SECOND)
    sizes = [m.source.path.stat().st_size for m, _ in members]
    heaviest = max(range(len(members)), key=lambda i: members[i][1])
    kept, used = {heaviest}, sizes[heaviest]
    for i in sorted(range(len(members)), key=lambda i: -members[i][1] / sizes[i]):
        if i not in kept and used + sizes[i] <= room:
            kept.add(i)
            used += sizes[i]
    total = sum(members[i][1] for i in kept)
    return [(members[i][0], members[i][1] / total) for i in sorted(kept)]


def _weigh(problem: Problem, candidates: Sequence[Loaded], until: float) -> np.ndarray:
    rows = problem.folds.covered
    if len(rows) > SELECTION_ROWS:
        rows = np.sort(np.random.default_rng([problem.resolved.seed, 3]).choice(rows, SELECTION_ROWS, replace=False))
    y = problem.y[rows]
    weight = None if problem.weight is None else problem.weight[rows]

    def score(prediction: np.ndarray) -> float:
        # out of time: no further member can win, so the best prefix so far is kept
        return problem.metric.score(y, prediction, weight) if time.monotonic() < until else float("nan")

    predictions = [c.oof[rows] for c in candidates]
    if len(rows) > BAGGED_ROWS:
        return greedy_weights(predictions, score)
    return bagged_weights(predictions, score, np.random.default_rng([problem.resolved.seed, 5]))


def _compose(
    problem: Problem, members: Sequence[tuple[Loaded, float]], info: Mapping[str, Any]
) -> tuple[bytes, dict[str, str], GateReport]:
    weights = [w for _, w in members]
    n_targets = problem.target.n_targets
    delivered = ensemble_graph([m.checkpoint.graph for m, _ in members], weights, problem.classes, n_targets=n_targets)
    types = {name: ColumnType(problem.features.types[name]) for name in problem.features.names}
    about = {"producer": "assay", "job": str(info.get("job_id", ""))}
    graph, names = model_bytes(delivered, types, about, problem.fronts)
    expected = combine([m.checkpoint.array("gate") for m, _ in members], weights, len(problem.classes))
    scale = float(np.std(problem.y)) if problem.target.is_regression else 1.0
    try:
        report = replay(graph, raw_feeds(problem.gate, problem.fronts), expected, problem.classes, scale=scale or 1.0)
    except Exception as error:  # the runtime refuses to load or to run it
        report = GateReport(False, len(expected), float("inf"), 0, f"{type(error).__name__}: {error}")
    return graph, names, report


def _package(
    problem: Problem,
    members: Sequence[tuple[Loaded, float]],
    graph: bytes,
    names: Mapping[str, str],
    report: GateReport,
    folder: Path,
    info: Mapping[str, Any],
    formats: Mapping[str, Mapping[str, Any]],
    now: datetime,
) -> Built:
    weights = [w for _, w in members]
    n_classes = len(problem.classes)
    covered = problem.folds.covered
    oof = combine([m.oof[covered] for m, _ in members], weights, n_classes)
    score, std = _fold_scores(problem, members, weights)
    kind = problem.resolved.kind
    weight = None if problem.weight is None else problem.weight[covered]
    test_metrics: dict[str, float] = {}
    if len(problem.folds.test):
        test = combine([m.checkpoint.array("test") for m, _ in members], weights, n_classes)
        test_weight = None if problem.weight is None else problem.weight[problem.folds.test]
        test_metrics = all_values(kind, problem.y[problem.folds.test], test, test_weight)
    manifest = Manifest(
        name=str(info.get("name", "model")),
        kind=kind,
        task=problem.resolved.task,
        target=problem.resolved.target,
        metric=problem.resolved.metric,
        created_at=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        input_schema=tuple(_field(problem, name, formats.get(name, {})) for name in problem.features.names),
        outputs=dict(names),
        classes=problem.classes,
        metrics=all_values(kind, problem.y[covered], oof, weight),
        test_metrics=test_metrics,
        members=tuple(Member(m.source.number, m.source.family, float(w)) for m, w in members),
        fronts={n: text for n in problem.features.names if (text := _front(problem, n))},
        versions={p: packages.version(p) for p in ("numpy", "onnxruntime", "onnx")},
        info={
            "job_id": info.get("job_id", ""),
            "score": score,
            "score_std": std,
            "rows": {"train": len(covered), "test": len(problem.folds.test), "without_target": problem.left_out},
            "validation": {"method": problem.resolved.method, "folds": len(problem.folds)},
            "gate": {"rows": report.n_rows, "max_difference": report.max_difference},
        },
    )
    (folder / "model.onnx").write_bytes(graph)
    write_bundle(folder / "model.zip", graph, manifest)
    return Built("model.zip", "model.onnx", manifest.to_json(), score, dict(manifest.info["gate"]))


def _fold_scores(
    problem: Problem, members: Sequence[tuple[Loaded, float]], weights: Sequence[float]
) -> tuple[float, float]:
    """Mean and deviation over the folds, as a trial's score is made, so that the two can be compared."""
    scores = []
    for _, valid in problem.folds.pairs:
        blend = combine([m.oof[valid] for m, _ in members], weights, len(problem.classes))
        weight = None if problem.weight is None else problem.weight[valid]
        scores.append(problem.metric.score(problem.y[valid], blend, weight))
    return float(np.mean(scores)), float(np.std(scores))


def _field(problem: Problem, name: str, form: Mapping[str, Any]) -> dict[str, Any]:
    column = problem.features.columns[name]
    example: Any = None
    if isinstance(column, Words):
        known = np.flatnonzero(column.codes >= 0)
        example = str(column.levels[column.codes[known[0]]]) if len(known) else ""
    elif not isinstance(column, Blobs):
        known = np.flatnonzero(np.isfinite(column))
        if len(known):
            value = float(column[known[0]])
            example = int(value) if value.is_integer() else value
    kind = str(problem.features.types[name])
    field = {"name": name, "type": kind, "required": True, "example": example, "format": dict(form)}
    if name in problem.fronts:
        field["front"] = problem.fronts[name].to_json()
    return field


def _front(problem: Problem, name: str) -> str:
    if name in problem.fronts:
        return problem.fronts[name].about
    if problem.features.types[name] == ColumnType.DATETIME:
        return "written as YYYY-MM-DD HH:MM:SS; the graph takes the date alone and a T between the two as well"
    return ""

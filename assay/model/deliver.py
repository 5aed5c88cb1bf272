"""From finished trials to a delivered model: choose, weigh, compose, replay, package.

Needs nothing but the trials' checkpoints and the problem, so any worker can do it, also after a crash.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from importlib import metadata as packages
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.table import Blobs, ColumnType, Words
from assay.errors import AssayError, DataError
from assay.metrics import METRICS, all_values
from assay.model import checkpoint
from assay.model.bundle import write_bundle
from assay.model.calibrate import OF_LABELS, fit_exponents, fit_factors, fit_temperature, fit_threshold
from assay.model.compose import Decision, combine, decide, ensemble_graph, model_bytes
from assay.model.correct import Correction, fit_correction
from assay.model.ensemble import bagged_weights, greedy_weights
from assay.model.gate import GateReport, raw_feeds, replay
from assay.model.honesty import LEVEL, conformal_width, metric_interval
from assay.model.manifest import Manifest, Member
from assay.tasks._problem import Problem

CANDIDATES = 25  # best trials that may enter the ensemble, besides the best of every family
SELECTION_ROWS = 10_000  # rows the greedy selection scores on; more change its choices little and cost seconds
BYTES_PER_SECOND = 25_000_000  # of checkpoints that are composed, encoded, replayed and packed, on one core
LEAST_BYTES = 8_000_000
MOST_SLOWED = 8.0  # times slower than alone that a busy machine is believed to make us
# kinds of one target whose blend nothing else is calibrated on
CORRECTED = frozenset({"binary", "multiclass", "regression"})
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

    @property
    def size(self) -> int:
        """Bytes of the checkpoint, most of which is its graph."""
        return self.source.path.stat().st_size

    @property
    def work(self) -> float:
        """What composing, replaying and packing it costs, in bytes that would cost the same."""
        info = self.checkpoint.info
        replayed = float(info.get("ms_per_row", 0.0)) / 1000 * len(self.checkpoint.array("gate"))
        return self.size + checkpoint.BYTES_PER_NODE * int(info.get("nodes", 0)) + replayed * BYTES_PER_SECOND


@dataclass(frozen=True, eq=False)
class Blend:
    """Members with weights that sum to 1, and what was learned on top of them."""

    members: Sequence[tuple[Loaded, float]]
    temperature: float = 1.0
    threshold: Decision = None
    exponents: tuple[float, ...] | None = None  # of the members' product, where it is better than their mean
    correction: Correction | None = None  # of either, where that is better still

    @property
    def weights(self) -> list[float]:
        return [w for _, w in self.members]

    def of(self, predictions: Sequence[np.ndarray], n_classes: int) -> np.ndarray:
        """The blend's prediction from its members', each (n, k)."""
        base = combine(predictions, self.weights, n_classes, self.temperature, self.exponents)
        return base if self.correction is None else self.correction.apply(base, predictions, n_classes)


Composed = tuple[bytes, dict[str, str], GateReport]  # the graph, its outputs' names by public name, how it was replayed


@dataclass(frozen=True)
class Way:
    """What a kind of task may do otherwise than one that has a single target.

    compose: (problem, blend, info) -> a replayed graph.  values: (problem, blend, rows, the members' predictions there)
    -> metrics.  about: more for the manifest's info.
    """

    compose: Callable[[Problem, Blend, Mapping[str, Any]], Composed]
    values: Callable[[Problem, Blend, np.ndarray, Sequence[np.ndarray]], dict[str, float]]
    about: Mapping[str, Any] = field(default_factory=dict)


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
    way: Way | None = None,
) -> Built:
    """Write `model.onnx` and `model.zip` into the folder.

    ensemble False: the best trial alone.  seconds: what is left; it bounds the choice and the size of the ensemble.
    info["limits"]: `predict_ms_per_row` and `model_mb` of the job; members are given up until the model keeps them, and if
    not even one member does, the manifest's info says so.  Members whose graph does not answer like their fitted
    predictors are left out, and the choice is made again.  Raises AssayError when none is left, DataError when there is
    no readable checkpoint.
    """
    began, computed = time.monotonic(), time.process_time()
    way = way or Way(_compose, _values)
    candidates = _candidates(problem, sources, ensemble)
    speed = BYTES_PER_SECOND / _slowed(time.monotonic() - began, time.process_time() - computed)
    candidates = _light_enough(candidates, seconds * speed)
    until = began + 0.5 * seconds
    if not candidates:
        raise DataError("no completed trial has a readable checkpoint")
    limits = info.get("limits") or {}
    nearest: tuple[float, Callable[[], Built]] | None = None  # to the limits, of what passed the gate
    message = ""
    while candidates:
        weights = _weigh(problem, candidates, until) if ensemble else np.eye(len(candidates))[0]
        left = (seconds - (time.monotonic() - began)) * speed
        members = _in_time([(c, w) for c, w in zip(candidates, weights, strict=True) if w > 0], left)
        blend = _calibrated(problem, members, until)
        graph, names, report = way.compose(problem, blend, info)
        if not report.passed and blend.correction is not None:
            log.warning("a corrected ensemble did not pass the replay gate: %s", report.message)
            blend = _calibrated(problem, members, -np.inf)
            graph, names, report = way.compose(problem, blend, info)
        if report.passed:
            excess = _excess(limits, graph, report)
            if nearest is None or excess < nearest[0]:
                args = (
                    problem,
                    blend,
                    graph,
                    names,
                    report,
                    folder,
                    info,
                    formats,
                    clock(),
                    _missed(limits, excess),
                    way,
                )
                nearest = excess, partial(_package, *args)
            if excess <= 1.0:
                break
            guilty = {max(members, key=lambda m: m[0].size)[0].source.number}
        else:
            message = report.message
            log.warning("an ensemble of %d did not pass the replay gate: %s", len(members), message)
            alone = {m.source.number: way.compose(problem, Blend([(m, 1.0)]), info)[2].passed for m, _ in members}
            guilty = {number for number, passed in alone.items() if not passed}
            if not guilty:  # each is right alone: give up the blend, not the model
                guilty = {m.source.number for m, _ in members[1:]}
            if not guilty:
                break
        candidates = [c for c in candidates if c.source.number not in guilty]
    if nearest is None:
        raise AssayError(f"no trial's graph answers like its fitted model: {message}")
    return nearest[1]()


def _excess(limits: Mapping[str, Any], graph: bytes, report: GateReport) -> float:
    """How many times the model is over the nearest of its limits; 1 or less: it keeps them all."""
    asked = ((limits.get("predict_ms_per_row"), report.ms_per_row), (limits.get("model_mb"), len(graph) / 1e6))
    return max((float(has / limit) for limit, has in asked if limit), default=0.0)


def _missed(limits: Mapping[str, Any], excess: float) -> str:
    if excess <= 1.0:
        return ""
    asked = ", ".join(f"{k} {limits[k]:g}" for k in ("predict_ms_per_row", "model_mb") if limits.get(k))
    return f"no completed trial keeps the limits ({asked}); this is the nearest, {excess:.2f} times over"


def _calibrated(problem: Problem, members: Sequence[tuple[Loaded, float]], until: float) -> Blend:
    """What the blend's own out-of-fold predictions teach: of classes a temperature, or exponents; a correction if it is
    found until then; and a threshold for metrics of labels."""
    rows, n_classes = problem.folds.covered, len(problem.classes)
    y, weight = problem.y[rows], None if problem.weight is None else problem.weight[rows]
    found = [m.oof[rows] for m, _ in members]
    blend = Blend(members)
    if n_classes:
        temperature = fit_temperature(y, blend.of(found, n_classes), weight)
        exponents = fit_exponents(y, found, blend.weights, temperature, problem.metric, weight)
        blend = Blend(members, temperature, None, None if exponents is None else tuple(exponents.tolist()))
    if problem.resolved.kind in CORRECTED and not problem.resolved.options.get("monotone"):
        rng = np.random.default_rng([problem.resolved.seed, 11])
        base = blend.of(found, n_classes)
        more = fit_correction(y, found, base, n_classes, problem.metric, rng, weight, lambda: time.monotonic() < until)
        blend = replace(blend, correction=more)
    if not n_classes:
        return blend
    fit: Callable[..., Decision] = fit_threshold if n_classes == 2 else fit_factors
    return replace(blend, threshold=fit(y, blend.of(found, n_classes), problem.metric, weight))


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
    return loaded


def _slowed(wall: float, cpu: float) -> float:
    """How many times slower than alone this process runs now: other work on the machine takes its share."""
    return 1.0 if wall < 0.02 else min(MOST_SLOWED, max(1.0, wall / max(cpu, 1e-3)))


def _light_enough(candidates: list[Loaded], room: float) -> list[Loaded]:
    """Those that alone could be composed and replayed in time, the best one even in twice of it; else the lightest."""
    room = max(LEAST_BYTES, room)
    fitting = [c for i, c in enumerate(candidates) if c.work <= (room if i else 2 * room)]
    return fitting or sorted(candidates, key=lambda c: c.work)[:1]


def _in_time(members: list[tuple[Loaded, float]], room: float) -> list[tuple[Loaded, float]]:
    """Without the members that bring least for their work, until composing and replaying the rest fits the time.

    room: bytes that can be composed and replayed in it.
    """
    room = max(LEAST_BYTES, room)
    sizes = [m.work for m, _ in members]
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

    # labels tell little of few rows, and the threshold is chosen afterwards: select by probabilities there
    by_labels = problem.metric.name in OF_LABELS and len(rows) <= BAGGED_ROWS
    metric = METRICS["log_loss"] if by_labels else problem.metric

    def score(prediction: np.ndarray) -> float:
        # out of time: no further member can win, so the best prefix so far is kept
        return metric.score(y, prediction, weight) if time.monotonic() < until else float("nan")

    predictions = [c.oof[rows] for c in candidates]
    if len(rows) > BAGGED_ROWS:
        return greedy_weights(predictions, score)
    return bagged_weights(predictions, score, np.random.default_rng([problem.resolved.seed, 5]))


def _compose(problem: Problem, blend: Blend, info: Mapping[str, Any]) -> tuple[bytes, dict[str, str], GateReport]:
    delivered = ensemble_graph(
        [m.checkpoint.graph for m, _ in blend.members],
        blend.weights,
        problem.classes,
        blend.temperature,
        blend.threshold,
        problem.target.n_targets,
        blend.exponents,
        blend.correction,
    )
    types = {name: ColumnType(problem.features.types[name]) for name in problem.features.names}
    about = {"producer": "assay", "job": str(info.get("job_id", ""))}
    graph, names = model_bytes(delivered, types, about, problem.fronts)
    expected = blend.of([m.checkpoint.array("gate") for m, _ in blend.members], len(problem.classes))
    scale = float(np.std(problem.y)) if problem.target.is_regression else 1.0
    feeds = raw_feeds(problem.gate, problem.fronts)
    try:
        report = replay(graph, feeds, expected, problem.classes, blend.threshold, scale=scale or 1.0)
    except Exception as error:  # the runtime refuses to load or to run it
        report = GateReport(False, len(expected), float("inf"), 0, f"{type(error).__name__}: {error}")
    return graph, names, report


def _package(
    problem: Problem,
    blend: Blend,
    graph: bytes,
    names: Mapping[str, str],
    report: GateReport,
    folder: Path,
    info: Mapping[str, Any],
    formats: Mapping[str, Mapping[str, Any]],
    now: datetime,
    missed: str,
    way: Way,
) -> Built:
    score, std = _fold_scores(problem, blend)
    covered, test = problem.folds.covered, problem.folds.test
    manifest = Manifest(
        name=str(info.get("name", "model")),
        kind=problem.resolved.kind,
        task=problem.resolved.task,
        target=problem.resolved.target,
        metric=problem.resolved.metric,
        created_at=now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        input_schema=(
            *problem.fields,
            *(field_of(problem, name, formats.get(name, {})) for name in problem.features.names),
        ),
        outputs=dict(names),
        classes=problem.classes,
        metrics=way.values(problem, blend, covered, [m.oof[covered] for m, _ in blend.members]),
        test_metrics=way.values(problem, blend, test, [m.checkpoint.array("test") for m, _ in blend.members]),
        members=tuple(Member(m.source.number, m.source.family, float(w)) for m, w in blend.members),
        threshold=blend.threshold,
        temperature=blend.temperature,
        fronts={n: text for n in problem.features.names if (text := _front(problem, n))},
        versions={p: packages.version(p) for p in ("numpy", "onnxruntime", "onnx")},
        info={
            "job_id": info.get("job_id", ""),
            "score": score,
            "score_std": std,
            "rows": {"train": len(covered), "test": len(test), "without_target": problem.left_out},
            "validation": {"method": problem.resolved.method, "folds": len(problem.folds)},
            "gate": {"rows": report.n_rows, "max_difference": report.max_difference},
            "predict_ms_per_row": report.ms_per_row,
            "pool": "mean" if blend.exponents is None else "product",
            "corrected": blend.correction is not None,
        }
        | ({"limits_missed": missed} if missed else {})
        | _sureness(problem, blend)
        | dict(way.about),
    )
    (folder / "model.onnx").write_bytes(graph)
    write_bundle(folder / "model.zip", graph, manifest)
    return Built("model.zip", "model.onnx", manifest.to_json(), score, dict(manifest.info["gate"]))


def _sureness(problem: Problem, blend: Blend) -> dict[str, Any]:
    """An interval of the job's metric on the test part, and the half width of a predicted number's."""
    y = problem.y
    plain = problem.target.n_targets == 1 and y.ndim == 1
    # of several targets by probabilities or numbers; thresholds of labels and shifts of quantiles are known to their way
    if not plain and (not hasattr(y, "targets") or problem.metric.name in OF_LABELS | {"f1_micro", "hamming_loss"}):
        return {}
    found: dict[str, Any] = {}
    test, n_classes = problem.folds.test, len(problem.classes)
    if len(test):
        p = blend.of([m.checkpoint.array("test") for m, _ in blend.members], n_classes)
        if blend.threshold is not None and problem.metric.name in OF_LABELS:
            p = np.eye(p.shape[1])[decide(p, blend.threshold)]
        weight = None if problem.weight is None else problem.weight[test]
        rng = np.random.default_rng([problem.resolved.seed, 7])
        interval = metric_interval(problem.metric, y[test], p, weight, rng)
        if interval is not None:
            found["test_interval"] = {
                "metric": problem.metric.name,
                "level": LEVEL,
                "low": interval[0],
                "high": interval[1],
            }
    if plain and problem.target.is_regression:
        rows = problem.folds.covered
        width = conformal_width(y[rows], blend.of([m.oof[rows] for m, _ in blend.members], 0))
        if width is not None:
            found["interval"] = {"level": LEVEL, "half_width": width}
    return found


def _values(problem: Problem, blend: Blend, rows: np.ndarray, predictions: Sequence[np.ndarray]) -> dict[str, float]:
    """All metrics of the blend on some rows; those of labels by the labels it really answers."""
    if not len(rows):
        return {}
    kind, y, weight = problem.resolved.kind, problem.y[rows], None if problem.weight is None else problem.weight[rows]
    p = blend.of(predictions, len(problem.classes))
    values = all_values(kind, y, p, weight)
    if blend.threshold is not None:
        answered = all_values(kind, y, np.eye(p.shape[1])[decide(p, blend.threshold)], weight)
        values |= {name: answered[name] for name in OF_LABELS if name in answered}
    return values


def _fold_scores(problem: Problem, blend: Blend) -> tuple[float, float]:
    """Mean and deviation over the folds, as a trial's score is made, so that the two can be compared."""
    scores = []
    for _, valid in problem.folds.pairs:
        p = blend.of([m.oof[valid] for m, _ in blend.members], len(problem.classes))
        if blend.threshold is not None:
            p = np.eye(p.shape[1])[decide(p, blend.threshold)]
        weight = None if problem.weight is None else problem.weight[valid]
        scores.append(problem.metric.score(problem.y[valid], p, weight))
    return float(np.mean(scores)), float(np.std(scores))


def field_of(problem: Problem, name: str, form: Mapping[str, Any]) -> dict[str, Any]:
    """A column's entry in the input schema."""
    column = problem.features.columns[name]
    example: Any = None
    if isinstance(column, Words):
        known = np.flatnonzero(column.codes >= 0)
        example = str(column.levels[column.codes[known[0]]]) if len(known) else ""
    elif not isinstance(column, Blobs):
        known = np.flatnonzero(np.isfinite(column))
        if len(known):
            value = float(column.flat[known[0]])
            example = int(value) if value.is_integer() and abs(value) < 2**53 else value
    kind = str(problem.features.types[name])
    entry = {"name": name, "type": kind, "required": True, "example": example, "format": dict(form)}
    if name in problem.fronts:
        entry["front"] = problem.fronts[name].to_json()
    return entry


def _front(problem: Problem, name: str) -> str:
    if name in problem.fronts:
        return problem.fronts[name].about
    if problem.features.types[name] == ColumnType.DATETIME:
        return "written as YYYY-MM-DD HH:MM:SS; the graph takes the date alone and a T between the two as well"
    return ""

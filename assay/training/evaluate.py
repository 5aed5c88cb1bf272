"""One trial: a configuration trained on every fold, scored, and written down as a checkpoint.

The design matrices of a fold depend on the recipe alone, so they are prepared once and shared by all trials of a warm
process (`Matrices`).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from assay.data.prepare import Recipe
from assay.errors import Diverged, TimedOut, TrialStopped
from assay.families import Family, FoldsFamily, Predictor, Prepares, Split, WholeFamily, Wish
from assay.metrics import all_values
from assay.model import checkpoint
from assay.model.compose import FoldModel, member_graph
from assay.space import Value, build
from assay.tasks._problem import Problem

ASKING_SHARE = 0.08  # of a fold's time kept for predicting and for the graph, until it is known what that takes
CACHE_BYTES = 1 << 30  # of prepared matrices kept in one process
WHOLE = -1  # the "fold" of all rows, without a validation part
WHOLE_STEPS = 1.05  # steps of the fit on all rows, of those that the folds found best: more rows bear a few more
WHOLE_SHARE = 0.5  # of the member's answer that comes from the fit on all rows (ADR 6 has what it brings)


@dataclass(frozen=True, eq=False)
class Prepared:
    """One fold under one recipe.  y_mean, y_std undo the scaling of regression targets."""

    preparation: Prepares
    split: Split
    y_mean: float | np.ndarray
    y_std: float | np.ndarray

    def nbytes(self) -> int:
        return self.split.x.nbytes + self.split.x_valid.nbytes


class Matrices:
    """Prepared folds of one problem, least recently used ones dropped past CACHE_BYTES."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._kept: OrderedDict[tuple[Wish, int], Prepared] = OrderedDict()

    def get(self, recipe: Wish, fold: int) -> Prepared:
        key = (recipe, fold)
        if key not in self._kept:
            self._kept[key] = _prepare(self.problem, recipe, fold)
            while len(self._kept) > 1 and sum(p.nbytes() for p in self._kept.values()) > CACHE_BYTES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


@dataclass(frozen=True)
class Evaluation:
    """What a finished trial found.  Scores are higher-is-better; metrics are public values on validation rows.

    size_bytes: of its checkpoint, as much as packing it costs (`assay.model.checkpoint.packing_bytes`).
    """

    score: float
    score_std: float
    fold_scores: tuple[float, ...]
    metrics: Mapping[str, float]
    seconds: float
    predict_ms_per_row: float
    size_bytes: int
    notes: tuple[str, ...] = ()


@dataclass
class FitContext:
    """The TrialContext of one fit.  Steps of fold i are told as i * steps + step."""

    device: str
    rng: np.random.Generator
    seed: int
    max_steps: int
    threads: int
    tell: Callable[[int, float], None]
    deadline: float  # on time.monotonic's scale
    base: int = 0  # steps of the folds before
    quiet: bool = False  # folds after the first only look for a stop; their curve says nothing new

    def report(self, step: int, score: float) -> None:
        if time.monotonic() > self.deadline:
            raise TrialStopped
        if not self.quiet and math.isfinite(score) and step < self.max_steps:
            self.tell(self.base + step, score)

    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()


@dataclass(frozen=True)
class Request:
    """What to train.  tell(step, score) passes a report on and raises TrialStopped when the trial is not wanted."""

    family: Family
    config: Mapping[str, Value]
    seed: int
    path: Path  # where the checkpoint goes
    tell: Callable[[int, float], None] = field(default=lambda step, score: None)
    seconds: float = math.inf  # wall clock for the whole trial
    device: str = "cpu"
    threads: int = 1
    info: Mapping[str, Any] = field(default_factory=dict)


def evaluate(matrices: Matrices, request: Request) -> Evaluation:
    """Train on every fold, score, write the checkpoint.  Raises TrialError or TrialStopped; then nothing is written."""
    started = time.monotonic()
    problem = matrices.problem
    config = build(request.family.Config, request.config)
    recipe = request.family.recipe(config)
    if problem.resolved.options.get("monotone") and isinstance(recipe, Recipe):
        recipe = replace(recipe, derived=False)  # what is made of a monotone column need not be monotone
    steps = request.family.steps(config)
    train = _all_folds if isinstance(request.family, FoldsFamily) else _fold_by_fold
    fitted, whole = train(matrices, request, config, recipe, steps, started)
    scores = [f.score for f in fitted]
    if not all(math.isfinite(s) for s in scores):
        raise Diverged(f"the score is not a number: {scores}{_too_rare(problem)}")
    return _finish(problem, request, fitted, whole, started)


def _too_rare(problem: Problem) -> str:
    """Which classes have too few rows for every fold, in words; nothing where that is not the cause."""
    if not problem.classes or problem.y.ndim != 1:
        return ""
    rows = np.bincount(problem.y[problem.folds.covered].astype(np.int64), minlength=len(problem.classes))
    rare = [f"{c!r} has {n}" for c, n in zip(problem.classes, rows, strict=True) if n < len(problem.folds)]
    told = ", ".join(rare[:5])
    return f"; {len(problem.folds)} folds need a row of every class each, and {told}" if rare else ""


@dataclass(frozen=True, eq=False)
class Fitted:
    """One fold's model and all that is asked of it.  test, gate: None when the fold is not delivered."""

    model: FoldModel
    score: float
    valid: np.ndarray  # (m, k)
    test: np.ndarray | None
    gate: np.ndarray | None
    ms_per_row: float


@dataclass(frozen=True, eq=False)
class Whole:
    """The model of all rows, the test part's among them, and its answers to the gate's rows.

    It is never asked for the test part: what is reported there is what the folds' models say, who have not seen it.
    """

    model: FoldModel
    gate: np.ndarray


def _wants_whole(problem: Problem, family: Family) -> bool:
    """Rows that the user set apart stay apart."""
    return problem.resolved.refit and problem.resolved.options.get("parts") is None and isinstance(family, WholeFamily)


def whole_rows(problem: Problem) -> np.ndarray:
    """All rows, but for those that the data itself sets apart to test on, and copies of them."""
    if not problem.resolved.options.get("tested"):
        return np.arange(len(problem.y))
    return np.unique(np.concatenate([np.concatenate(pair) for pair in problem.folds.pairs]))


def _prepare(problem: Problem, recipe: Wish, fold: int) -> Prepared:
    if fold == WHOLE:
        train, valid = whole_rows(problem), np.arange(0)
    else:
        train, valid = problem.folds.pairs[fold]
    y, y_valid = problem.y[train], problem.y[valid]
    mean: float | np.ndarray = 0.0
    std: float | np.ndarray = 1.0
    if problem.target.is_regression:
        if y.ndim > 1:
            mean, std = y.mean(0), np.where(y.std(0) > 0, y.std(0), 1.0)
        else:
            mean, std = float(np.mean(y)), float(np.std(y)) or 1.0
        y, y_valid = (y - mean) / std, (y_valid - mean) / std
    weight = None if problem.weight is None else problem.weight[train]
    preparation, x = recipe.fit(
        problem.features.take(train),
        y,
        problem.target,
        seed=problem.resolved.seed + (len(problem.folds) if fold == WHOLE else fold),
        weight=weight,
    )
    split = Split(
        x=x,
        y=y,
        x_valid=preparation.transform(problem.features.take(valid)),
        y_valid=y_valid,
        target=problem.target,
        weight=weight,
        weight_valid=None if problem.weight is None or fold == WHOLE else problem.weight[valid],
        groups=preparation.groups,
        monotone=_monotone(problem, preparation),
    )
    return Prepared(preparation, split, mean, std)


def _monotone(problem: Problem, preparation: Prepares) -> np.ndarray | None:
    """The wishes of the job for the prepared columns; a raw number is its own column."""
    wished: Mapping[str, str] = problem.resolved.options.get("monotone") or {}
    if not wished:
        return None
    signs = {"increasing": 1, "decreasing": -1}
    names = getattr(preparation, "names", ())
    return np.array([signs[wished[n]] if n in wished else 0 for n in names], np.int64)


def _context(request: Request, fold: int, steps: int, deadline: float) -> FitContext:
    return FitContext(
        device=request.device,
        rng=np.random.default_rng([request.seed, fold]),
        seed=(request.seed * 1009 + fold) % (2**31 - 1),
        max_steps=steps,
        threads=request.threads,
        tell=request.tell,
        deadline=deadline,
        base=fold * steps,
        quiet=fold > 0,
    )


def _fold_by_fold(
    matrices: Matrices, request: Request, config: Any, recipe: Wish, steps: int, started: float
) -> tuple[list[Fitted], Whole | None]:
    problem = matrices.problem
    k = len(problem.folds)
    more = _rows_of_folds(problem) if _wants_whole(problem, request.family) else 0.0  # folds' worth of the last fit
    fitted: list[Fitted] = []
    asking = 0.0  # seconds that a fold took after its fit: predicting and becoming a graph
    for i in range(k):
        p = matrices.get(recipe, i)
        # every fold gets an equal share of what is left, so a slow first fold cannot starve the others
        left = started + request.seconds - time.monotonic()
        if left <= 0:
            raise TimedOut(f"{i} of {k} folds were trained within {request.seconds:.1f} s")
        share = left / (k - i + more)
        if math.isfinite(share):
            share -= min(0.5 * share, 1.2 * asking if i else ASKING_SHARE * share)
        predictor = request.family.fit(config, p.split, _context(request, i, steps, time.monotonic() + share))
        began = time.monotonic()
        fitted.append(_fitted(problem, i, p, predictor))
        asking = max(asking, time.monotonic() - began)
        # after the last fold all there is to do is to write it down: too late to stop
        with contextlib.suppress(*([TrialStopped] if i == k - 1 and not more else [])):
            request.tell((i + 1) * steps, float(np.mean([f.score for f in fitted])))
    if not more:
        return fitted, None
    left = started + request.seconds - time.monotonic()
    spent = (time.monotonic() - started) / k
    if left < 1.3 * more * spent:  # cut short it would be worse than none
        return fitted, None
    found = [getattr(f.model.predictor, "best_step", steps) for f in fitted]
    wanted = min(steps, max(1, round(WHOLE_STEPS * float(np.mean(found)))))
    p = matrices.get(recipe, WHOLE)
    deadline = time.monotonic() + left - min(0.5 * left, 1.2 * asking)
    context = replace(_context(request, k, steps, deadline), max_steps=wanted)
    predictor = request.family.fit(config, p.split, context)
    in_time = getattr(predictor, "best_step", wanted) >= wanted
    return fitted, _whole(problem, fitted, p, predictor) if in_time else None


def _rows_of_folds(problem: Problem) -> float:
    """All rows in units of a fold's training rows."""
    return len(problem.y) / max(1, len(problem.folds.pairs[-1][0]))


def _all_folds(
    matrices: Matrices, request: Request, config: Any, recipe: Wish, steps: int, started: float
) -> tuple[list[Fitted], Whole | None]:
    assert isinstance(request.family, FoldsFamily)
    problem = matrices.problem
    k = len(problem.folds)
    with_whole = _wants_whole(problem, request.family)
    prepared = [matrices.get(recipe, i) for i in (*range(k), *([WHOLE] if with_whole else []))]
    left = started + request.seconds - time.monotonic()
    context = _context(request, 0, steps, time.monotonic() + (1.0 - ASKING_SHARE) * left)
    predictors = request.family.fit_folds(config, [p.split for p in prepared], context)
    fitted = [_fitted(problem, i, p, f) for i, (p, f) in enumerate(zip(prepared[:k], predictors[:k], strict=True))]
    request.tell(k * steps, float(np.mean([f.score for f in fitted])))
    return fitted, _whole(problem, fitted, prepared[k], predictors[k]) if with_whole else None


def _whole(problem: Problem, fitted: Sequence[Fitted], p: Prepared, predictor: Predictor) -> Whole:
    """Beside the delivered folds' models, with WHOLE_SHARE of the answer."""
    weight = len(_delivered(problem)) * WHOLE_SHARE / (1.0 - WHOLE_SHARE)
    model = FoldModel(p.preparation, predictor, p.y_mean, p.y_std, weight)
    return Whole(model, _predict(predictor, p, p.preparation.transform(problem.gate)))


def _fitted(problem: Problem, fold: int, p: Prepared, predictor: Predictor) -> Fitted:
    """Ask a fitted fold for everything at once, its graph included: what that takes is known after the first fold."""
    rows = problem.folds.pairs[fold][1]
    model = FoldModel(p.preparation, predictor, p.y_mean, p.y_std)
    began = time.perf_counter()
    valid = _predict(predictor, p, p.split.x_valid)
    ms_per_row = 1000 * (time.perf_counter() - began) / max(1, len(rows))
    score = problem.metric.score(problem.y[rows], valid, None if problem.weight is None else problem.weight[rows])
    if fold not in _delivered(problem) or not math.isfinite(score):
        return Fitted(model, score, valid, None, None, ms_per_row)
    test, gate = (
        _predict(predictor, p, p.preparation.transform(table))
        for table in (problem.features.take(problem.folds.test), problem.gate)
    )
    model.graph  # noqa: B018  made now, kept for the checkpoint
    return Fitted(model, score, valid, test, gate, ms_per_row)


def _delivered(problem: Problem) -> Sequence[int]:
    """Folds whose models are delivered: rolling origins and hold-outs deliver the last, earlier ones saw less of the past."""
    k = len(problem.folds)
    return range(k) if problem.resolved.method in ("cv", "group") else [k - 1]


def _predict(predictor: Predictor, p: Prepared, x: np.ndarray) -> np.ndarray:
    """Public predictions, float64 (n, k): probabilities, or targets in their own unit."""
    if not len(x):  # no test part: some libraries do not predict nothing
        return np.empty((0, p.split.target.n_outputs))
    raw = np.asarray(predictor.predict(x), dtype=np.float64)
    if not np.isfinite(raw).all():
        raise Diverged("a prediction is not a finite number")
    return raw * p.y_std + p.y_mean


def _finish(
    problem: Problem, request: Request, fitted: Sequence[Fitted], whole: Whole | None, started: float
) -> Evaluation:
    k = problem.target.n_outputs
    oof = np.full((len(problem.y), k), np.nan)
    for (_, valid), f in zip(problem.folds.pairs, fitted, strict=True):
        oof[valid] = f.valid
    covered = problem.folds.covered
    used = [f for f in fitted if f.gate is not None]
    arrays = {"oof": oof.astype(np.float32 if not problem.target.is_regression else np.float64)}
    arrays["test"] = np.mean([f.test for f in used if f.test is not None], axis=0)
    models, gates = [f.model for f in used], [f.gate for f in used if f.gate is not None]
    if whole is not None:
        models, gates = [*models, whole.model], [*gates, whole.gate]
    arrays["gate"] = np.average(gates, axis=0, weights=[m.weight for m in models])
    graph = member_graph(models)
    ms_per_row = float(np.mean([f.ms_per_row for f in fitted])) * len(models)
    about = {
        **request.info, "family": request.family.name, "ms_per_row": ms_per_row, "nodes": len(graph.nodes),
    }  # fmt: skip
    checkpoint.save(request.path, graph, arrays, about)
    weight = None if problem.weight is None else problem.weight[covered]
    scores = [f.score for f in fitted]
    return Evaluation(
        score=float(np.mean(scores)),
        score_std=float(np.std(scores)),
        fold_scores=tuple(float(s) for s in scores),
        metrics=all_values(problem.resolved.kind, problem.y[covered], oof[covered], weight),
        seconds=time.monotonic() - started,
        predict_ms_per_row=ms_per_row,
        size_bytes=checkpoint.packing_bytes(request.path, graph),
    )

"""One trial: learn up to every cut, forecast what came, and once more from everything for the model to deliver."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from assay.errors import Diverged, TimedOut
from assay.families import Predictor
from assay.forecasting.problem import Cut, ForecastProblem
from assay.forecasting.spread import judged_quantiles
from assay.metrics import METRICS, for_kind
from assay.metrics.forecasting import Actual, Forecast, coverage
from assay.model import checkpoint
from assay.space import build
from assay.training.evaluate import Evaluation, FitContext, Matrices, Request


def evaluate(matrices: Matrices, request: Request) -> Evaluation:
    """Raises TrialError or TrialStopped; then nothing is written."""
    started = time.monotonic()
    problem = matrices.problem
    assert isinstance(problem, ForecastProblem) and problem.last is not None
    config = build(request.family.Config, request.config)
    steps = request.family.steps(config)
    cuts: list[Cut] = [*problem.cuts, *([problem.test] if problem.test else []), problem.last]
    predictors: list[Predictor] = []
    points: list[np.ndarray] = []
    scores: list[float] = []
    for i, cut in enumerate(cuts):
        left = started + request.seconds - time.monotonic()
        if left <= 0:
            raise TimedOut(f"{i} of {len(cuts)} fits ended within {request.seconds:.1f} s")
        past = problem.past(cut)
        context = _context(request, i, steps, time.monotonic() + left / (len(cuts) - i))
        predictors.append(request.family.fit(config, past, context))
        points.append(predict(predictors[-1], past.x_valid, problem) + problem.lift(cut))
        if i < len(problem.cuts):
            actual = problem.actual(cut.windows)
            scores.append(_score(problem, actual, points[-1], cut))
            request.tell((i + 1) * steps, float(np.mean(scores)))
    k = len(problem.cuts)
    oof = np.concatenate(points[:k])
    x, lift = problem.gate_effects()
    began = time.perf_counter()
    gate = predict(predictors[-1], x, problem) + lift
    ms_per_row = 1000 * (time.perf_counter() - began) / len(gate)
    test = points[k] if problem.test else np.empty((0, problem.horizon))
    arrays = {"oof": oof, "test": test, "gate": gate}
    graph = predictors[-1].to_onnx("x")
    checkpoint.save(request.path, graph, arrays, {**request.info, "family": request.family.name})
    return Evaluation(
        score=float(np.mean(scores)),
        score_std=float(np.std(scores)),
        fold_scores=tuple(scores),
        metrics=all_metrics(*backtest(problem, oof)),
        seconds=time.monotonic() - started,
        predict_ms_per_row=ms_per_row,
        size_bytes=request.path.stat().st_size,
    )


def predict(predictor: Predictor, x: np.ndarray, problem: ForecastProblem) -> np.ndarray:
    """Points (n, horizon).  Raises Diverged when one is not finite."""
    if not len(x):
        return np.empty((0, problem.horizon))
    point = np.asarray(predictor.predict(x), np.float64)
    if not np.isfinite(point).all():
        raise Diverged("a forecast is not a finite number")
    return point


def backtest(problem: ForecastProblem, oof: np.ndarray) -> tuple[Actual, Forecast]:
    """All backtest windows with forecasts, their quantiles from the errors of other origins."""
    windows = np.concatenate([c.windows for c in problem.cuts])
    actual = problem.actual(windows)
    back = windows[:, 1] - np.array([len(v) for v in problem.values])[windows[:, 0]]  # from the end of its series
    point = clipped(problem, oof)
    scale = problem.scale(problem.inputs(windows))
    quantiles = judged_quantiles(actual.y, point, scale, back, problem.is_nonnegative)
    return actual, Forecast(point, quantiles)


def clipped(problem: ForecastProblem, point: np.ndarray) -> np.ndarray:
    return np.maximum(point, 0.0) if problem.is_nonnegative else point


def all_metrics(actual: Actual, forecast: Forecast) -> dict[str, float]:
    values = {n: METRICS[n].value(actual, forecast) for n in for_kind("forecasting")}
    values["coverage_80"] = coverage(actual, forecast)
    return {n: v for n, v in values.items() if math.isfinite(v)}


def _score(problem: ForecastProblem, actual: Actual, point: np.ndarray, cut: Cut) -> float:
    """Of one fold.  Quantiles come from the fold's own errors: enough to compare trials, all of which are judged so."""
    point = clipped(problem, point)
    quantiles: Any = None
    if problem.resolved.metric == "wql":
        scale = problem.scale(problem.inputs(cut.windows))
        back = np.arange(len(point)) % 2
        quantiles = judged_quantiles(actual.y, point, scale, back, problem.is_nonnegative)
    return problem.metric.score(actual, Forecast(point, quantiles))


def _context(request: Request, cut: int, steps: int, deadline: float) -> FitContext:
    return FitContext(
        device=request.device,
        rng=np.random.default_rng([request.seed, cut]),
        seed=(request.seed * 1009 + cut) % (2**31 - 1),
        max_steps=steps,
        threads=request.threads,
        tell=request.tell,
        deadline=deadline,
        base=0,
        quiet=cut > 0,
    )

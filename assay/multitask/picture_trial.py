"""One trial on several targets of pictures: trained once, judged target by target on held-out pictures, written down."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from assay.errors import Diverged, TimedOut
from assay.model import checkpoint
from assay.model.compose import RAW
from assay.model.graph import Graph, Scope, dedupe
from assay.multitask.pictures import PictureTarget, answered, values
from assay.multitask.seen import SeenPreparation
from assay.space import build
from assay.tasks._problem import Problem
from assay.training.evaluate import Evaluation, FitContext, Matrices, Request

MS_OF_ONE = 1000.0
KEPT = 0.95  # of a trial's time for training, which itself keeps some validations' worth of it for what follows,
KEPT_OF_MANY, MANY = 0.88, 3.0  # and where so many times the validation pictures are tested on


def evaluate(matrices: Matrices, request: Request) -> Evaluation:
    """Train, judge, write the checkpoint.  Raises TrialError or TrialStopped; then nothing is written."""
    started = time.monotonic()
    problem = matrices.problem
    target = target_of(problem)
    config = build(request.family.Config, request.config)
    steps = request.family.steps(config)
    prepared = matrices.get(request.family.recipe(config), 0)
    left = started + request.seconds - time.monotonic()
    if left <= 0:
        raise TimedOut(f"the pictures were not ready within {request.seconds:.1f} s")
    valid, test = problem.folds.pairs[0][1], problem.folds.test
    share = KEPT if len(test) <= MANY * len(valid) else KEPT_OF_MANY
    context = FitContext(
        device=request.device, rng=np.random.default_rng(request.seed), seed=request.seed % (2**31 - 1), max_steps=steps,
        threads=request.threads, tell=request.tell, deadline=time.monotonic() + share * left,
    )  # fmt: skip
    predictor: Any = request.family.fit(config, prepared.split, context)
    preparation: Any = prepared.preparation
    began = time.perf_counter()
    told, masks = answered(predictor.predict, prepared.split.x_valid, target)
    ms_per_row = MS_OF_ONE * (time.perf_counter() - began) / max(1, len(valid))
    if not np.isfinite(told).all():
        raise Diverged("a prediction is not a finite number")
    metrics = values(list(problem.y[valid]), told, masks, target)
    score = problem.metric.to_score(metrics.get(problem.resolved.metric, math.nan))
    if not math.isfinite(score):
        raise Diverged(f"{problem.resolved.metric} is not defined on the {len(valid)} validation pictures")
    tested, test_masks = answered(predictor.predict, preparation.transform(problem.features.take(test)), target)
    test_metrics = values(list(problem.y[test]), tested, test_masks, target)
    gate = predictor.predict(preparation.transform(problem.gate))
    facts = {**request.info, "family": request.family.name, "metrics": metrics, "test_metrics": test_metrics}
    arrays: dict[str, np.ndarray] = {
        "gate": np.asarray(gate, np.float32),
        "valid": np.asarray(told, np.float64),
        "test": np.asarray(tested, np.float64),
    }
    checkpoint.save(request.path, graph_of(preparation, predictor), arrays, facts)
    request.tell(steps, score)
    return Evaluation(
        score=score, score_std=0.0, fold_scores=(score,), metrics=metrics, seconds=time.monotonic() - started,
        predict_ms_per_row=ms_per_row, size_bytes=request.path.stat().st_size,
    )  # fmt: skip


def target_of(problem: Problem) -> PictureTarget:
    assert isinstance(problem.target, PictureTarget)
    return problem.target


def graph_of(preparation: SeenPreparation, predictor: Any) -> Graph:
    """From the values `raw:<column>` to [N, k].  predictor.emit(scope, pixels, the matrix of the other columns or None)."""
    scope = Scope()
    beside = None
    if preparation.others is not None:
        beside = scope.include(preparation.to_onnx({c: RAW + c for c in preparation.columns}))
    return dedupe(scope.graph(predictor.emit(scope, RAW + preparation.column, beside)))

"""One trial of a detector or a segmenter: trained once, judged on held-out pictures, written down."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from assay.errors import Diverged, TimedOut, TrialStopped
from assay.families import Predictor
from assay.metrics import all_values
from assay.metrics.detection import Found
from assay.model import checkpoint
from assay.model.compose import FoldModel
from assay.space import build
from assay.tasks._problem import Problem
from assay.training.evaluate import Evaluation, FitContext, Matrices, Request
from assay.vision.decode import Decoder

CHUNK = 16  # pictures answered at once
MS_OF_ONE = 1000.0
WRITING = 0.5  # seconds kept for what follows the last answer; a training itself keeps what judging takes


def evaluate(matrices: Matrices, request: Request) -> Evaluation:
    """Train, judge, write the checkpoint.  Raises TrialError or TrialStopped; then nothing is written."""
    started = time.monotonic()
    problem = matrices.problem
    config = build(request.family.Config, request.config)
    steps = request.family.steps(config)
    prepared = matrices.get(request.family.recipe(config), 0)
    left = started + request.seconds - time.monotonic()
    if left <= 0:
        raise TimedOut(f"the pictures were not ready within {request.seconds:.1f} s")
    context = FitContext(
        device=request.device, rng=np.random.default_rng(request.seed), seed=request.seed % (2**31 - 1), max_steps=steps,
        threads=request.threads, tell=request.tell, deadline=time.monotonic() + max(0.5 * left, left - WRITING),
    )  # fmt: skip
    fitting = time.monotonic()
    predictor = request.family.fit(config, prepared.split, context)
    fitting = time.monotonic() - fitting
    valid = problem.folds.pairs[0][1]
    began = time.perf_counter()
    metrics = judged(problem, predictor, prepared.split.x_valid, valid)
    ms_per_row = MS_OF_ONE * (time.perf_counter() - began) / max(1, len(valid))
    score = problem.metric.to_score(metrics.get(problem.resolved.metric, math.nan))
    if not math.isfinite(score):
        raise Diverged(f"{problem.resolved.metric} is not defined on the {len(valid)} validation pictures")
    # a test part may be larger than what trains and judges: what there is no time for is not tested on
    able = (started + request.seconds - time.monotonic() - WRITING) * MS_OF_ONE / max(1e-3, ms_per_row)
    test = problem.folds.test[: int(np.clip(able, 0, len(problem.folds.test)))]
    tested = {}
    if len(test):
        tested = judged(problem, predictor, prepared.preparation.transform(problem.features.take(test)), test)
    gate = predictor.predict(prepared.preparation.transform(problem.gate))
    facts = {**request.info, "family": request.family.name, "metrics": metrics, "test_metrics": tested}
    facts["tested"] = len(test)
    course = getattr(predictor, "course", None)
    if course is not None:
        facts["fit"] = {
            "config": dict(request.config), "seed": context.seed, "threads": request.threads, "seconds": fitting,
            "best": course.best, "ran": course.ran,
        }  # fmt: skip
    graph = FoldModel(prepared.preparation, predictor).graph
    checkpoint.save(request.path, graph, {"gate": np.asarray(gate, np.float32)}, facts)
    with contextlib.suppress(TrialStopped):  # all is written: too late to stop
        request.tell(steps, score)
    return Evaluation(
        score=score, score_std=0.0, fold_scores=(score,), metrics=metrics, seconds=time.monotonic() - started,
        predict_ms_per_row=ms_per_row, size_bytes=request.path.stat().st_size,
    )  # fmt: skip


def judged(problem: Problem, predictor: Predictor, x: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Every metric on the pictures x, which are the problem's rows."""
    found = found_in(predictor, x, len(problem.classes), problem.resolved.kind)
    truth: Any = list(problem.y[rows])
    return all_values(problem.resolved.kind, truth, found)  # type: ignore[arg-type]


def found_in(predictor: Predictor, x: np.ndarray, classes: int, kind: str) -> Sequence[Found] | Sequence[np.ndarray]:
    """Boxes, or masks uint8 (side, side)."""
    side = x.shape[1]
    found: list[Any] = []
    for i in range(0, len(x), CHUNK):
        answer = np.asarray(predictor.predict(x[i : i + CHUNK]))
        if not np.isfinite(answer).all():
            raise Diverged("a prediction is not a finite number")
        found += decoded(answer, classes, side, kind)
    return found


def decoded(answer: np.ndarray, classes: int, side: int, kind: str) -> list[Any]:
    """Boxes or masks from what a predictor answers, (n, k)."""
    if kind == "detection":
        return list(Decoder(classes, side).found(answer))
    return list(answer.reshape(-1, classes, side, side).argmax(1).astype(np.uint8))

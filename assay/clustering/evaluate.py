"""One trial: a family's best clustering, found again on resamples, told in every metric, and written as a checkpoint."""

from __future__ import annotations

import math
import time
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from assay.clustering.assign import Assigner
from assay.clustering.criteria import adjusted_rand
from assay.clustering.family import ClusterFamily, ClusterSplit
from assay.clustering.judge import Judge
from assay.clustering.space import Place, comparable
from assay.errors import Diverged, TrialError, TrialStopped
from assay.metrics import METRICS, for_kind
from assay.metrics.clustering import EXTERNAL
from assay.model import checkpoint
from assay.model.compose import FoldModel, member_graph
from assay.space import build
from assay.tasks._problem import Problem
from assay.training.evaluate import Evaluation, FitContext, Matrices, Request

SHARE = 0.8  # of the rows in a resample
RESAMPLED_ROWS = 2000  # a clustering of more is not found again on more
SCAN_TIME = 0.8  # of a trial's time for the scan; the rest is for resamples and the graph
INSTABILITY = 0.1  # score a clustering loses that is not found again at all

_judges: WeakKeyDictionary[Problem, Judge] = WeakKeyDictionary()


def evaluate(matrices: Matrices, request: Request) -> Evaluation:
    """Cluster all rows, judge the sample, write the checkpoint.  Raises TrialError or TrialStopped; then nothing is written."""
    started = time.monotonic()
    problem = matrices.problem
    config = build(request.family.Config, request.config)
    judge = judge_of(problem)
    prepared = matrices.get(request.family.recipe(config), 0)
    x = prepared.split.x
    context = FitContext(
        device=request.device,
        rng=np.random.default_rng(request.seed),
        seed=request.seed,
        max_steps=request.family.steps(config),
        threads=request.threads,
        tell=request.tell,
        deadline=started + SCAN_TIME * request.seconds,
    )
    split = ClusterSplit(
        x=x, y=np.zeros(len(x)), x_valid=x[:0], y_valid=np.zeros(0), target=problem.target, judge=judge
    )
    assigner: Any = request.family.fit(config, split, context)
    began = time.perf_counter()
    answer = assigner.predict(x)
    ms_per_row = 1000 * (time.perf_counter() - began) / len(x)
    codes = answer[:, 0].astype(np.int64)
    plain = judge.score(codes[judge.rows])
    if not math.isfinite(plain):
        raise Diverged("the clustering has fewer than two clusters")
    stable = _stability(request, config, assigner, x, codes, problem, started)
    scores = [plain - _penalty(judge, s) for s in stable] or [plain]
    score = float(np.mean(scores))
    request.tell(context.max_steps, score)
    metrics = told(problem, judge, codes)
    metrics[problem.resolved.metric] = METRICS[problem.resolved.metric].to_public(score)
    gate = prepared.preparation.transform(problem.gate)
    model = FoldModel(prepared.preparation, assigner)
    info = {
        **request.info,
        "family": request.family.name,
        "metrics": metrics,
        "clusters": np.bincount(codes[codes >= 0]).tolist(),
        "noise": int((codes < 0).sum()),
        "stability": [float(s) for s in stable],
        "odds": judge.odds(codes[judge.rows]),
        "assign": {"kind": type(assigner).__name__.lower(), **assigner.facts()},
        "ms_per_row": ms_per_row,
    }
    arrays = {"codes": codes.astype(np.int32), "gate": assigner.predict(gate), "gate_margin": assigner.margin(gate)}
    checkpoint.save(request.path, member_graph([model]), arrays, info)
    return Evaluation(
        score=score,
        score_std=float(np.std(scores)),
        fold_scores=tuple(float(s) for s in scores),
        metrics=metrics,
        seconds=time.monotonic() - started,
        predict_ms_per_row=ms_per_row,
        size_bytes=request.path.stat().st_size,
    )


def judge_of(problem: Problem) -> Judge:
    """What judges all trials of a problem alike, whatever space each clusters in."""
    if problem not in _judges:
        scaling = "none" if comparable(problem.features) else "standard"
        seed = problem.resolved.seed
        _, x = Place(scaling).fit(problem.features, problem.y, problem.target, seed)
        _judges[problem] = Judge.of(x, seed, problem.resolved.metric)
    return _judges[problem]


def told(problem: Problem, judge: Judge, codes: np.ndarray) -> dict[str, float]:
    """Every metric by public name: those without a target on the judged sample, those with a truth on all rows that have one."""
    kind, part = problem.resolved.kind, codes[judge.rows]
    values = {
        n: METRICS[n].value(judge.evidence.x, part)
        for n in for_kind(kind)
        if n not in (*EXTERNAL, "clustering_quality")
    }
    values["clustering_quality"] = judge.quality(part)
    known = problem.y >= 0
    if known.any():
        values |= {n: METRICS[n].value(problem.y[known], codes[known]) for n in EXTERNAL}
    return {n: v for n, v in values.items() if math.isfinite(v)}


def _penalty(judge: Judge, stability: float) -> float:
    """Of the combined criterion only: others are asked for by name and stay what they are."""
    return INSTABILITY * (1.0 - max(0.0, stability)) if judge.metric == "clustering_quality" else 0.0


def _stability(
    request: Request,
    config: Any,
    assigner: Assigner,
    x: np.ndarray,
    codes: np.ndarray,
    problem: Problem,
    started: float,
) -> list[float]:
    """Adjusted Rand index between the clustering and the same found again on each resample, over rows it did not see.

    Lange, Roth, Braun, Buhmann, "Stability-Based Validation of Clustering Solutions", Neural Computation 16, 2004: the
    answer of the resample's clustering for rows outside of it, without their correction for the number of clusters.
    """
    family = request.family
    if not isinstance(family, ClusterFamily):
        return []
    found = []
    for i in range(problem.resolved.folds):
        if time.monotonic() - started > request.seconds * 0.9:
            break
        rng = np.random.default_rng([problem.resolved.seed, 11, i])
        order = rng.permutation(len(x))
        take = min(int(SHARE * len(x)), RESAMPLED_ROWS)
        rows, rest = np.sort(order[:take]), order[take:][:RESAMPLED_ROWS]
        context = FitContext("cpu", rng, request.seed, 1, request.threads, request.tell, math.inf, quiet=True)
        try:
            again = family.again(config, assigner, x[rows], context)
        except TrialStopped:
            raise
        except (TrialError, ValueError):
            again = None
        found.append(0.0 if again is None else adjusted_rand(codes[rest], again.predict(x[rest])[:, 0]))
    return found

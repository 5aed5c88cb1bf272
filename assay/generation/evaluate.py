"""One trial of a generator: fitted on every fold, drawn from through its graph, judged against held-out data."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from assay.errors import Diverged, Memorised, TimedOut, TrialError
from assay.generation.compose import Composed, session
from assay.generation.draw import draw
from assay.generation.stage import Stage, stage_of
from assay.metrics import METRICS, all_values
from assay.metrics.generation import Made, Real, copies, memorised, weighed
from assay.model import checkpoint
from assay.space import build
from assay.tasks._problem import Problem
from assay.training.evaluate import Evaluation, FitContext, Matrices, Request

MEMORISED_LIMIT = 0.01
ENOUGH = 1.15  # of tstr, in choosing
LEAST_TOLD, BEYOND, MOST_TOLD = 0.6, 0.15, 0.95  # two_sample that is wanted: beyond the peer's, within these
GATE_SAMPLES = 64  # drawn in every trial and again from the delivered graph
SEED = 20_000_003  # of the samples a trial is judged on, so that trials differ by their models alone


def evaluate(matrices: Matrices, request: Request) -> Evaluation:
    """Fit, draw, judge, write the checkpoint.

    Raises TrialError: Diverged for training that diverges or collapses, Memorised for a generator that copies training
    data, TimedOut; or TrialStopped.  Then nothing is written.
    """
    started = time.monotonic()
    problem = matrices.problem
    config = build(request.family.Config, request.config)
    steps = request.family.steps(config)
    found: dict[float, list[tuple[Composed, dict[str, float]]]] = {}  # by the way it is composed, of every fold
    refused: TrialError | None = None
    per_sample = 0.0
    curve: list[tuple[float, int]] = []  # of the first fold
    fit_seconds = 0.0
    for i in range(len(problem.folds)):
        left = started + request.seconds - time.monotonic()
        if left <= 0:
            raise TimedOut(f"{i} of {len(problem.folds)} folds were trained within {request.seconds:.1f} s")
        stage = stage_of(problem, i)
        share = 0.8 * left / (len(problem.folds) - i)  # the rest is for drawing and judging
        context = _Watched(
            device=request.device, rng=np.random.default_rng([request.seed, i]),
            seed=(request.seed * 1009 + i) % (2**31 - 1), max_steps=steps, threads=request.threads, tell=request.tell,
            deadline=time.monotonic() + share, base=i * steps, quiet=i > 0,
            curve=curve if i == 0 else [],
        )  # fmt: skip
        began = time.monotonic()
        generator: Any = request.family.fit(config, stage.data, context)  # type: ignore[arg-type]
        fit_seconds = max(fit_seconds, time.monotonic() - began)
        began = time.perf_counter()
        bits, ways = (
            float(generator.bits(stage.data)),
            stage.ways if i == 0 else _best(problem, found)[: stage.kept_ways],
        )
        for way in ways:
            whole = stage.compose(generator, way)
            tried = _tried(problem, stage, whole, bits)
            if isinstance(tried, TrialError):
                refused = tried
            else:
                found[way] = [*found.get(way, []), tried]
        per_sample = (time.perf_counter() - began) / len(ways) / stage.n_samples(whole)
        found = {way: each for way, each in found.items() if len(each) > i}
        if refused and not found:
            raise refused
    calm = _best(problem, found)[0]
    each = found[calm]
    scores = [score_of(problem, v) for _, v in each]
    if not all(math.isfinite(s) for s in scores):
        raise Diverged(f"{problem.resolved.metric} is not defined for this generator: {scores}")
    composed, first = each[0]
    request.tell(len(each) * steps, float(np.mean(scores)))
    again = {
        "config": dict(request.config), "seed": request.seed, "seconds": fit_seconds, "own_seconds": stage.own_seconds,
        "steps": max(curve, key=lambda c: (c[0], -c[1]))[1] if curve else steps, "calm": calm,
    }  # fmt: skip
    facts = {"generator": composed.to_json(), "metrics": first, "fit": again}
    gate = {f"gate/{k}": v for k, v in as_numbers(gate_samples(composed)).items()}
    checkpoint.save(request.path, composed.graph, gate, {**request.info, "family": request.family.name, **facts})
    return Evaluation(
        score=float(np.mean(scores)),
        score_std=float(np.std(scores)),
        fold_scores=tuple(float(s) for s in scores),
        metrics={n: float(np.mean([v[n] for _, v in each if n in v])) for n in first},
        seconds=time.monotonic() - started,
        predict_ms_per_row=1000 * per_sample,
        size_bytes=request.path.stat().st_size,
    )


def _best(problem: Problem, found: Mapping[float, Sequence[tuple[Composed, Mapping[str, float]]]]) -> list[float]:
    """The ways, best first on the folds so far."""

    def merit(way: float) -> float:
        scores = [merit_of(problem, v, stage_of(problem, i)) for i, (_, v) in enumerate(found[way])]
        return float(np.mean(scores)) if np.isfinite(scores).all() else -math.inf

    return sorted(found, key=merit, reverse=True)


def _tried(
    problem: Problem, stage: Stage, composed: Composed, bits: float
) -> tuple[Composed, dict[str, float]] | TrialError:
    """A composed generator with its metrics, or why it is refused."""
    made = stage.judge.made(drawn(composed, stage.n_samples(composed)), bits)
    try:
        return composed, judged(problem, stage.judge.real, made)
    except TrialError as error:
        return error


def score_of(problem: Problem, values: Mapping[str, float]) -> float:
    """Of the job's metric, higher is better; NaN where it is not defined."""
    metric = METRICS[problem.resolved.metric]
    return metric.to_score(values.get(metric.name, math.nan))


def merit_of(problem: Problem, values: Mapping[str, float], stage: Stage) -> float:
    """By what the ways of composing a generator are chosen.

    Of fidelity what is taught of the target has to be more than enough: the best of many on few held-out rows is less on
    others, and real rows teach more where all of them are there.  How hard samples are to tell counts only up to a little
    more than the stage's peer reaches: what lies above it is given for what they teach.
    """
    if METRICS[problem.resolved.metric].name != "fidelity":
        return score_of(problem, values)
    told, wanted = values.get("two_sample", math.nan), min(MOST_TOLD, max(LEAST_TOLD, stage.peer + BEYOND))
    return weighed(min(told, wanted) ** 2, values.get("tstr", math.nan), ENOUGH)


@dataclass
class _Watched(FitContext):
    """Keeps (score, step) of every report: the best step is how long the delivered generator trains."""

    curve: list[tuple[float, int]] = field(default_factory=list)

    def report(self, step: int, score: float) -> None:
        if math.isfinite(score):
            self.curve.append((score, step))
        super().report(step, score)


def drawn(composed: Composed, n: int) -> dict[str, np.ndarray]:
    """The samples a generator is judged on."""
    return draw(session(composed.encoded()), composed.spec, n, SEED, {})


def gate_samples(composed: Composed) -> dict[str, np.ndarray]:
    """Few samples; of pictures fewer when each takes a loop."""
    return draw(session(composed.encoded()), composed.spec, 4 if composed.spec["loop"] else GATE_SAMPLES, 1, {})


def as_numbers(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Samples as arrays a checkpoint holds: words as the numbers of their characters, summed with their places."""
    found = {}
    for name, values in samples.items():
        if values.dtype.kind == "O":
            values = np.array([sum((i + 1) * ord(c) for i, c in enumerate(str(v))) for v in values], np.float64)
        found[name] = values
    return found


def judged(problem: Problem, real: Real, made: Made) -> dict[str, float]:
    """Every metric that is defined.  Raises Diverged for samples that are all the same or not finite, Memorised for
    copies of training data."""
    refuse_collapse(real, made)
    refuse_copies(real, made)
    return all_values(problem.resolved.kind, real, made)  # type: ignore[arg-type]


def refuse_collapse(real: Real, made: Made) -> None:
    """Raises Diverged for samples that are all the same or not finite."""
    if not np.isfinite(made.embedding).all():
        raise Diverged("the generator diverged: its samples are not finite")
    spread = float(made.embedding.std(0).sum()) / max(1e-9, float(real.embedding.std(0).sum()))
    if spread < 0.02:
        raise Diverged(f"the generator collapsed: its samples vary {100 * spread:.1f} % as much as the data")


def refuse_copies(real: Real, made: Made) -> None:
    """Raises Memorised."""
    shares, chance, _ = copies(real, made)
    if memorised(real, made) > MEMORISED_LIMIT:
        raise Memorised(
            f"{100 * shares:.1f} % of the samples are copies of training data, {100 * chance:.1f} % of held-out data are; "
            f"at most {100 * MEMORISED_LIMIT:.0f} % more are let through: fewer steps or a smaller model memorise less"
        )

"""One trial of a generator: fitted on every fold, drawn from through its graph, judged against held-out data."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from assay.errors import Diverged, Memorised, TimedOut, TrialError
from assay.generation.compose import Composed, session
from assay.generation.draw import draw
from assay.generation.stage import RowStage, Stage, stage_of
from assay.metrics import METRICS, all_values
from assay.metrics.generation import Made, Real, copies, memorised, two_sample, weighed
from assay.model import checkpoint
from assay.space import build
from assay.tasks._problem import Problem
from assay.training.evaluate import Evaluation, FitContext, Matrices, Request

MEMORISED_LIMIT = 0.01
ENOUGH = 1.15  # of tstr, in choosing
LEAST_TOLD, BEYOND, MOST_TOLD = 0.55, 0.1, 0.95  # two_sample that is wanted: beyond the peer's, within these
NO_LOSS = 0.03  # of two_sample: less is not looked at
TAUGHT = ("fidelity", "tstr")  # metrics that ask what samples teach
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
    found: dict[float, list[Drawn]] = {}  # by the way it is composed, of every fold
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
        bits = float(generator.bits(stage.data))
        ways = stage.calms if i == 0 else tuple(found)
        for way in ways:
            if time.monotonic() > started + request.seconds:
                if i or not found:
                    raise TimedOut(
                        f"fold {i + 1} of {len(problem.folds)} was not judged within {request.seconds:.1f} s"
                    )
                break  # what was composed is enough
            began = time.perf_counter()
            whole = stage.compose(generator, way)
            n = stage.n_samples(whole)
            one = Drawn(whole, drawn(whole, n), bits)
            per_sample = (time.perf_counter() - began) / n
            try:
                one = replace(one, told=_told(stage, one) if len(ways) > 1 else math.nan)
                found[way] = [*found.get(way, []), one]
            except TrialError as error:
                refused = error
        found = {way: each for way, each in found.items() if len(each) > i}
        if refused and not found:
            raise refused
    calm, values = _judged_best(problem, found)
    scores = [score_of(problem, v) for v in values]
    if not all(math.isfinite(s) for s in scores):
        raise Diverged(f"{problem.resolved.metric} is not defined for this generator: {scores}")
    composed, first = found[calm][0].composed, values[0]
    request.tell(len(values) * steps, float(np.mean(scores)))
    again = {
        "config": dict(request.config), "seed": request.seed, "seconds": fit_seconds, "own_seconds": stage.own_seconds,
        "steps": max(curve, key=lambda c: (c[0], -c[1]))[1] if curve else steps, "calm": calm,
        "merit": merit_of(problem, values, [stage_of(problem, i) for i in range(len(values))]),
    }  # fmt: skip
    facts = {"generator": composed.to_json(), "metrics": first, "fit": again}
    gate = {f"gate/{k}": v for k, v in as_numbers(gate_samples(composed)).items()}
    checkpoint.save(request.path, composed.graph, gate, {**request.info, "family": request.family.name, **facts})
    return Evaluation(
        score=float(np.mean(scores)),
        score_std=float(np.std(scores)),
        fold_scores=tuple(float(s) for s in scores),
        metrics={n: float(np.mean([v[n] for v in values if n in v])) for n in first},
        seconds=time.monotonic() - started,
        predict_ms_per_row=1000 * per_sample,
        size_bytes=request.path.stat().st_size,
    )


@dataclass(frozen=True, eq=False)
class Drawn:
    """What one way of composing a fold's generator draws.  told: its two_sample, NaN where nothing is chosen by it."""

    composed: Composed
    samples: Mapping[str, np.ndarray]
    bits: float
    told: float = math.nan


def _told(stage: Stage, one: Drawn) -> float:
    """How hard samples are to tell, 0 to 1.  Raises as `judged`."""
    assert isinstance(stage, RowStage)  # pictures are composed in one way
    made = stage.judge.made(one.samples, one.bits, taught=False)
    refuse_collapse(stage.judge.real, made)
    refuse_copies(stage.judge.real, made)
    return two_sample(stage.judge.real, made)


def _judged_best(problem: Problem, found: Mapping[float, Sequence[Drawn]]) -> tuple[float, list[dict[str, float]]]:
    """The best way, and its metrics fold by fold.  Raises as `judged`."""
    stages = [stage_of(problem, i) for i in range(len(problem.folds))]

    def values(way: float) -> list[dict[str, float]]:
        return [
            judged(problem, s.judge.real, s.judge.made(d.samples, d.bits))
            for s, d in zip(stages, found[way], strict=True)
        ]

    if len(found) > 1 and METRICS[problem.resolved.metric].name in TAUGHT:
        way = calmest({way: float(np.mean([d.told for d in each])) for way, each in found.items()}, _wanted(stages))
        return way, values(way)
    each = {way: values(way) for way in found}
    way = max(each, key=lambda w: merit_of(problem, each[w], stages))
    return way, each[way]


def calmest(told: Mapping[float, float], wanted: float) -> float:
    """The smallest errors of the target with which samples are as hard to tell as is wanted, or as with any others.

    told: two_sample by the factor of the errors.  What rows teach grows as the errors shrink, on every table that was
    looked at, while its measurement on a hundred held-out rows of a noisy table is luck: it has no say here.
    """
    least = min(wanted, max(told.values()) - NO_LOSS)
    return min(way for way, value in told.items() if value >= least)


def score_of(problem: Problem, values: Mapping[str, float]) -> float:
    """Of the job's metric, higher is better; NaN where it is not defined."""
    metric = METRICS[problem.resolved.metric]
    return metric.to_score(values.get(metric.name, math.nan))


def merit_of(problem: Problem, values: Sequence[Mapping[str, float]], stages: Sequence[Stage]) -> float:
    """By what generators are chosen, from their metrics on the folds of these stages.

    Of fidelity what is taught of the target has to be more than enough: the best of many on few held-out rows is less on
    others, and real rows teach more where all of them are there.  How hard samples are to tell counts only up to a little
    more than the stages' peers reach: what lies above it is given for what they teach.  Both are the means of the folds: by
    itself what a fold tells of a noisy target is mostly luck.
    """
    if METRICS[problem.resolved.metric].name != "fidelity":
        return float(np.mean([score_of(problem, v) for v in values]))
    told, taught = (float(np.mean([v.get(name, math.nan) for v in values])) for name in ("two_sample", "tstr"))
    return weighed(min(told, _wanted(stages)) ** 2, taught, ENOUGH)


def _wanted(stages: Sequence[Stage]) -> float:
    """two_sample that is wanted."""
    return float(np.mean([min(MOST_TOLD, max(LEAST_TOLD, s.peer + BEYOND)) for s in stages]))


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

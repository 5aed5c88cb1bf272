"""Several nets that answer as one: which trials' nets are averaged, as the validation pictures like it.

Answers are averaged place by place, before anything is suppressed or the most probable class is taken.  That means something
for masks, and for detectors whose places form the same grids: there every net says what is around the same place.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.data.table import ColumnType, Table
from assay.metrics import all_values
from assay.model.checkpoint import Checkpoint
from assay.model.compose import Delivered, model_bytes
from assay.model.deliver import Source
from assay.model.gate import raw_feeds
from assay.model.graph import Graph, Scope, dedupe
from assay.model.session import session_of
from assay.nn.detection import STRIDES
from assay.tasks._problem import Problem
from assay.vision.evaluate import CHUNK, decoded

MOST = 3  # nets of trials
CANDIDATES = 6  # best trials that are looked at
COSTS = 0.5  # standard errors of the best net's score that its company may cost: nets that err differently are better
# together, and what few pictures say against it is mostly chance
BEHIND = 1.5  # standard errors that a net may be behind the best one alone
MOST_BYTES = 1 << 29  # of answers that are held at once


@dataclass(frozen=True, eq=False)
class Net:
    """A trial's net.  gate: what it answers to the gate's pictures, (n, k)."""

    source: Source
    opened: Checkpoint
    gate: np.ndarray


@dataclass(frozen=True, eq=False)
class Team:
    """Nets that answer together, the best one first, with their metrics.  tested: pictures behind `test_metrics`."""

    nets: tuple[Net, ...]
    score: float
    metrics: Mapping[str, float]
    test_metrics: Mapping[str, float]
    tested: int


def alone(net: Net) -> Team:
    info = net.opened.info
    return Team((net,), net.source.score, info["metrics"], info["test_metrics"], int(info["tested"]))


def joined(problem: Problem, nets: Sequence[Net], seconds: float, ms: float, composing: float = 0.0) -> Team:
    """The best net, or it with others whose answers mean the same.

    nets: the best one first.  seconds: that choosing and composing what was chosen may take; ms: of a picture and net, as far
    as is known; composing: seconds of a net.  Where the pictures that judge are too many for that, the best net stays alone.
    """
    best = nets[0]
    error = standard_error(problem, best.source.score)
    near = best.source.score - BEHIND * error
    others = [n for n in nets[1:CANDIDATES] if n.gate.shape == best.gate.shape and n.source.score >= near]
    valid, test = problem.folds.pairs[0][1], problem.folds.test
    rows = len(valid) + len(test)
    if not gridded(problem, best.gate.shape[1]) or rows * best.gate.shape[1] * 4 > MOST_BYTES // MOST:
        return alone(best)
    if not others or 2 * (ms * rows / 1000.0 + composing) > seconds:
        return alone(best)
    began = time.monotonic()
    total, values = _asked(problem, best, valid), best.opened.info["metrics"]
    chosen, score = [best], best.source.score
    least = score - COSTS * error
    for asked, net in enumerate(others[: MOST + 1], 1):
        spent = time.monotonic() - began
        asking = spent / asked * rows / len(valid)  # of all that a net is asked, opening and judging it included
        if spent + (asking + composing) * (len(chosen) + 1) > seconds:
            break
        more = total + _asked(problem, net, valid)
        found = _values(problem, more / (len(chosen) + 1), valid)
        now = problem.metric.to_score(found.get(problem.resolved.metric, float("nan")))
        if now >= least:
            chosen, total, score, values = [*chosen, net], more, now, found
            least = max(least, now - COSTS * error)
        if len(chosen) == MOST:
            break
    if len(chosen) == 1:
        return alone(best)
    tested: Mapping[str, float] = {}
    if len(test):
        tested = _values(problem, np.mean([_asked(problem, n, test) for n in chosen], axis=0), test)
    return Team(tuple(chosen), score, values, tested, len(test))


def standard_error(problem: Problem, score: float) -> float:
    """About, of a share that is counted by things, or by pictures where pixels are told apart."""
    valid = problem.folds.pairs[0][1]
    counted = len(valid)
    if problem.resolved.kind == "detection":
        counted = sum(int((~t.ignored).sum()) for t in problem.y[valid])
    share = min(max(score, 0.05), 0.95)
    return float(np.sqrt(share * (1.0 - share) / max(1, counted)))


def gridded(problem: Problem, width: int) -> bool:
    """Whether answers of so many numbers are of the same places for every net."""
    if problem.resolved.kind != "detection":
        return True
    side = int(problem.resolved.options["side"])
    grids = {sum((s // stride) ** 2 for stride in STRIDES) for s in (side, side // 2)}
    return width / (4 + len(problem.classes)) in grids


def mean_graph(graphs: Sequence[Graph]) -> Graph:
    """The mean of what the graphs answer."""
    if len(graphs) == 1:
        return graphs[0]
    scope = Scope()
    answers = [scope.include(g) for g in graphs]
    return dedupe(scope.graph(scope.add("Mean", *answers)))


def _asked(problem: Problem, net: Net, rows: np.ndarray) -> np.ndarray:
    """What its graph answers to the problem's rows, float32 (n, k)."""
    types = {n: ColumnType(problem.features.types[n]) for n in problem.features.names}
    graph = net.opened.graph
    scope = Scope()
    answer = scope.include(graph)
    one = Delivered(scope.graph(answer), {"answer": answer}, problem.classes, {"answer": ("float32", ("N", "K"))})
    onnx, names = model_bytes(one, types, {"producer": "assay"}, problem.fronts)
    session = session_of(onnx)
    parts: list[Any] = []
    for i in range(0, len(rows), CHUNK):
        part: Table = problem.features.take(rows[i : i + CHUNK])
        parts.append(session.run([names["answer"]], raw_feeds(part, problem.fronts))[0])
    return np.concatenate(parts)


def _values(problem: Problem, answers: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    side, classes = int(problem.resolved.options["side"]), len(problem.classes)
    found: list[Any] = []
    for i in range(0, len(answers), CHUNK):
        found += decoded(answers[i : i + CHUNK], classes, side, problem.resolved.kind)
    truth: Any = list(problem.y[rows])
    return all_values(problem.resolved.kind, truth, found)  # type: ignore[arg-type]

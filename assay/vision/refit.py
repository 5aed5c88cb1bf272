"""Nets that learn from every annotated picture, beside those that a part of the pictures judged.

A trial holds pictures out to choose by, and some to test on.  Once a configuration is chosen, nets of it are trained on all
pictures, for about as many epochs as were best, and answer together with the trials' nets; scores and `test_metrics` are those
of the trials' nets (as adr/0006 has it for tables).  Annotated pictures are few and dear, and every one more makes detectors and
segmenters better.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.errors import TrialError, TrialStopped
from assay.families import Split, discover
from assay.model.compose import FoldModel
from assay.model.graph import Graph
from assay.space import build
from assay.tasks._problem import Problem
from assay.training.evaluate import WHOLE_STEPS, FitContext, whole_rows
from assay.vision.members import Net

MOST = 4  # nets that are trained on all pictures
LEAST_EPOCHS = 0.5  # of those that the trial ran: few pictures choose an early end by chance
WORTHWHILE = 0.6  # of the time that such a net takes by the trial's pace: with less it would be worse than none
THREADED = 0.6  # of a core that a thread more is worth
PACKING, KEPT = 3.0, 0.06  # seconds, and share of the seconds, that are kept for composing, replaying and packing
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Whole:
    """A net of all pictures.  gate: what it answers to the gate's pictures, (n, k)."""

    graph: Graph
    gate: np.ndarray


def wholes(problem: Problem, nets: Sequence[Net], seconds: float, threads: int, counted: bool) -> list[Whole]:
    """Up to MOST nets of all pictures, of the nets' configurations in turns, within the seconds; none where they are too few.

    counted: one net alone, whatever the clock says, so that the same request makes the same model.
    """
    able = [n for n in nets if _can(problem, n)]
    if not able:
        return []
    expected = seconds_of(problem, able[0], threads)
    until = time.monotonic() + (1.0 - KEPT) * seconds - PACKING
    left = until - time.monotonic()
    if left < WORTHWHILE * expected:
        return []
    many = 1 if counted else int(np.clip(round(left / expected), 1, MOST))
    made: list[Whole] = []
    for i in range(many):
        left = until - time.monotonic()
        net = able[i % len(able)]
        if left < WORTHWHILE * seconds_of(problem, net, threads):
            break
        whole = _trained(problem, net, i, time.monotonic() + left / (many - i), threads)
        if whole is not None and whole.gate.shape == nets[0].gate.shape:
            made.append(whole)
    return made


def seconds_of(problem: Problem, net: Net, threads: int) -> float:
    """What training on all pictures takes by the trial's pace."""
    fit: dict[str, Any] = net.opened.info["fit"]
    pace = (1.0 + THREADED * (threads - 1)) / (1.0 + THREADED * (int(fit["threads"]) - 1))
    train = problem.folds.pairs[0][0]
    return WHOLE_STEPS * _share(fit) * float(fit["seconds"]) * len(whole_rows(problem)) / max(1, len(train)) / pace


def _can(problem: Problem, net: Net) -> bool:
    if not problem.resolved.refit or "parts" in problem.resolved.options or "fit" not in net.opened.info:
        return False
    return bool(getattr(discover().get(net.source.family), "fits_all", False))


def _share(fit: dict[str, Any]) -> float:
    """Of the epochs that the trial ran, those that are trained again."""
    return float(np.clip(fit["best"] / max(1, fit["ran"]), LEAST_EPOCHS, 1.0))


def _trained(problem: Problem, net: Net, number: int, deadline: float, threads: int) -> Whole | None:
    """None when it diverges."""
    fit: dict[str, Any] = net.opened.info["fit"]
    family = discover()[net.source.family]
    config = build(family.Config, fit["config"])
    wish = family.recipe(config)
    seed = (int(fit["seed"]) * 1009 + number + 1) % (2**31 - 1)
    rows = whole_rows(problem)
    y = problem.y[rows]
    preparation, x = wish.fit(problem.features.take(rows), y, problem.target, seed=seed)
    data = Split(x, y, x[:0], y[:0], problem.target)
    context = FitContext(
        device="cpu", rng=np.random.default_rng(seed), seed=seed,
        max_steps=max(1, round(WHOLE_STEPS * _share(fit) * fit["ran"])), threads=threads, tell=lambda step, score: None,
        deadline=deadline, quiet=True,
    )  # fmt: skip
    try:
        predictor = family.fit(config, data, context)
        gate = np.asarray(predictor.predict(preparation.transform(problem.gate)), np.float32)
    except (TrialError, TrialStopped) as error:
        log.warning("a net of all pictures is not delivered: %s", error)
        return None
    if not np.isfinite(gate).all():
        return None
    return Whole(FoldModel(preparation, predictor).graph, gate)

"""The generator that is delivered learns from the rows that judged its trial, too.

A trial holds a part of the rows out; what is delivered is trained once more on all that is not kept for the test, with the
same configuration and seed and for as many steps as were best; once it was tested, and `validation.refit` allows, again
on the rows of the test as well (adr/0006).  What generators learn, every row more makes better.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from assay.errors import Memorised, TrialError, TrialStopped
from assay.families import discover
from assay.generation.blend import blend
from assay.generation.compose import Composed
from assay.generation.copying import copied
from assay.generation.evaluate import drawn, refuse_collapse, refuse_copies
from assay.generation.stage import stage_of, whole_stage
from assay.model.checkpoint import Checkpoint as Opened
from assay.space import build
from assay.tasks._problem import Problem
from assay.training.evaluate import FitContext

SHARE = 0.6  # of the seconds left that training again may be expected to take
SLACK = 1.2  # of what it took in the trial, for the rows it had not
MORE = 1.25  # times the copies of the trials: so many are luck
log = logging.getLogger(__name__)


def refit(
    problem: Problem, members: Sequence[tuple[str, Opened]], chosen: Composed, seconds: float, test: bool = False
) -> Composed | None:
    """members: families with the checkpoints of their trials.  chosen: what they draw together there.  test: the test part
    is learned from as well.  None when time is short, or when a generator diverges, collapses, or they copy more rows."""
    expected = seconds_of(problem, members, test)
    if expected > SHARE * seconds:
        return None
    began = time.monotonic()
    until = began + max(3 * expected, SHARE * seconds)
    stage = whole_stage(problem, test)
    parts = []
    try:
        for family, opened in members:
            fit: dict[str, Any] = opened.info["fit"]
            made_by = discover()[family]
            context = FitContext(
                device="cpu", rng=np.random.default_rng([fit["seed"], 0]), seed=(fit["seed"] * 1009) % (2**31 - 1),
                max_steps=int(fit["steps"]), threads=1, tell=lambda step, score: None, deadline=until, quiet=True,
            )  # fmt: skip
            data: Any = stage.data
            generator = made_by.fit(build(made_by.Config, fit["config"]), data, context)
            parts.append(stage.compose(generator, float(fit["calm"])))
        composed = blend(parts)
        # rows judged the trial whose distances to the others are those of rows: copying shows in what it trained on
        judge = stage_of(problem, 0).judge
        made = judge.made(drawn(composed, stage.n_samples(composed)), float("nan"))
        refuse_collapse(judge.real, made)
        refuse_copies(judge.real, made)
        share, are_copies = copied(stage, composed)
        if are_copies and share > MORE * copied(stage_of(problem, 0), chosen)[0]:
            raise Memorised(f"{100 * share:.1f} % of the samples are copies of rows learned from, more than before")
    except (TrialError, TrialStopped) as error:
        log.warning("what was trained on all rows is not delivered: %s", error)
        return None
    return composed


def seconds_of(problem: Problem, members: Sequence[tuple[str, Opened]], test: bool = False) -> float:
    """What training again is expected to take."""
    train, valid = problem.folds.pairs[0]
    rows = len(train) + len(valid) + (len(problem.folds.test) if test else 0)
    fits = [opened.info["fit"] for _, opened in members]
    own = max(float(f["own_seconds"]) for f in fits)
    return SLACK * rows / max(1, len(train)) * (own + sum(float(f["seconds"]) for f in fits))

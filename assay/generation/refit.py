"""The generator that is delivered learns from the rows that judged its trial, too.

A trial holds a part of the rows out; what is delivered is trained once more on all that is not kept for the test, with the
same configuration and seed and for as many steps as were best.  What generators learn, every row more makes better, and
several generators cannot be averaged into one as predictors can, which is why those are bagged instead (adr/0003).
"""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np

from assay.errors import TrialError, TrialStopped
from assay.families import discover
from assay.generation.compose import Composed
from assay.generation.evaluate import drawn, refuse_collapse, refuse_copies
from assay.generation.stage import stage_of, whole_stage
from assay.model import checkpoint
from assay.space import build
from assay.tasks._problem import Problem
from assay.training.evaluate import FitContext

SHARE = 0.6  # of the seconds left that training again may be expected to take
SLACK = 1.2  # of what it took in the trial, for the rows it had not
log = logging.getLogger(__name__)


def refit(problem: Problem, family: str, opened: checkpoint.Checkpoint, seconds: float) -> Composed | None:
    """None when time is short, or when the new generator diverges, collapses, or copies rows."""
    fit: dict[str, Any] = opened.info["fit"]
    train, valid = problem.folds.pairs[0]
    more = (len(train) + len(valid)) / max(1, len(train))
    expected = SLACK * more * float(fit["seconds"])
    if expected > SHARE * seconds:
        return None
    stage = whole_stage(problem)
    made_by = discover()[family]
    began = time.monotonic()
    context = FitContext(
        device="cpu", rng=np.random.default_rng([fit["seed"], 0]), seed=(fit["seed"] * 1009) % (2**31 - 1),
        max_steps=int(fit["steps"]), threads=1, tell=lambda step, score: None,
        deadline=began + max(3 * expected, SHARE * seconds), quiet=True,
    )  # fmt: skip
    try:
        data: Any = stage.data
        composed = stage.compose(made_by.fit(build(made_by.Config, fit["config"]), data, context))
        # rows judged the trial whose distances to the others are those of rows: copying shows in what it trained on
        judge = stage_of(problem, 0).judge
        made = judge.made(drawn(composed, stage.n_samples(composed)), float("nan"))
        refuse_collapse(judge.real, made)
        refuse_copies(judge.real, made)
    except (TrialError, TrialStopped) as error:
        log.warning("the generator trained on all rows is not delivered: %s", error)
        return None
    return composed

"""Local moves around a family's best configuration, with a step that adapts to success.

After Wu, Wang, Huang: Frugal optimization for cost-related hyperparameters (CFO), AAAI 2021.  Changed: one or two
dimensions move at a time, which suits choices and conditions, and the step follows the one-fifth rule of evolution
strategies.  The step is replayed from the trials; nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from assay.search.trial import Trial
from assay.space import Space, Values

FIRST_STEP, LEAST_STEP, LARGEST_STEP = 0.2, 0.02, 0.3  # standard deviation on the unit scale of a dimension
GROW = 1.4
SHRINK = GROW**-0.25  # one success in five keeps the step


@dataclass(frozen=True)
class Position:
    """Where a family's walk stands: its best trial (None: none completed) and the size of the next step."""

    best: Trial | None
    step: float


def position(trials: Iterable[Trial]) -> Position:
    """Replay one family's trials, sorted by number."""
    best: Trial | None = None
    step = FIRST_STEP
    for trial in trials:
        if not trial.ended:
            continue
        scored = trial.score is not None and np.isfinite(trial.score)
        if scored and (best is None or best.score is None or trial.score > best.score):  # type: ignore[operator]
            step = FIRST_STEP if best is None else min(LARGEST_STEP, step * GROW)
            best = trial
        elif best is not None:
            step *= SHRINK
        if step < LEAST_STEP:
            step = FIRST_STEP  # converged: look around more widely again
    return Position(best, step)


def move(space: Space, around: Values, step: float, rng: np.random.Generator, attempt: int = 0) -> Values:
    """A neighbour; a later attempt steps farther."""
    return space.neighbours(around, rng, 1, scale=min(1.0, step * 1.5**attempt))[0]

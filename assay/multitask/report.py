"""What is told of each target: its usual metrics, under `<target>:<metric>`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from assay.metrics import METRICS, all_values
from assay.metrics.multitask import skills
from assay.multitask.targets import KIND, Truth, spans
from assay.multitask.texts import RANKING, TextTarget, ranked

if TYPE_CHECKING:
    from assay.tasks._problem import Problem


def values(
    truth: Truth,
    prediction: np.ndarray,
    weight: np.ndarray | None,
    groups: Mapping[int, np.ndarray] | None = None,
    kind: str = KIND,
) -> dict[str, float]:
    """The metrics of the whole by name, then of every target by `<target>:<metric>`, its skill among them.

    groups: of targets that rank, the question of every row; see `assay.multitask.texts.ranked`.
    """
    found = all_values(kind, truth, prediction, weight)
    told = skills(truth, prediction, weight)
    for i, (target, span) in enumerate(zip(truth.targets, spans(truth.targets), strict=True)):
        rows, y = truth.column(i)
        if not len(rows):
            continue
        if np.isfinite(told[i]):
            found[f"{target.name}:skill"] = float(told[i])
        own = all_values(target.kind, y, prediction[rows, span], None if weight is None else weight[rows])
        if groups is not None and i in groups:
            own = own | ranked(y, prediction[rows, span][:, 1], groups[i][rows])
        found |= {f"{target.name}:{name}": value for name, value in own.items()}
    return found


def questions(problem: Problem, rows: np.ndarray) -> dict[int, np.ndarray]:
    """Of every target that ranks candidates, the question of these rows: equal numbers for equal first texts."""
    if not isinstance(problem.target, TextTarget):
        return {}
    found = {}
    for i, reads in enumerate(problem.target.reads):
        if reads.way == RANKING:
            found[i] = problem.features.words(problem.features.names[reads.columns[0]]).codes[rows]
    return found


def is_known(metric: str) -> bool:
    """Whether a metric is one of several targets."""
    return metric in METRICS and KIND in METRICS[metric].kinds

"""What is told of each target: its usual metrics, under `<target>:<metric>`."""

from __future__ import annotations

import numpy as np

from assay.metrics import METRICS, all_values
from assay.metrics.multitask import skills
from assay.multitask.targets import KIND, Truth, spans


def values(truth: Truth, prediction: np.ndarray, weight: np.ndarray | None) -> dict[str, float]:
    """The metrics of the whole by name, then of every target by `<target>:<metric>`, its skill among them."""
    found = all_values(KIND, truth, prediction, weight)
    told = skills(truth, prediction, weight)
    for i, (target, span) in enumerate(zip(truth.targets, spans(truth.targets), strict=True)):
        rows, y = truth.column(i)
        if not len(rows):
            continue
        if np.isfinite(told[i]):
            found[f"{target.name}:skill"] = float(told[i])
        own = all_values(target.kind, y, prediction[rows, span], None if weight is None else weight[rows])
        found |= {f"{target.name}:{name}": value for name, value in own.items()}
    return found


def is_known(metric: str) -> bool:
    """Whether a metric is one of several targets."""
    return metric in METRICS and KIND in METRICS[metric].kinds

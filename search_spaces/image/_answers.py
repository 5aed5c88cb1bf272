"""The score that families for pictures report: the job's own metric on the validation rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from assay.families import Split
from assay.metrics import METRICS


def scorer(data: Split) -> Callable[[np.ndarray], float]:
    """Higher is better; the negative log-loss where the job's metric is undefined on these rows."""
    metric = METRICS.get(data.target.metric) or METRICS["log_loss"]

    def score(p: np.ndarray) -> float:
        if not len(data.y_valid):
            return 0.0
        value = metric.score(data.y_valid, np.asarray(p, np.float64), data.weight_valid)
        return value if np.isfinite(value) else METRICS["log_loss"].score(data.y_valid, np.asarray(p, np.float64), None)

    return score

"""Which values of a series made its forecast: what changes when one of them is not known.

Occlusion as in `assay.model.explain`, over the last values of the window: a value that is not known lies on the line
between its neighbours, as gaps in a history do, and a column that is known ahead stays at its mean.  Models with a
member that attends say where, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from assay.data.table import Table
from assay.forecasting.compose import ATTENTION
from assay.forecasting.serve import Situation, situation
from assay.forecasting.stamps import Calendar
from assay.model.explain import Attended, Explanation

MOST_STEPS = 60  # of a window that are explained
OUTPUT = "mean of the forecast"
Run = Callable[[list[str], dict[str, np.ndarray]], list[np.ndarray]]


def explain(table: Table, facts: Mapping[str, Any], attends: bool, run: Run) -> list[Explanation]:
    """One for every series: its name as `value`, contributions and attention by stamp.

    run(outputs, inputs) answers the graph's outputs.  base: the answer for a series that kept the mean of its window.
    """
    now = situation(table, facts)
    return [_one(now, i, facts, attends, run) for i in range(len(now.names))]


def _one(now: Situation, i: int, facts: Mapping[str, Any], attends: bool, run: Run) -> Explanation:
    x = now.windows[i]
    width = len(x)
    k = min(width, MOST_STEPS)
    columns = [] if now.known is None else list(facts["layout"]["known"])
    n = k + 2 + len(columns)
    windows = np.repeat(x[None], n, axis=0)
    for row in range(k):
        at = width - k + row
        left, right = x[max(0, at - 1)], x[min(width - 1, at + 1)]
        windows[row, at] = right if at == 0 else left if at == width - 1 else (left + right) / 2
    windows[k + 1] = x.mean()
    inputs = {"series": np.full(n, now.codes[i]), "window": windows}
    if now.known is not None:
        inputs["known"] = np.repeat(now.known[i : i + 1], n, axis=0)
        for j in range(len(columns)):  # a horizon like the mean of the past
            inputs["known"][k + 2 + j, width:, j] = now.known[i, :width, j].mean()
    value = run(["value"], inputs)[0].astype(np.float64).mean(1)
    stamps = Calendar.from_json(facts["calendar"]).texts(np.arange(now.starts[i] - width, now.starts[i]))
    told = {str(s): float(value[k] - v) for s, v in zip(stamps[width - k :], value[:k], strict=True)}
    told |= {f"{c} ahead": float(value[k] - v) for c, v in zip(columns, value[k + 2 :], strict=True)}
    attention = None
    if attends:
        weights = run([ATTENTION], now.inputs(slice(i, i + 1)))[0][0]
        attention = {"steps": [Attended(str(s), float(w)) for s, w in zip(stamps, weights, strict=True) if w > 0]}
    return Explanation(now.names[i], OUTPUT, float(value[k + 1]), told, attention)

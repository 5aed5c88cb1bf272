"""A toy panel to forecast: lines with a season and noise."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from assay.families import Split, Target
from assay.forecasting.panel import window
from assay.forecasting.problem import Past
from assay.testing.toy import Toy, register

SEASON, HORIZON, WIDTH = 6, 6, 36


def toy_series(n: int = 96, seed: int = 0) -> np.ndarray:
    """A positive series with a line, a season of six, and noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    return np.asarray(40 + 0.2 * t + (8 + seed % 3) * np.sin(2 * np.pi * t / SEASON + seed) + rng.normal(size=n))


@cache
def toy_past(n_series: int = 3) -> Past:
    series = [toy_series(seed=s) for s in range(n_series)]
    cut = len(series[0]) - 4 * HORIZON

    def inputs(ends: list[tuple[int, int]]) -> np.ndarray:
        rows = [[code, *window(series[code][:end], WIDTH, SEASON)] for code, end in ends]
        return np.array(rows, np.float32)

    def future(ends: list[tuple[int, int]]) -> np.ndarray:
        return np.array([series[code][end : end + HORIZON] for code, end in ends])

    seen = [(code, cut - HORIZON) for code in range(n_series)]
    ahead = [(code, cut + j) for code in range(n_series) for j in range(3 * HORIZON)]
    return Past(
        x=inputs(seen), y=future(seen), x_valid=inputs(ahead), y_valid=future(ahead),
        target=Target("forecasting", metric="mase", n_targets=HORIZON), histories=tuple(s[:cut] for s in series),
        horizon=HORIZON, season=SEASON,
    )  # fmt: skip


def _split(recipe: Any) -> Split:
    return toy_past()


def absolute_error(split: Split, prediction: np.ndarray) -> float:
    return float(np.abs(prediction - split.y_valid).mean())


def last_mean(split: Split) -> np.ndarray:
    """The mean of the window, for every step."""
    return np.repeat(split.x_valid[:, 1:].mean(1, keepdims=True), HORIZON, axis=1)


register("forecasting", lambda: Toy("series", _split, absolute_error, last_mean))

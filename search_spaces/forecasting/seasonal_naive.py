"""Seasonal naive: the value one season ago; the yardstick of every other forecast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.families import Cost, Predictor, Shape, TrialContext
from assay.forecasting.problem import Past
from assay.space import Choice
from search_spaces.forecasting._maps import Maps, Wish, probe


@dataclass(frozen=True)
class SeasonalNaiveConfig:
    """seasons: over how many past seasons the values are averaged.  drift: the mean change of a season goes on."""

    seasons: Annotated[int, Choice(1, 2, 3)] = 1
    drift: Annotated[bool, Choice(False, True)] = False


class SeasonalNaive:
    name: ClassVar[str] = "seasonal_naive"
    tasks: ClassVar[frozenset[str]] = frozenset({"forecasting"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = SeasonalNaiveConfig
    reference: ClassVar[str] = "Hyndman, Athanasopoulos: Forecasting: Principles and Practice, 3rd edition, section 5.2"

    def recipe(self, config: SeasonalNaiveConfig) -> Wish:
        return Wish()

    def steps(self, config: SeasonalNaiveConfig) -> int:
        return 1

    def cost(self, config: SeasonalNaiveConfig, shape: Shape) -> Cost:
        return Cost(0.005, 1_000_000)

    def fit(self, config: SeasonalNaiveConfig, data: Past, ctx: TrialContext) -> Predictor:
        width, horizon = data.width, data.horizon
        m = data.season if data.season <= width else 1
        k = max(1, min(config.seasons, width // m))

        def naive(x: np.ndarray) -> np.ndarray:
            step = np.arange(horizon)
            past = np.mean([x[:, width - (j + 1) * m + step % m] for j in range(k)], axis=0)
            whole = (width // m - 1) * m
            if not config.drift or whole < m:
                return np.asarray(past)
            slope = (x[:, -1] - x[:, -1 - whole]) / whole
            return np.asarray(past + slope[:, None] * m * (step // m + (k + 1) / 2))

        return Maps([probe(naive, width)])


family = SeasonalNaive()

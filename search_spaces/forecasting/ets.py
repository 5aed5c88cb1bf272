"""ETS: exponential smoothing with trend and season, chosen by AICc for every series, on values or on logarithms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.families import Cost, Predictor, Shape, TrialContext
from assay.forecasting.problem import Past
from assay.space import Choice
from search_spaces.forecasting._maps import Map, Wish, likely, probe, reach, share
from search_spaces.forecasting._pace import Pace, expected
from search_spaces.forecasting._smoothing import Smoothing, forecasts, squares

LATEST = 800  # values the parameters are fitted on
LONGEST_SEASON = 60
DRAWN, KEPT = 24, 4  # of the random search for parameters
ROUNDS = 6
QUICK = 2  # rounds where many series leave little time for each


@dataclass(frozen=True)
class ETSConfig:
    """auto: by AICc.  A trend of logarithms is damped unless it is asked for: left alone, it grows without bound."""

    trend: Annotated[str, Choice("auto", "none", "additive", "damped")] = "auto"
    season: Annotated[str, Choice("auto", "none")] = "auto"
    scale: Annotated[str, Choice("auto", "values", "logarithms")] = "auto"


@dataclass(frozen=True, eq=False)
class _Found:
    criterion: float
    filter_: Smoothing
    is_log: bool


class ETS:
    name: ClassVar[str] = "ets"
    tasks: ClassVar[frozenset[str]] = frozenset({"forecasting"})
    lane: ClassVar[str] = "cpu"
    rank: ClassVar[int] = -1  # before cheaper families: good on any series
    trust: ClassVar[float] = 1.0
    Config: ClassVar[type] = ETSConfig
    reference: ClassVar[str] = (
        "Hyndman, Koehler, Snyder, Grose: A state space framework for automatic forecasting using exponential smoothing "
        "methods.  International Journal of Forecasting 18 (2002)"
    )

    def recipe(self, config: ETSConfig) -> Wish:
        return Wish()

    def steps(self, config: ETSConfig) -> int:
        return 1

    def cost(self, config: ETSConfig, shape: Shape) -> Cost:
        return Cost(0.02 + expected(1e-3 * shape.n_rows), 100_000_000)

    def fit(self, config: ETSConfig, data: Past, ctx: TrialContext) -> Predictor:
        maps: list[Map] = []
        pace = Pace(len(data.histories), ctx)
        found: list[_Found] = []
        for history in data.histories:
            rounds = (0, QUICK, ROUNDS)[pace.effort()]
            if not found or rounds:
                found = best(history[-LATEST:], data.season, config, ctx.rng, rounds or QUICK)
            is_log = found[0].is_log and float(history.min()) > 0
            weights = likely([f.criterion for f in found])

            def run(x: np.ndarray, kept: list[_Found] = found, weights: np.ndarray = weights) -> np.ndarray:
                parts = [
                    w * forecasts(x, f.filter_, data.horizon) for f, w in zip(kept, weights, strict=True) if w > 0.01
                ]
                return np.asarray(sum(parts) / weights[weights > 0.01].sum())

            maps.append(probe(run, data.width, is_log, reach(history, data.season)))
            pace.done()
        return share(maps)


def best(y: np.ndarray, season: int, config: ETSConfig, rng: np.random.Generator, rounds: int = ROUNDS) -> list[_Found]:
    """Models that the configuration allows, the one with the least AICc first; all on its scale."""
    seasons = [1]
    if 1 < season <= LONGEST_SEASON and len(y) >= 2 * season + 3 and config.season == "auto":
        seasons.append(season)
    trends = ("none", "additive", "damped") if config.trend == "auto" else (config.trend,)
    positive = float(y.min()) > 0
    scales = {"values": (False,), "logarithms": (positive,)}.get(config.scale, (False, True) if positive else (False,))
    found = [
        _fitted(np.log(y) if is_log else y, trend, m, is_log, float(np.log(y).sum()) if is_log else 0.0, rng, rounds)
        for is_log in scales
        for trend in trends
        for m in seasons
        if (len(y) > m + 8 or (m == 1 and trend == trends[0]))
        and not (is_log and trend == "additive" and config.trend == config.scale == "auto")
    ]
    found.sort(key=lambda f: f.criterion)
    return [f for f in found if f.is_log == found[0].is_log]


def _fitted(
    y: np.ndarray, trend: str, m: int, is_log: bool, jacobian: float, rng: np.random.Generator, rounds: int
) -> _Found:
    """Parameters of one model by a random search that narrows around the best, all draws at a time."""
    n, is_trend = len(y), trend != "none"
    fixed = np.array([[0.1, 0.1, 0.1, 0.95], [0.5, 0.05, 0.2, 0.9], [0.9, 0.02, 0.05, 0.97], [0.3, 0.3, 0.5, 0.85]])
    u = np.concatenate([fixed, rng.random((DRAWN, 4)) * [1, 1, 1, 0.18] + [0, 0, 0, 0.8]])
    kept, least = u[:0], np.empty(0)
    for round_ in range(rounds):
        loss = _sse(y, u, trend, m)
        pool, losses = np.concatenate([kept, u]), np.concatenate([least, loss])
        order = np.argsort(losses, kind="stable")[:KEPT]
        kept, least = pool[order], losses[order]
        width = 0.25 * 0.5**round_
        centre = np.repeat(kept, DRAWN // KEPT, axis=0)
        u = np.clip(
            centre + rng.normal(size=centre.shape) * width * [1, 1, 1, 0.18], [1e-3, 0, 0, 0.8], [0.9999, 1, 1, 0.98]
        )
    p = 2 + is_trend * 2 + (trend == "damped") + (m if m > 1 else 0)
    sse = max(float(least[0]), 1e-12 * float((y**2).sum()) + 1e-300)
    criterion = n * np.log(sse / n) + 2 * p + 2 * p * (p + 1) / max(1, n - p - 1) + 2 * jacobian
    return _Found(float(criterion), _filter(kept[:1], trend, m), is_log)


def _filter(u: np.ndarray, trend: str, m: int) -> Smoothing:
    """u: (B, 4) in the usual ranges: beta is a share of alpha, gamma of what alpha leaves."""
    alpha = np.clip(u[:, 0], 1e-3, 0.9999)
    phi = u[:, 3] if trend == "damped" else np.ones(len(u))
    return Smoothing(alpha, alpha * u[:, 1], (1 - alpha) * u[:, 2], phi, trend != "none", m)


def _sse(y: np.ndarray, u: np.ndarray, trend: str, m: int) -> np.ndarray:
    found = squares(y, _filter(u, trend, m))
    return np.where(np.isfinite(found), found, np.inf)


family = ETS()

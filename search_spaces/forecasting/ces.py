"""CES: complex exponential smoothing, whose one complex parameter stands for level and trend; season and form by AICc."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.families import Cost, Predictor, Shape, TrialContext
from assay.forecasting.problem import Past
from assay.space import Choice
from search_spaces.forecasting._maps import Map, Wish, likely, probe, reach, share
from search_spaces.forecasting._pace import Pace, expected

LATEST = 800  # values the parameters are fitted on
LONGEST_SEASON = 60
DRAWN, LEADERS = 24, 4  # of the population that parameters evolve in, and those it is drawn to
ROUNDS, QUICK = 20, 7  # generations; fewer where many series leave little time for each
KEPT = 0.15  # chance of a parameter to stay as it is in a generation
LEAST = np.array([0.05, 0.05, 0.0, 0.05])
MOST = np.array([1.95, 1.95, 1.95, 1.95])
POTENTIAL = 1.1  # level by potential at the start, before both are told by running back and forth
FREE = {"none": 2, "partial": 3, "full": 4}  # parameters by form


@dataclass(frozen=True)
class CESConfig:
    """season: "partial" effects are added and smoothed alone, "full" ones have a potential of their own; auto: by AICc."""

    season: Annotated[str, Choice("auto", "none", "partial", "full")] = "auto"
    scale: Annotated[str, Choice("values", "logarithms")] = "values"


@dataclass(frozen=True, eq=False)
class _Found:
    criterion: float
    form: str
    parameters: np.ndarray  # (1, 4)


class CES:
    name: ClassVar[str] = "ces"
    tasks: ClassVar[frozenset[str]] = frozenset({"forecasting"})
    lane: ClassVar[str] = "cpu"
    rank: ClassVar[int] = -1  # before cheaper families: good on any series
    trust: ClassVar[float] = 1.0
    Config: ClassVar[type] = CESConfig
    reference: ClassVar[str] = (
        "Svetunkov, Kourentzes, Ord: Complex exponential smoothing.  Naval Research Logistics 69 (2022)"
    )

    def recipe(self, config: CESConfig) -> Wish:
        return Wish()

    def steps(self, config: CESConfig) -> int:
        return 1

    def cost(self, config: CESConfig, shape: Shape) -> Cost:
        return Cost(0.02 + expected(1e-3 * shape.n_rows), 50_000_000)

    def fit(self, config: CESConfig, data: Past, ctx: TrialContext) -> Predictor:
        maps: list[Map] = []
        pace = Pace(len(data.histories), ctx)
        found: list[_Found] = []
        for history in data.histories:
            y = history[-LATEST:]
            is_log = config.scale == "logarithms" and float(y.min()) > 0
            rounds = (0, QUICK, ROUNDS)[pace.effort()]
            if not found or rounds:
                found = best(np.log(y) if is_log else y, data.season, config, ctx.rng, rounds or QUICK)
            weights = likely([f.criterion for f in found])

            def filter_(x: np.ndarray, kept: list[_Found] = found, weights: np.ndarray = weights) -> np.ndarray:
                parts = [
                    w * run(x, np.repeat(f.parameters, len(x), axis=0), f.form, data.season, data.horizon)[1]
                    for f, w in zip(kept, weights, strict=True)
                    if w > 0.01
                ]
                return np.asarray(sum(parts) / weights[weights > 0.01].sum())

            maps.append(probe(filter_, data.width, is_log, reach(history, data.season)))
            pace.done()
        return share(maps)


def best(y: np.ndarray, season: int, config: CESConfig, rng: np.random.Generator, rounds: int = ROUNDS) -> list[_Found]:
    """Models that the configuration allows, the one with the least AICc first."""
    is_long = 1 < season <= LONGEST_SEASON and len(y) >= 2 * season + 5
    forms = ("none", "partial", "full") if config.season == "auto" else (config.season,)
    found = [_fitted(y, form, season, rng, rounds) for form in (forms if is_long else ("none",))]
    return sorted(found, key=lambda f: f.criterion)


def _fitted(y: np.ndarray, form: str, season: int, rng: np.random.Generator, rounds: int) -> _Found:
    """Parameters of one form by differential evolution, all of a generation at a time.

    The valley is narrow where the potential's parameter is near 1 (a trend that neither dies nor explodes), so steps are
    differences between members of the population, drawn to its best ones.
    """
    n, free = len(y), FREE[form]
    most = MOST.copy()
    if form == "partial":
        most[2] = 1.0
    u = np.empty((DRAWN, 4))
    for i in (0, 2):
        u[:, i] = rng.uniform(0.1, most[i], DRAWN)
        u[:, i + 1] = 1 + 0.3 * rng.normal(size=DRAWN) * rng.random(DRAWN) ** 2
    u[:3] = [[1.3, 1.0, 0.1, 1.0], [1.3, 1.0, 1.3, 1.0], [1.8, 1.0, 0.3, 1.0]]
    u = np.clip(u, LEAST, most)

    def loss(u: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            found = (run(np.broadcast_to(y, (len(u), n)), u, form, season, 1)[0] ** 2).sum(1)
        return np.where(np.isfinite(found), found, np.inf)

    losses = loss(u)
    for _ in range(rounds):
        leaders = u[np.argsort(losses, kind="stable")[:LEADERS]][rng.integers(0, LEADERS, DRAWN)]
        a, b = rng.integers(0, DRAWN, (2, DRAWN))
        step = rng.uniform(0.3, 0.9, (DRAWN, 1))
        moved = np.clip(u + step * (leaders - u) + step * (u[a] - u[b]), LEAST, most)
        moved = np.where(rng.random(u.shape) < KEPT, u, moved)
        found = loss(moved)
        is_better = found < losses
        u[is_better], losses[is_better] = moved[is_better], found[is_better]
    first, p = int(np.argmin(losses)), free + 1
    sse = max(float(losses[first]), 1e-12 * float((y**2).sum()) + 1e-300)
    criterion = n * np.log(sse / n) + 2 * p + 2 * p * (p + 1) / max(1, n - p - 1)
    return _Found(float(criterion), form, u[first : first + 1])


def run(y: np.ndarray, u: np.ndarray, form: str, season: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """(errors one step ahead (B, n), forecasts (B, horizon)) of series y (B, n).  u: (B, 4), real and imaginary part of the
    parameters of the level and of the season.  Linear in y.

    Where the filter starts is told by running it over the series forth and back first; real numbers only, the imaginary
    part of the state being the "potential".
    """
    batch, n = y.shape
    values = np.ascontiguousarray(y.T, dtype=np.float64)
    a0, a1, b0, b1 = u.T
    keep_level, keep_potential, to_level, to_potential = 1 - a1, 1 - a0, a0 - a1, a0 + a1
    keep_effect, keep_hidden, to_effect, to_hidden = 1 - b1, 1 - b0, b0 - b1, b0 + b1
    m = season if form != "none" and n >= season else 1
    level = values[: min(n, max(10, m) if m == 1 else m)].mean(0)
    potential = level / POTENTIAL
    effects = hidden = np.zeros((m, batch))
    if m > 1:
        cycles = values[: max(1, min(3, n // m)) * m].reshape(-1, m, batch)
        effects = (cycles - cycles.mean(1, keepdims=True)).mean(0)
        hidden = effects / POTENTIAL
    errors = np.empty((n, batch))
    for order in (range(n), range(n - 1, -1, -1), range(n)):
        for t in order:
            e = values[t] - level
            if m > 1:
                i = t % m
                effect = effects[i]
                e -= effect
                if form == "full":
                    effects[i], hidden[i] = (
                        effect - keep_effect * hidden[i] + to_effect * e,
                        effect + keep_hidden * hidden[i] + to_hidden * e,
                    )
                else:
                    effects[i] = effect + b0 * e
            errors[t] = e
            level, potential = (
                level - keep_level * potential + to_level * e,
                level + keep_potential * potential + to_potential * e,
            )
    ahead = np.empty((horizon, batch))
    for t in range(n, n + horizon):
        i = t % m
        ahead[t - n] = level + effects[i]
        if form == "full":
            effects[i], hidden[i] = effects[i] - keep_effect * hidden[i], effects[i] + keep_hidden * hidden[i]
        level, potential = level - keep_level * potential, level + keep_potential * potential
    return errors.T, ahead.T


family = CES()

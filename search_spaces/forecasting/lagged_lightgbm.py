"""LightGBM over lagged values: one model for all series and steps, which forecasts the change to the season before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.families import Cost, Predictor, Shape, TrialContext
from assay.forecasting.problem import Past
from assay.model.graph import Graph, Scope
from assay.model.lightgbm import parse
from assay.model.trees import Forest, add_forest
from assay.space import Choice, Float, Int
from search_spaces.forecasting._maps import Wish
from search_spaces.forecasting._windows import Frame, cut, fitting_width

RECENT = 12  # last values every step sees
MOST_ROWS = 60_000  # windows times steps


@dataclass(frozen=True)
class LaggedLightGBMConfig:
    seasons: Annotated[int, Int(1, 4)] = 2
    learning_rate: Annotated[float, Float(0.01, 0.2, log=True)] = 0.05
    rounds: Annotated[int, Int(30, 400, log=True)] = 120
    num_leaves: Annotated[int, Int(4, 64, log=True)] = 15
    min_child_samples: Annotated[int, Int(2, 60, log=True)] = 20
    feature_fraction: Annotated[float, Float(0.4, 1.0)] = 0.7
    objective: Annotated[str, Choice("l1", "l2")] = "l1"


@dataclass(frozen=True, eq=False)
class StepFeatures:
    """For every step: the recent values, those at the same place of past seasons and beside it, means, and the step."""

    frame: Frame
    seasons: int

    def columns(self) -> np.ndarray:
        """int64 (horizon, k): positions in the window."""
        f = self.frame
        m, w = f.season, f.width
        rows = []
        for h in range(f.horizon):
            at = list(range(w - min(RECENT, w), w))
            for s in range(1, self.seasons + 1):
                place = w - s * m + h % m
                at += [min(w - 1, max(0, place + o)) for o in (-1, 0, 1)]
            rows.append(at)
        return np.array(rows, np.int64)

    def means(self) -> np.ndarray:
        """float64 (width, 3): averages of the last third of a season, the last season, and the whole window."""
        f = self.frame
        m = f.season if f.season > 1 else min(12, f.width)
        out = np.zeros((f.width, 3))
        for j, k in enumerate((max(2, m // 3), m, f.width)):
            out[-k:, j] = 1.0 / min(k, f.width)
        return out

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """z: (n, width) scaled -> float32 (n * horizon, k + 4)."""
        at, h = self.columns(), self.frame.horizon
        picked = z[:, at.ravel()].reshape(len(z), h, -1)
        means = np.repeat((z @ self.means())[:, None], h, axis=1)
        step = np.broadcast_to(np.arange(h, dtype=float)[None, :, None], (len(z), h, 1))
        return np.concatenate([picked, means, step], axis=2).reshape(len(z) * h, -1).astype(np.float32)

    def emit(self, scope: Scope, z: str) -> str:
        at, h = self.columns(), self.frame.horizon
        picked = scope.add("Gather", z, scope.const(at), axis=1)  # [N, h, k]
        means = scope.add("MatMul", z, scope.const(self.means().astype(np.float32)))
        means = scope.add("Unsqueeze", means, scope.const([1]))
        zero = scope.add("Slice", picked, scope.const([0]), scope.const([1]), scope.const([2]))
        zero = scope.add("Mul", zero, scope.const(np.float32(0)))  # [N, h, 1]
        step = scope.add("Add", zero, scope.const(np.arange(h, dtype=np.float32)[None, :, None]))
        rows = scope.add("Concat", picked, scope.add("Add", means, zero), step, axis=2)
        return scope.add("Reshape", rows, scope.const([-1, at.shape[1] + 4]))


@dataclass(frozen=True, eq=False)
class Boosted:
    features: StepFeatures
    booster: Any
    forest: Forest
    whole: int
    threads: int

    def predict(self, x: np.ndarray) -> np.ndarray:
        frame = self.features.frame
        values = frame.last(x)
        # scaled in float32 as the graph does, or values near a threshold go another way
        z = frame.inputs(values).astype(np.float32).astype(np.float64)
        raw = np.asarray(self.booster.predict(self.features(z), num_threads=self.threads))
        return frame.undo(values, raw.reshape(len(x), frame.horizon))

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        frame = self.features.frame
        z, level, scale = frame.emit(scope, x, self.whole)
        raw = add_forest(scope, self.forest, self.features.emit(scope, z))
        raw = scope.add("Reshape", raw, scope.const([-1, frame.horizon]))
        return scope.graph(scope.add("Add", scope.add("Mul", raw, scale), level))


class LaggedLightGBM:
    name: ClassVar[str] = "lagged_lightgbm"
    tasks: ClassVar[frozenset[str]] = frozenset({"forecasting"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = LaggedLightGBMConfig
    reference: ClassVar[str] = (
        "Ke et al.: LightGBM, NIPS 2017; lagged features and pooled series as in Makridakis, Spiliotis, Assimakopoulos: "
        "The M5 accuracy competition.  International Journal of Forecasting 38 (2022)"
    )

    def recipe(self, config: LaggedLightGBMConfig) -> Wish:
        return Wish()

    def steps(self, config: LaggedLightGBMConfig) -> int:
        return 1

    def cost(self, config: LaggedLightGBMConfig, shape: Shape) -> Cost:
        rows = min(MOST_ROWS, shape.n_rows * max(1, shape.n_features))
        return Cost(0.1 + 2e-8 * config.rounds * rows * np.log2(config.num_leaves), 50_000_000 + 200 * rows)

    def fit(self, config: LaggedLightGBMConfig, data: Past, ctx: TrialContext) -> Predictor:
        import lightgbm

        m = data.season
        width = fitting_width(data, max(config.seasons * m + 1, 16) if m > 1 else 24)
        season = m if 1 < m < width else 1
        frame = Frame(width, season, data.horizon, "season" if season > 1 else "last")
        features = StepFeatures(frame, max(1, min(config.seasons, width // season)))
        x, y = cut(data, width, ctx.rng)
        if len(x) * data.horizon > MOST_ROWS:
            kept = np.sort(ctx.rng.permutation(len(x))[: max(1, MOST_ROWS // data.horizon)])
            x, y = x[kept], y[kept]
        table = features(frame.inputs(x))
        settings = {
            "objective": config.objective, "learning_rate": config.learning_rate, "num_leaves": config.num_leaves,
            "min_child_samples": max(1, min(config.min_child_samples, len(table) // 6)), "seed": ctx.seed, "verbosity": -1,
            "feature_fraction": config.feature_fraction, "bagging_fraction": 0.8, "bagging_freq": 1, "deterministic": True,
            "force_row_wise": True, "num_threads": ctx.threads,
        }  # fmt: skip
        train = lightgbm.Dataset(table, frame.targets(x, y).ravel(), params=settings)
        booster = lightgbm.Booster(settings, train)
        for _ in range(config.rounds):
            if booster.update() or ctx.seconds_left() < 0.05:
                break
        return Boosted(features, booster, parse(booster.model_to_string(), 1), data.x.shape[1], ctx.threads)


family = LaggedLightGBM()

"""A linear map from the last values to all steps at once, one for all series, by ridge regression on scaled windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.families import Cost, Predictor, Shape, TrialContext
from assay.forecasting.problem import Past
from assay.model.graph import Graph, Scope
from assay.space import Choice, Float
from search_spaces.forecasting._maps import Wish
from search_spaces.forecasting._windows import Frame, cut, fitting_width


@dataclass(frozen=True)
class LaggedLinearConfig:
    """lags: of the window, in seasons (of 12 values where there is none).  penalty: of the ridge, a share of the windows."""

    lags: Annotated[float, Float(1.0, 5.0)] = 2.2
    penalty: Annotated[float, Float(1e-4, 1.0, log=True)] = 0.02
    level: Annotated[str, Choice("last", "mean", "season")] = "season"


@dataclass(frozen=True, eq=False)
class LinearWindows:
    """A fitted map.  whole: columns of x, the code of the series among them."""

    frame: Frame
    coefficients: np.ndarray  # (width, horizon)
    intercept: np.ndarray  # (horizon,)
    whole: int

    def predict(self, x: np.ndarray) -> np.ndarray:
        values = self.frame.last(x)
        return self.frame.undo(values, self.frame.inputs(values) @ self.coefficients + self.intercept)

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        inputs, level, scale = self.frame.emit(scope, x, self.whole)
        z = scope.add(
            "Gemm",
            inputs,
            scope.const(self.coefficients.astype(np.float32)),
            scope.const(self.intercept.astype(np.float32)),
        )
        return scope.graph(scope.add("Add", scope.add("Mul", z, scale), level))


class LaggedLinear:
    name: ClassVar[str] = "lagged_linear"
    tasks: ClassVar[frozenset[str]] = frozenset({"forecasting"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = LaggedLinearConfig
    reference: ClassVar[str] = (
        "Hoerl, Kennard: Ridge regression, Technometrics 12 (1970); direct steps as in Zeng, Chen, Zhang, Xu: Are "
        "Transformers Effective for Time Series Forecasting?  AAAI 2023"
    )

    def recipe(self, config: LaggedLinearConfig) -> Wish:
        return Wish()

    def steps(self, config: LaggedLinearConfig) -> int:
        return 1

    def cost(self, config: LaggedLinearConfig, shape: Shape) -> Cost:
        return Cost(0.02 + 2e-6 * shape.n_rows, 30_000_000 + 400 * shape.n_rows)

    def fit(self, config: LaggedLinearConfig, data: Past, ctx: TrialContext) -> Predictor:
        unit = data.season if data.season > 1 else 12
        width = fitting_width(data, max(unit + 1, int(config.lags * unit)))
        has_season = 1 < data.season < width
        level = config.level if has_season or config.level != "season" else "last"
        frame = Frame(width, data.season if has_season else 1, data.horizon, level)
        x, y = cut(data, width, ctx.rng)
        inputs, targets = frame.inputs(x), frame.targets(x, y)
        size = np.sqrt((inputs**2).mean(1, keepdims=True)) + 1.0  # quiet windows must not drown in wild ones
        inputs, targets = inputs / size, targets / size
        mean_x, mean_y = inputs.mean(0), targets.mean(0)
        gram = (inputs - mean_x).T @ (inputs - mean_x)
        gram[np.diag_indices(width)] += config.penalty * len(x) + 1e-6
        coefficients = np.linalg.solve(gram, (inputs - mean_x).T @ (targets - mean_y))
        return LinearWindows(frame, coefficients, mean_y - mean_x @ coefficients, data.x.shape[1])


family = LaggedLinear()

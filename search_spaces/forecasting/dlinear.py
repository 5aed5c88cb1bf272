"""DLinear: a moving average and what it leaves, each through a linear map to all steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, TrialContext
from assay.forecasting.problem import Past
from assay.space import Float
from search_spaces.forecasting._maps import Wish
from search_spaces.forecasting._nets import LEAST_VALUES, UPDATES, Training, fit_windows


@dataclass(frozen=True)
class DLinearConfig(Training):
    """kernel: of the moving average, in seasons (of 12 values where there is none)."""

    kernel: Annotated[float, Float(0.3, 3.0)] = 1.0


class DLinear:
    name: ClassVar[str] = "dlinear"
    tasks: ClassVar[frozenset[str]] = frozenset({"forecasting"})
    lane: ClassVar[str] = "cpu"
    least_values: ClassVar[int] = LEAST_VALUES
    Config: ClassVar[type] = DLinearConfig
    reference: ClassVar[str] = (
        "Zeng, Chen, Zhang, Xu: Are Transformers Effective for Time Series Forecasting?  AAAI 2023"
    )

    def recipe(self, config: DLinearConfig) -> Wish:
        return Wish()

    def steps(self, config: DLinearConfig) -> int:
        return config.rounds

    def cost(self, config: DLinearConfig, shape: Shape) -> Cost:
        seconds = 1.5e-3 * (1 + config.batch_size / 256)
        return Cost(0.4 + config.rounds * UPDATES * seconds, 100_000_000 + 400 * shape.n_rows)

    def fit(self, config: DLinearConfig, data: Past, ctx: TrialContext) -> Predictor:
        from assay.nn.forecasters import Decomposed

        unit = data.season if data.season > 1 else 12
        return fit_windows(
            config, data, ctx, lambda f: Decomposed(f.width, f.horizon, max(3, round(config.kernel * unit)))
        )


family = DLinear()

"""N-HiTS: each block looks at the past at its own resolution, and forecasts as coarsely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, TrialContext
from assay.forecasting.problem import Past
from assay.space import Choice, Float, Int
from search_spaces.forecasting._maps import Wish
from search_spaces.forecasting._nets import LEAST_VALUES, UPDATES, Training, fit_windows
from search_spaces.forecasting._windows import Frame


@dataclass(frozen=True)
class NHitsConfig(Training):
    """coarsest: neighbours averaged by the first block, a share of the season (of the horizon where there is none)."""

    stacks: Annotated[int, Int(2, 4)] = 3
    coarsest: Annotated[float, Float(0.1, 1.0)] = 0.5
    hidden: Annotated[int, Choice(32, 64, 128, 256)] = 64
    layers: Annotated[int, Int(1, 3)] = 2


class NHits:
    name: ClassVar[str] = "nhits"
    tasks: ClassVar[frozenset[str]] = frozenset({"forecasting"})
    lane: ClassVar[str] = "cpu"
    least_values: ClassVar[int] = LEAST_VALUES
    Config: ClassVar[type] = NHitsConfig
    reference: ClassVar[str] = (
        "Challu, Olivares, Oreshkin, Garza, Mergenthaler-Canseco, Dubrawski: N-HiTS: Neural Hierarchical Interpolation for "
        "Time Series Forecasting.  AAAI 2023"
    )

    def recipe(self, config: NHitsConfig) -> Wish:
        return Wish()

    def steps(self, config: NHitsConfig) -> int:
        return config.rounds

    def cost(self, config: NHitsConfig, shape: Shape) -> Cost:
        seconds = 3e-4 * config.stacks * config.layers * (1 + config.batch_size * config.hidden / 16_000)
        return Cost(0.4 + config.rounds * UPDATES * seconds, 100_000_000 + 400 * shape.n_rows)

    def fit(self, config: NHitsConfig, data: Past, ctx: TrialContext) -> Predictor:
        from assay.nn.forecasters import BasisNet, knots

        def make(frame: Frame) -> BasisNet:
            w, h = frame.width, frame.horizon
            most = max(1.0, config.coarsest * (data.season if data.season > 1 else h))
            pools = [max(1, round(most ** (1 - i / (config.stacks - 1)))) for i in range(config.stacks)]
            return BasisNet([knots(w, h, p, p) for p in pools], config.hidden, config.layers, config.dropout)

        return fit_windows(config, data, ctx, make)


family = NHits()

"""N-BEATS: blocks that explain the past and forecast from it, with curves one can read or lines between all steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, TrialContext
from assay.forecasting.problem import Past
from assay.space import Choice, Int
from search_spaces.forecasting._maps import Wish
from search_spaces.forecasting._nets import LEAST_VALUES, UPDATES, Training, fit_windows
from search_spaces.forecasting._windows import Frame


@dataclass(frozen=True)
class NBeatsConfig(Training):
    """kind: "interpretable" has a stack of polynomials and one of harmonics of the season, "generic" learns its curves."""

    kind: Annotated[str, Choice("interpretable", "generic")] = "interpretable"
    blocks: Annotated[int, Int(1, 3)] = 2
    hidden: Annotated[int, Choice(32, 64, 128, 256)] = 64
    layers: Annotated[int, Int(1, 4)] = 2


class NBeats:
    name: ClassVar[str] = "nbeats"
    tasks: ClassVar[frozenset[str]] = frozenset({"forecasting"})
    lane: ClassVar[str] = "cpu"
    least_values: ClassVar[int] = LEAST_VALUES
    Config: ClassVar[type] = NBeatsConfig
    reference: ClassVar[str] = (
        "Oreshkin, Carpov, Chapados, Bengio: N-BEATS: Neural basis expansion analysis for interpretable time series "
        "forecasting.  ICLR 2020"
    )

    def recipe(self, config: NBeatsConfig) -> Wish:
        return Wish()

    def steps(self, config: NBeatsConfig) -> int:
        return config.rounds

    def cost(self, config: NBeatsConfig, shape: Shape) -> Cost:
        seconds = 4e-4 * config.blocks * config.layers * (1 + config.batch_size * config.hidden / 16_000)
        return Cost(0.4 + config.rounds * UPDATES * seconds, 100_000_000 + 400 * shape.n_rows)

    def fit(self, config: NBeatsConfig, data: Past, ctx: TrialContext) -> Predictor:
        from assay.nn.forecasters import BasisNet, knots, polynomials, waves

        def make(frame: Frame) -> BasisNet:
            w, h = frame.width, frame.horizon
            stacks = (
                [polynomials(w, h), waves(w, h, data.season)] if config.kind == "interpretable" else [knots(w, h, 1, 1)]
            )
            return BasisNet(
                [b for b in stacks for _ in range(config.blocks)], config.hidden, config.layers, config.dropout
            )

        return fit_windows(config, data, ctx, make)


family = NBeats()

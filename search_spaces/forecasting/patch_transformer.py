"""Self-attention over patches of the window (PatchTST), whose weights can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, TrialContext
from assay.forecasting.problem import Past
from assay.space import Choice, Float, Int, When
from search_spaces.forecasting._maps import Wish
from search_spaces.forecasting._nets import ADAPTIVE, LEAST_VALUES, UPDATES, Training, fit_windows


@dataclass(frozen=True)
class PatchTransformerConfig(Training):
    """d: width, d / 16 heads.  patch: steps that are read as one, a share of the season (of 12 values where there is none)."""

    learning_rate: Annotated[float, Float(1e-4, 5e-3, log=True), When("optimizer", *ADAPTIVE)] = 1e-3
    d: Annotated[int, Choice(16, 32, 64)] = 32
    depth: Annotated[int, Int(1, 3)] = 1
    patch: Annotated[float, Float(0.1, 1.0)] = 0.34
    seasons: Annotated[float, Float(1.0, 6.0)] = 3.0
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.2


class PatchTransformer:
    name: ClassVar[str] = "patch_transformer"
    tasks: ClassVar[frozenset[str]] = frozenset({"forecasting"})
    lane: ClassVar[str] = "cpu"
    least_values: ClassVar[int] = LEAST_VALUES
    Config: ClassVar[type] = PatchTransformerConfig
    reference: ClassVar[str] = (
        "Nie, Nguyen, Sinthong, Kalagnanam: A Time Series is Worth 64 Words: Long-term Forecasting with Transformers.  ICLR 2023"
    )

    def recipe(self, config: PatchTransformerConfig) -> Wish:
        return Wish()

    def steps(self, config: PatchTransformerConfig) -> int:
        return config.rounds

    def cost(self, config: PatchTransformerConfig, shape: Shape) -> Cost:
        seconds = 2e-3 * config.depth * (1 + config.batch_size * config.d / 6_000 * config.seasons / config.patch / 9)
        return Cost(0.4 + config.rounds * UPDATES * seconds, 100_000_000 + 400 * shape.n_rows)

    def fit(self, config: PatchTransformerConfig, data: Past, ctx: TrialContext) -> Predictor:
        from assay.nn.forecasters import PatchForecaster

        unit = data.season if data.season > 1 else 12
        patch = max(2, round(config.patch * unit))
        return fit_windows(
            config, data, ctx,
            lambda f: PatchForecaster(
                f.width, f.horizon, data.width, min(patch, max(1, f.width // 2)), config.d, config.d // 16, config.depth,
                config.dropout,
            ),
        )  # fmt: skip


family = PatchTransformer()

"""Self-attention over patches of the series; its weights can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.data.series import SeriesRecipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When
from search_spaces.series._seqnets import ADAPTIVE, Training, fit_net, patch_of


@dataclass(frozen=True)
class SeriesTransformerFamilyConfig(Training):
    """d: width, d / 16 heads.  patch: steps that are read as one."""

    learning_rate: Annotated[float, Float(1e-4, 5e-3, log=True), When("optimizer", *ADAPTIVE)] = 1e-3
    d: Annotated[int, Choice(32, 64)] = 32
    layers: Annotated[int, Int(1, 3)] = 2
    patch: Annotated[int, Choice(1, 4, 8, 16)] = 4


class SeriesTransformerFamily:
    name: ClassVar[str] = "series_transformer"
    tasks: ClassVar[frozenset[str]] = frozenset({"sequence_classification"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = SeriesTransformerFamilyConfig
    reference: ClassVar[str] = (
        "Vaswani et al.: Attention Is All You Need. NeurIPS 2017; patches: Nie, Nguyen, Sinthong, Kalagnanam: A Time "
        "Series is Worth 64 Words. ICLR 2023"
    )

    def recipe(self, config: SeriesTransformerFamilyConfig) -> SeriesRecipe:
        return SeriesRecipe(config.scale, config.length)

    def steps(self, config: SeriesTransformerFamilyConfig) -> int:
        return config.epochs

    def cost(self, config: SeriesTransformerFamilyConfig, shape: Shape) -> Cost:
        steps = max(8, shape.n_features)
        patches = steps / min(config.patch, max(1, steps // 4))
        work = config.layers * patches * (8 * config.d**2 + 2 * patches * config.d)
        seconds = config.epochs * shape.n_rows * (1.5e-9 * work + 6e-3 * config.layers / config.batch_size)
        held = config.batch_size * patches * config.layers * (14 * config.d + 4 * patches * config.d / 16) * 8
        return Cost(0.2 + seconds, int(8 * shape.n_rows * steps + held + 4e7))

    def fit(self, config: SeriesTransformerFamilyConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.attention import SeriesTransformer

        return fit_net(
            config, data, ctx,
            lambda channels, steps, k: SeriesTransformer(
                channels, steps, patch_of(steps, config.patch), config.d, config.d // 16, config.layers, config.dropout, k
            ),
        )  # fmt: skip


family = SeriesTransformerFamily()

"""A recurrent net that reads the series from both ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.data.series import SeriesRecipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice
from search_spaces.series._seqnets import Training, fit_net, patch_of


@dataclass(frozen=True)
class GruConfig(Training):
    """d: width of the state.  patch: values read in one step."""

    d: Annotated[int, Choice(16, 32, 64)] = 32
    patch: Annotated[int, Choice(1, 4, 8)] = 4


class Gru:
    name: ClassVar[str] = "gru"
    tasks: ClassVar[frozenset[str]] = frozenset({"sequence_classification"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = GruConfig
    reference: ClassVar[str] = (
        "Cho et al.: Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation. "
        "EMNLP 2014"
    )

    def recipe(self, config: GruConfig) -> SeriesRecipe:
        return SeriesRecipe(config.scale, config.length)

    def steps(self, config: GruConfig) -> int:
        return config.epochs

    def cost(self, config: GruConfig, shape: Shape) -> Cost:
        steps = max(8, shape.n_features)
        reads = steps / config.patch
        seconds = (
            config.epochs
            * shape.n_rows
            * reads
            * (3e-9 * config.d * (config.d + config.patch) + 1e-4 / config.batch_size)
        )
        held = config.batch_size * steps * config.d * 16 * 8
        return Cost(0.2 + seconds, int(8 * shape.n_rows * steps + held + 4e7))

    def fit(self, config: GruConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.gru import SeriesGru

        return fit_net(
            config, data, ctx,
            lambda channels, steps, k: SeriesGru(channels, steps, patch_of(steps, config.patch), config.d, config.dropout, k),
        )  # fmt: skip


family = Gru()

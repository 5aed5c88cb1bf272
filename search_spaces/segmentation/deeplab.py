"""DeepLab: dilated convolutions at several rates, and an auxiliary head while it is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice
from assay.vision.pixels import Whole
from search_spaces.detection._training import seconds_of
from search_spaces.segmentation._training import Segmenting, fit_segmenter


@dataclass(frozen=True)
class DeepLabConfig(Segmenting):
    """width: channels of the finest maps; blocks: residual ones a stage."""

    width: Annotated[int, Choice(12, 16, 24, 32)] = 16
    blocks: Annotated[int, Choice(1, 2)] = 1


class DeepLabFamily:
    name: ClassVar[str] = "deeplab"
    tasks: ClassVar[frozenset[str]] = frozenset({"segmentation"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    fits_all: ClassVar[bool] = True
    Config: ClassVar[type] = DeepLabConfig
    reference: ClassVar[str] = (
        "Chen et al.: Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation. ECCV 2018"
    )

    def recipe(self, config: DeepLabConfig) -> Whole:
        return Whole()

    def steps(self, config: DeepLabConfig) -> int:
        return config.epochs

    def cost(self, config: DeepLabConfig, shape: Shape) -> Cost:
        work = 1.6e-2 * (config.width / 16) ** 1.6 * (0.6 + 0.4 * config.blocks)
        size = 4.0 if config.detail == "full" else 1.0
        memory = shape.n_rows * 3.5e5 + config.batch_size * config.width * 2e6 * size + 4e8
        return Cost(seconds_of(config, shape.n_rows, work), int(memory))

    def fit(self, config: DeepLabConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.segmentation import DeepLab

        return fit_segmenter(
            config, data, ctx,
            lambda classes, shrink: DeepLab(classes, shrink, config.dropout, config.width, config.blocks),
        )  # fmt: skip


family = DeepLabFamily()

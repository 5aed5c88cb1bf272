"""The U-Net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice
from assay.vision.pixels import Whole
from search_spaces.detection._training import seconds_of
from search_spaces.segmentation._training import Segmenting, fit_segmenter


@dataclass(frozen=True)
class UNetConfig(Segmenting):
    """width: channels of the finest maps; depth: how often they are halved; stride: of the first convolution."""

    width: Annotated[int, Choice(8, 12, 16, 24)] = 16
    depth: Annotated[int, Choice(2, 3, 4)] = 3
    stride: Annotated[int, Choice(1, 2)] = 2


class UNetFamily:
    name: ClassVar[str] = "unet"
    tasks: ClassVar[frozenset[str]] = frozenset({"segmentation"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    fits_all: ClassVar[bool] = True
    Config: ClassVar[type] = UNetConfig
    reference: ClassVar[str] = "Ronneberger, Fischer, Brox: U-Net. MICCAI 2015"

    def recipe(self, config: UNetConfig) -> Whole:
        return Whole()

    def steps(self, config: UNetConfig) -> int:
        return config.epochs

    def cost(self, config: UNetConfig, shape: Shape) -> Cost:
        work = 1.5e-2 * (config.width / 16) ** 1.6 * (4.0 if config.stride == 1 else 1.0)
        size = 4.0 if config.detail == "full" else 1.0
        memory = shape.n_rows * 3.5e5 + config.batch_size * config.width * 2e6 * size * (4 // config.stride**2) + 4e8
        return Cost(seconds_of(config, shape.n_rows, work), int(memory))

    def fit(self, config: UNetConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.segmentation import UNet

        return fit_segmenter(
            config, data, ctx,
            lambda classes, shrink: UNet(classes, shrink, config.dropout, config.width, config.depth, config.stride),
        )  # fmt: skip


family = UNetFamily()

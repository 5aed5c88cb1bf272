"""A U-Net whose contracting half has seen ImageNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float
from assay.vision.pixels import Whole
from search_spaces.detection._training import missing_weights, seconds_of, work_of
from search_spaces.segmentation._training import Segmenting, fit_segmenter

STRIDES = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class PretrainedUNetConfig(Segmenting):
    """width: channels of the finest map of the expanding half; finest: its stride.  frozen: blocks of the backbone that are
    left as they are (the stem always); rate: learning rate of its last stage as a share of the rest's."""

    detail: Annotated[str, Choice("half", "full")] = "full"
    batch_size: Annotated[int, Choice(4, 8, 16)] = 4
    learning_rate: Annotated[float, Float(3e-4, 1e-2, log=True)] = 2e-3
    width: Annotated[int, Choice(16, 24, 32)] = 24
    finest: Annotated[int, Choice(2, 4)] = 4
    frozen: Annotated[int, Choice(0, 4, 10, 15)] = 4
    rate: Annotated[float, Float(0.02, 0.5, log=True)] = 0.1


class PretrainedUNet:
    name: ClassVar[str] = "pretrained_unet"
    tasks: ClassVar[frozenset[str]] = frozenset({"segmentation"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    fits_all: ClassVar[bool] = True
    # tried first: what it starts from is worth more than what nets from scratch learn in minutes
    rank: ClassVar[int] = -1
    Config: ClassVar[type] = PretrainedUNetConfig
    reference: ClassVar[str] = (
        "Iglovikov, Shvets: TernausNet, U-Net with VGG11 Encoder Pre-Trained on ImageNet. 2018, here with EfficientNet-Lite0"
    )

    def missing(self) -> str:
        """Why it cannot be used here, with the way out; "" when it can."""
        return missing_weights()

    def recipe(self, config: PretrainedUNetConfig) -> Whole:
        return Whole()

    def steps(self, config: PretrainedUNetConfig) -> int:
        return config.epochs

    def cost(self, config: PretrainedUNetConfig, shape: Shape) -> Cost:
        size = 4.0 if config.detail == "full" else 1.0
        memory = shape.n_rows * 3.5e5 + config.batch_size * 4e7 * size + 5e8
        return Cost(seconds_of(config, shape.n_rows, work_of(config.frozen)), int(memory))

    def fit(self, config: PretrainedUNetConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.pyramids import Pretrained
        from assay.nn.segmentation import PyramidUNet

        def make(classes: int, shrink: int) -> PyramidUNet:
            strides = STRIDES[STRIDES.index(config.finest) :]
            w = config.width
            widths = (4 * w, 3 * w, 2 * w, w, w)[: len(strides)]
            pyramid = Pretrained(strides, config.frozen, config.rate)
            return PyramidUNet(classes, shrink, config.dropout, pyramid, widths, config.finest)

        return fit_segmenter(config, data, ctx, make)


family = PretrainedUNet()

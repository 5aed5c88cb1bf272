"""The one-stage detector on a net that has seen ImageNet: what it knows of shapes need not be learnt from few pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float
from assay.vision.pixels import Whole
from search_spaces.detection._training import Detecting, fit_detector, missing_weights, seconds_of, work_of


@dataclass(frozen=True)
class PretrainedFcosConfig(Detecting):
    """wide: channels of the heads; depth: convolutions in them.  frozen: blocks of the backbone that are left as they are
    (the stem always); rate: learning rate of its last stage as a share of the heads'."""

    detail: Annotated[str, Choice("half", "full")] = "full"
    batch_size: Annotated[int, Choice(4, 8, 16)] = 4
    learning_rate: Annotated[float, Float(3e-4, 1e-2, log=True)] = 2e-3
    wide: Annotated[int, Choice(32, 48, 64)] = 48
    depth: Annotated[int, Choice(1, 2)] = 1
    frozen: Annotated[int, Choice(0, 4, 10, 15)] = 4
    rate: Annotated[float, Float(0.02, 0.5, log=True)] = 0.1
    zoom: Annotated[float, Float(0.0, 0.7)] = 0.5
    mosaic: Annotated[float, Float(0.0, 0.8)] = 0.4


class PretrainedFcos:
    name: ClassVar[str] = "pretrained_fcos"
    tasks: ClassVar[frozenset[str]] = frozenset({"object_detection"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    fits_all: ClassVar[bool] = True
    # tried first: what it starts from is worth more than what nets from scratch learn in minutes
    rank: ClassVar[int] = -1
    Config: ClassVar[type] = PretrainedFcosConfig
    reference: ClassVar[str] = (
        "Tian, Shen, Chen, He: FCOS. ICCV 2019, on EfficientNet-Lite0 (Tan, Le: EfficientNet. ICML 2019)"
    )

    def missing(self) -> str:
        """Why it cannot be used here, with the way out; "" when it can."""
        return missing_weights()

    def recipe(self, config: PretrainedFcosConfig) -> Whole:
        return Whole()

    def steps(self, config: PretrainedFcosConfig) -> int:
        return config.epochs

    def cost(self, config: PretrainedFcosConfig, shape: Shape) -> Cost:
        size = 4.0 if config.detail == "full" else 1.0
        memory = shape.n_rows * 2.5e5 + config.batch_size * 4e7 * size + 5e8
        return Cost(seconds_of(config, shape.n_rows, work_of(config.frozen)), int(memory))

    def fit(self, config: PretrainedFcosConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.detection import Fcos
        from assay.nn.pyramids import Pretrained
        from assay.vision.losses import aligned_loss

        def make(classes: int, side: int, shrink: int) -> Fcos:
            pyramid = Pretrained((8, 16, 32), config.frozen, config.rate)
            return Fcos(classes, side, shrink, pyramid, config.wide, config.depth)

        return fit_detector(config, data, ctx, make, aligned_loss)


family = PretrainedFcos()

"""A one-stage detector without anchors on a feature pyramid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice
from assay.vision.pixels import Whole
from search_spaces.detection._training import Detecting, fit_detector, seconds_of


@dataclass(frozen=True)
class FcosConfig(Detecting):
    """width: channels at the finest map; blocks: residual ones a stage; depth: of the heads."""

    width: Annotated[int, Choice(12, 16, 24, 32)] = 16
    blocks: Annotated[int, Choice(1, 2)] = 1
    depth: Annotated[int, Choice(1, 2)] = 1


class FcosFamily:
    name: ClassVar[str] = "fcos"
    tasks: ClassVar[frozenset[str]] = frozenset({"object_detection"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    fits_all: ClassVar[bool] = True
    Config: ClassVar[type] = FcosConfig
    reference: ClassVar[str] = "Tian, Shen, Chen, He: FCOS, Fully Convolutional One-Stage Object Detection. ICCV 2019"

    def recipe(self, config: FcosConfig) -> Whole:
        return Whole()

    def steps(self, config: FcosConfig) -> int:
        return config.epochs

    def cost(self, config: FcosConfig, shape: Shape) -> Cost:
        work = 1.2e-2 * (config.width / 16) ** 1.6 * (0.6 + 0.4 * config.blocks)
        size = 4.0 if config.detail == "full" else 1.0
        memory = shape.n_rows * 2.5e5 + config.batch_size * config.width * 1.2e6 * size + 4e8
        return Cost(seconds_of(config, shape.n_rows, work), int(memory))

    def fit(self, config: FcosConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.detection import Fcos
        from assay.nn.pyramids import Scratch
        from assay.vision.losses import aligned_loss

        def make(classes: int, side: int, shrink: int) -> Fcos:
            w = config.width
            pyramid = Scratch((w, w, 2 * w, 4 * w, 4 * w), config.blocks, 3)
            return Fcos(classes, side, shrink, pyramid, 2 * w, config.depth)

        return fit_detector(config, data, ctx, make, aligned_loss)


family = FcosFamily()

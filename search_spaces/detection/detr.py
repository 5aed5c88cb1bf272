"""A detector whose queries attend to the picture and are matched one to one with things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice
from assay.vision.pixels import Whole
from search_spaces.detection._training import Detecting, fit_detector, seconds_of


@dataclass(frozen=True)
class DetrConfig(Detecting):
    """width: channels of the finest map; d: of tokens; layers: of the decoder; queries: boxes it can answer."""

    width: Annotated[int, Choice(16, 24, 32)] = 16
    d: Annotated[int, Choice(48, 64, 96)] = 64
    layers: Annotated[int, Choice(1, 2, 3)] = 2
    queries: Annotated[int, Choice(16, 25, 49)] = 25


class DetrFamily:
    name: ClassVar[str] = "detr"
    tasks: ClassVar[frozenset[str]] = frozenset({"object_detection"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    fits_all: ClassVar[bool] = True
    Config: ClassVar[type] = DetrConfig
    reference: ClassVar[str] = "Carion et al.: End-to-End Object Detection with Transformers. ECCV 2020"

    def recipe(self, config: DetrConfig) -> Whole:
        return Whole()

    def steps(self, config: DetrConfig) -> int:
        return config.epochs

    def cost(self, config: DetrConfig, shape: Shape) -> Cost:
        work = 1.3e-2 * (config.width / 16) ** 1.6 * (0.6 + 0.2 * config.layers)
        size = 4.0 if config.detail == "full" else 1.0
        memory = shape.n_rows * 2.5e5 + config.batch_size * config.width * 1.2e6 * size + 4e8
        return Cost(seconds_of(config, shape.n_rows, work), int(memory))

    def fit(self, config: DetrConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.detection import Detr
        from assay.nn.pyramids import Scratch
        from assay.vision.losses import detr_loss

        def make(classes: int, side: int, shrink: int) -> Detr:
            w = config.width
            pyramid = Scratch((w, w, 2 * w, 4 * w), 1, 1)
            return Detr(classes, side, shrink, pyramid, config.d, config.layers, config.queries)

        return fit_detector(config, data, ctx, make, detr_loss)


family = DetrFamily()

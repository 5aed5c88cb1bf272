"""The detector with queries on a net that has seen ImageNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float
from assay.vision.pixels import Whole
from search_spaces.detection._training import Detecting, fit_detector, missing_weights, seconds_of, work_of


@dataclass(frozen=True)
class PretrainedDetrConfig(Detecting):
    """d: of tokens; layers: of the decoder; queries: boxes it can answer.  frozen, rate: as in `pretrained_fcos`."""

    detail: Annotated[str, Choice("half", "full")] = "full"
    batch_size: Annotated[int, Choice(4, 8, 16)] = 4
    learning_rate: Annotated[float, Float(1e-4, 3e-3, log=True)] = 1e-3
    d: Annotated[int, Choice(48, 64, 96)] = 64
    layers: Annotated[int, Choice(1, 2, 3)] = 2
    queries: Annotated[int, Choice(16, 25, 49)] = 25
    frozen: Annotated[int, Choice(0, 4, 10)] = 4
    rate: Annotated[float, Float(0.02, 0.5, log=True)] = 0.1


class PretrainedDetr:
    name: ClassVar[str] = "pretrained_detr"
    tasks: ClassVar[frozenset[str]] = frozenset({"object_detection"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    fits_all: ClassVar[bool] = True
    Config: ClassVar[type] = PretrainedDetrConfig
    reference: ClassVar[str] = (
        "Carion et al.: End-to-End Object Detection with Transformers. ECCV 2020, on EfficientNet-Lite0 (Tan, Le. ICML 2019)"
    )

    def missing(self) -> str:
        """Why it cannot be used here, with the way out; "" when it can."""
        return missing_weights()

    def recipe(self, config: PretrainedDetrConfig) -> Whole:
        return Whole()

    def steps(self, config: PretrainedDetrConfig) -> int:
        return config.epochs

    def cost(self, config: PretrainedDetrConfig, shape: Shape) -> Cost:
        size = 4.0 if config.detail == "full" else 1.0
        memory = shape.n_rows * 2.5e5 + config.batch_size * 4e7 * size + 5e8
        return Cost(seconds_of(config, shape.n_rows, work_of(config.frozen)), int(memory))

    def fit(self, config: PretrainedDetrConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.detection import Detr
        from assay.nn.pyramids import Pretrained
        from assay.vision.losses import detr_loss

        def make(classes: int, side: int, shrink: int) -> Detr:
            pyramid = Pretrained((16,), config.frozen, config.rate)
            return Detr(classes, side, shrink, pyramid, config.d, config.layers, config.queries)

        return fit_detector(config, data, ctx, make, detr_loss)


family = PretrainedDetr()

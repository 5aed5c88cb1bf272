"""A small convolutional net: few multiplications a picture, so that it sees all of them many times in little time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Int
from search_spaces.image._nets import NetConfig, fit_picture_net, net_cost
from search_spaces.image._pixels import Pixels, side_seen


@dataclass(frozen=True)
class SmallCnnConfig(NetConfig):
    """width: channels of the first stage, doubled in each of the next, three times at most."""

    width: Annotated[int, Choice(16, 24, 32, 48, 64)] = 24
    depth: Annotated[int, Int(2, 4)] = 3


class SmallCnn:
    name: ClassVar[str] = "small_cnn"
    tasks: ClassVar[frozenset[str]] = frozenset({"image_classification"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    Config: ClassVar[type] = SmallCnnConfig
    reference: ClassVar[str] = (
        "Page: How to Train Your ResNet. myrtle.ai, 2018 (the narrow nets of the DAWNBench races)"
    )

    def recipe(self, config: SmallCnnConfig) -> Pixels:
        return Pixels(config.side)

    def steps(self, config: SmallCnnConfig) -> int:
        return config.epochs

    def cost(self, config: SmallCnnConfig, shape: Shape) -> Cost:
        w, area = config.width, side_seen(shape, config.side) ** 2
        forward = area * 27 * w + config.depth * area / 4 * 18 * w * w
        return net_cost(config, shape, forward, 9 * w * w * 2 * 4**config.depth)

    def fit(self, config: SmallCnnConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.images import nets

        k = data.target.n_classes
        return fit_picture_net(
            lambda side, scaling: nets.SmallCnn(config.width, config.depth, k, side, config.dropout, **scaling),
            config, data, ctx,
        )  # fmt: skip


family = SmallCnn()

"""Residual nets of basic blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int
from search_spaces.image._nets import NetConfig, fit_picture_net, net_cost
from search_spaces.image._pixels import Pixels, side_seen


@dataclass(frozen=True)
class ResNetConfig(NetConfig):
    """Three or four stages of `blocks` blocks; width: channels of the first one (64 and 2 with four is ResNet-18)."""

    width: Annotated[int, Choice(16, 24, 32, 48, 64)] = 32
    stages: Annotated[int, Int(3, 4)] = 3
    blocks: Annotated[int, Int(1, 3)] = 1
    drop_path: Annotated[float, Float(0.0, 0.3)] = 0.0


class ResNet:
    name: ClassVar[str] = "resnet"
    tasks: ClassVar[frozenset[str]] = frozenset({"image_classification"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    Config: ClassVar[type] = ResNetConfig
    reference: ClassVar[str] = "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016"

    def recipe(self, config: ResNetConfig) -> Pixels:
        return Pixels(config.side)

    def steps(self, config: ResNetConfig) -> int:
        return config.epochs

    def cost(self, config: ResNetConfig, shape: Shape) -> Cost:
        w, area = config.width, side_seen(shape, config.side) ** 2 / 4
        forward = area * 27 * w + config.stages * config.blocks * area * 18 * w * w
        return net_cost(config, shape, forward, 20 * w * w * config.blocks * 4 ** (config.stages - 1))

    def fit(self, config: ResNetConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.images import nets

        k, blocks = data.target.n_classes, [config.blocks] * config.stages
        return fit_picture_net(
            lambda side, scaling: nets.ResNet(
                config.width, blocks, k, side, config.drop_path, config.dropout, **scaling
            ),
            config, data, ctx,
        )  # fmt: skip


family = ResNet()

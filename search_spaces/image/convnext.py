"""ConvNeXt-like nets: wide depthwise filters, then a small net at every place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int
from search_spaces.image._nets import NetConfig, fit_picture_net, net_cost
from search_spaces.image._pixels import Pixels, side_seen


@dataclass(frozen=True)
class ConvNextConfig(NetConfig):
    learning_rate: Annotated[float, Float(2e-4, 1e-2, log=True)] = 3e-3
    optimizer: Annotated[str, Choice("adamw", "adam")] = "adamw"
    width: Annotated[int, Choice(24, 32, 48, 64)] = 32
    blocks: Annotated[int, Int(1, 3)] = 2
    kernel: Annotated[int, Choice(3, 5, 7)] = 5
    drop_path: Annotated[float, Float(0.0, 0.3)] = 0.05


class ConvNext:
    name: ClassVar[str] = "convnext"
    tasks: ClassVar[frozenset[str]] = frozenset({"image_classification"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    Config: ClassVar[type] = ConvNextConfig
    reference: ClassVar[str] = "Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s. CVPR 2022"

    def recipe(self, config: ConvNextConfig) -> Pixels:
        return Pixels(config.side)

    def steps(self, config: ConvNextConfig) -> int:
        return config.epochs

    def cost(self, config: ConvNextConfig, shape: Shape) -> Cost:
        w, area = config.width, side_seen(shape, config.side) ** 2 / 4
        # depthwise filters are few multiplications that take the time of many
        forward = area * w * (12 + config.blocks * (3 * 8 * w + 5 * config.kernel**2))
        return net_cost(config, shape, 1.05 * forward, 8 * w * w * config.blocks * 21)

    def fit(self, config: ConvNextConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.images import nets

        k, blocks = data.target.n_classes, [config.blocks] * 3
        return fit_picture_net(
            lambda side, scaling: nets.ConvNext(
                config.width, blocks, k, side, config.kernel, config.drop_path, config.dropout, **scaling
            ),
            config, data, ctx,
        )  # fmt: skip


family = ConvNext()

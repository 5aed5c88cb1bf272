"""A small vision transformer: self-attention over patches of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int
from search_spaces.image._nets import NetConfig, fit_picture_net, net_cost
from search_spaces.image._pixels import Pixels, side_seen


@dataclass(frozen=True)
class VitConfig(NetConfig):
    """tokens: patches a side; width: of a token."""

    learning_rate: Annotated[float, Float(1e-4, 5e-3, log=True)] = 1.5e-3
    optimizer: Annotated[str, Choice("adamw", "adam")] = "adamw"
    epochs: Annotated[int, Int(15, 200, log=True)] = 50
    width: Annotated[int, Choice(64, 96, 128, 192)] = 96
    depth: Annotated[int, Int(2, 6)] = 4
    heads: Annotated[int, Choice(2, 4, 8)] = 4
    tokens: Annotated[int, Choice(4, 7, 8)] = 7
    drop_path: Annotated[float, Float(0.0, 0.3)] = 0.05


class Vit:
    name: ClassVar[str] = "vit"
    tasks: ClassVar[frozenset[str]] = frozenset({"image_classification"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    Config: ClassVar[type] = VitConfig
    reference: ClassVar[str] = (
        "Dosovitskiy et al.: An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale. ICLR 2021"
    )

    def recipe(self, config: VitConfig) -> Pixels:
        return Pixels(config.side)

    def steps(self, config: VitConfig) -> int:
        return config.epochs

    def cost(self, config: VitConfig, shape: Shape) -> Cost:
        n, w, area = config.tokens**2, config.width, side_seen(shape, config.side) ** 2
        forward = area * 7 * w + area * w * w / 4 + config.depth * (10 * n * w * w + 2 * n * n * w)
        return net_cost(config, shape, 1.1 * forward, config.depth * 10 * w * w)

    def fit(self, config: VitConfig, data: Split, ctx: TrialContext) -> Predictor:
        from assay.nn.images import nets

        k = data.target.n_classes
        return fit_picture_net(
            lambda side, scaling: nets.Vit(
                config.width, config.depth, config.heads, k, side, config.tokens, config.drop_path, config.dropout, **scaling
            ),
            config, data, ctx,
        )  # fmt: skip


family = Vit()

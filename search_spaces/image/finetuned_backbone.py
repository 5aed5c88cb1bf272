"""A pretrained net that is trained on: a linear answer on its features first, then all of it, the first stages the least."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.space import Choice, Float, Int
from search_spaces.image import _backbones
from search_spaces.image._pixels import Pixels

if TYPE_CHECKING:
    from torch import nn

ENOUGH = 1.5  # epochs that are worth starting for; with more time it trains on, with less it ends sooner
RATE = 45.0  # pictures of 128 pixels a second, there and back, on one core


@dataclass(frozen=True)
class FinetunedBackboneConfig:
    """size: that the net sees.  layer_decay: of the learning rate from stage to stage towards the pixels."""

    size: Annotated[int, Choice(96, 128, 160, 224)] = 128
    learning_rate: Annotated[float, Float(3e-5, 1e-3, log=True)] = 2e-4
    layer_decay: Annotated[float, Float(0.5, 1.0)] = 0.75
    weight_decay: Annotated[float, Float(1e-4, 0.2, log=True)] = 0.02
    smoothing: Annotated[float, Choice(0.0, 0.05, 0.1)] = 0.05
    flip: Annotated[str, Choice("auto", "on", "off")] = "auto"
    crop: Annotated[float, Float(0.0, 0.2)] = 0.08
    rand_n: Annotated[int, Int(0, 3)] = 1
    rand_m: Annotated[float, Float(0.1, 0.8)] = 0.3
    mix: Annotated[str, Choice("none", "mixup", "cutmix", "both")] = "none"
    erase: Annotated[float, Choice(0.0, 0.25)] = 0.0
    dropout: Annotated[float, Float(0.0, 0.6)] = 0.2
    batch_size: Annotated[int, Choice(16, 32, 64)] = 32
    epochs: Annotated[int, Int(2, 30, log=True)] = 8


class FinetunedBackbone:
    name: ClassVar[str] = "finetuned_backbone"
    tasks: ClassVar[frozenset[str]] = frozenset({"image_classification"})
    lane: ClassVar[str] = "cpu"
    keeps_time: ClassVar[bool] = True
    Config: ClassVar[type] = FinetunedBackboneConfig
    reference: ClassVar[str] = (
        "Kumar et al.: Fine-Tuning can Distort Pretrained Features (linear probing, then fine-tuning). ICLR 2022; rates by "
        "stage as in Howard, Ruder: ULMFiT. ACL 2018"
    )

    def missing(self) -> str:
        """Why it cannot be used here, with the way out; "" when it can."""
        return _backbones.missing()

    def recipe(self, config: FinetunedBackboneConfig) -> Pixels:
        return Pixels(10_000)

    def steps(self, config: FinetunedBackboneConfig) -> int:
        return config.epochs

    def cost(self, config: FinetunedBackboneConfig, shape: Shape) -> Cost:
        seen = _backbones.seen_size(config.size, shape.side) if shape.side else config.size
        size = (seen / 128) ** 2
        epoch = shape.n_rows * size / RATE
        memory = 900_000_000 + shape.n_rows * 50_000 + config.batch_size * 3e7 * size
        return Cost(4.0 + min(0.5 * config.epochs, ENOUGH) * epoch, int(memory), int(memory))

    def fit(self, config: FinetunedBackboneConfig, data: Split, ctx: TrialContext) -> Predictor:
        import torch

        from assay.training.images.loop import Plan, fit_net
        from assay.training.optim import Rule
        from search_spaces.image._answers import scorer
        from search_spaces.image._nets import augment_of

        torch.set_num_threads(ctx.threads)
        torch.manual_seed(ctx.seed)
        backbone = _backbones.find()
        size = _backbones.seen_size(config.size, data.x.shape[1])
        net = _with_head(backbone.net(size), data.target.n_classes, config.dropout)
        _probe(net, backbone, data, ctx)
        rule = Rule("adamw", config.learning_rate, weight_decay=config.weight_decay)
        plan = Plan(
            rule, config.batch_size, config.epochs, augment_of(config, data), config.smoothing,
            layer_decay=config.layer_decay,
        )  # fmt: skip
        fit_net(net, data, plan, ctx, scorer(data))
        return FinetunedPredictor(net.to("cpu").float(), backbone)


def _with_head(body: nn.Module, classes: int, dropout: float) -> Any:
    import torch
    from torch import nn

    with torch.inference_mode():
        width = int(body(torch.zeros(1, 3, 32, 32)).shape[1])

    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.drop, self.head = body, nn.Dropout(dropout), nn.Linear(width, classes)

        def depth_of(self, name: str) -> int:
            if not name.startswith("body."):
                return 0
            return 1 + int(self.body.depth_of(name.removeprefix("body.")))  # type: ignore[operator]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.head(self.drop(self.body(x)))
            return out

    return Headed()


def _probe(net: Any, backbone: _backbones.Backbone, data: Split, ctx: TrialContext) -> None:
    """Start the answer where a linear model on the features as they are ends."""
    import torch

    from search_spaces.image._heads import fit_logistic

    found = _backbones.run(_backbones.session_of(backbone.exported(net.body), ctx.threads), data.x)
    mean, spread = found.mean(0), found.std(0)
    scale = 1.0 / np.maximum(spread, 0.2 * max(1e-6, float(np.sqrt(np.mean(spread**2)))))
    scaled = replace(data, x=np.asarray((found - mean) * scale, np.float32))
    (_, weight, bias), *_ = [s for s in fit_logistic(scaled, ctx, 1e-2).steps if s[0] == "affine"]
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy((weight * scale[:, None]).T.copy()))
        net.head.bias.copy_(torch.from_numpy(bias - (mean * scale) @ weight))


class FinetunedPredictor:
    """A net that was trained on, in evaluation mode, on the processor."""

    def __init__(self, net: Any, backbone: _backbones.Backbone) -> None:
        self.net, self.backbone = net, backbone

    def predict(self, x: np.ndarray) -> np.ndarray:
        from assay.training.images.loop import predict

        return predict(self.net, x)

    def to_onnx(self, x: str) -> Graph:
        from assay.nn.ops import ScopeOps

        scope = Scope()
        ops = ScopeOps(scope)
        found = scope.include(self.backbone.exported(self.net.body).renamed({"pixels": ops.pixels(x)}))
        return scope.graph(ops.softmax(ops.linear(found, self.net.head)))


family = FinetunedBackbone()

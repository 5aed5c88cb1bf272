"""Gated PixelCNN: every value of a picture from those before it, in raster order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import numpy as np

from assay.errors import FamilyUnavailable
from assay.families import Cost, Shape, TrialContext
from assay.generation.parts import Inputs, Pictures, Raster, at_last, one_hot, pick_logits
from assay.model.graph import Scope
from assay.space import Choice, Float, Int
from search_spaces.generative._causal import causal_mask

if TYPE_CHECKING:
    from torch import Tensor, nn

    from assay.generation.pixels import Levels

MOST_VALUES = 400  # of a picture: each takes a run of the whole network
HELD = 512


@dataclass(frozen=True)
class PixelCnnConfig:
    optimizer: Annotated[str, Choice("adam", "adamw", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(2e-4, 1e-2, log=True)] = 3e-3
    weight_decay: Annotated[float, Float(1e-6, 1e-1, log=True)] = 1e-3
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle", "flat_cos")] = "cosine"
    width: Annotated[int, Choice(16, 32, 48)] = 32
    layers: Annotated[int, Int(2, 6)] = 3
    dropout: Annotated[float, Float(0.0, 0.5)] = 0.1
    batch_size: Annotated[int, Choice(32, 64, 128)] = 64
    epochs: Annotated[int, Int(5, 80, log=True)] = 25


@dataclass(frozen=True, eq=False)
class TrainedPixelCnn:
    """net: codes and condition -> logits [N, C * L, S, S]."""

    net: Any
    levels: Levels
    size: int
    channels: int
    n_labels: int
    steps: int
    uniform: int
    noise: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.size, self.size, self.channels

    def bits(self, data: Pictures) -> float:
        import torch

        codes = torch.from_numpy(self.levels.encode(data.x_valid[:HELD]))
        with torch.no_grad():
            loss = self.net.loss(codes, torch.from_numpy(data.y_valid[:HELD]))
        return float(loss) / math.log(2)

    def emit_step(self, inputs: Inputs, image: str, at: str) -> Raster:
        s, n_levels, p = inputs.scope, len(self.levels), self.steps
        logits = self.net.emit(s, image, inputs.given)
        logits = s.add("Reshape", logits, s.const([-1, self.channels, n_levels, self.size, self.size]))
        logits = s.add("Reshape", s.add("Transpose", logits, perm=[0, 3, 4, 1, 2]), s.const([-1, p, n_levels]))
        here = s.add("Squeeze", s.add("Gather", logits, at, axis=1), s.const([1]))
        code = pick_logits(s, here, inputs.u_at(0, at))
        flat = s.add("Reshape", image, s.const([-1, p]))
        place = s.add("Equal", s.const(np.arange(p, dtype=np.int64)[None]), at)
        flat = s.add("Where", place, s.add("Unsqueeze", code, s.const([1])), flat)
        after = s.add("Reshape", flat, s.const([-1, self.size, self.size, self.channels]))
        return Raster(after, s.add("Gather", s.const(self.levels.values), at_last(s, after, at, p)))


class PixelCnn:
    name: ClassVar[str] = "pixel_cnn"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "images"
    Config: ClassVar[type] = PixelCnnConfig
    reference: ClassVar[str] = (
        "van den Oord et al., Conditional Image Generation with PixelCNN Decoders, NeurIPS 2016; one stack in place of two"
    )

    def recipe(self, config: PixelCnnConfig) -> Any:
        return None

    def steps(self, config: PixelCnnConfig) -> int:
        return config.epochs

    def cost(self, config: PixelCnnConfig, shape: Shape) -> Cost:
        batches = config.epochs * max(1, shape.n_rows // config.batch_size)
        each = 6e-4 * config.batch_size * (config.width / 32) ** 2 * (1 + config.layers) / 4
        return Cost(5.0 + batches * each, (256 << 20) + 4000 * shape.n_rows)

    def fit(self, config: PixelCnnConfig, data: Pictures, ctx: TrialContext) -> TrainedPixelCnn:
        import torch

        from assay.generation.pixels import MAX_LEVELS, fit_levels
        from assay.training.loop import LoopPlan, fit_module
        from assay.training.optim import Rule

        values = data.size**2 * data.channels
        if values > MOST_VALUES:
            raise FamilyUnavailable(
                f"pictures of {data.size} x {data.size} x {data.channels} are drawn in {values} steps of the whole network; "
                f"pixel_cnn draws up to {MOST_VALUES} values: use smaller pictures or other families"
            )
        torch.manual_seed(ctx.seed)
        levels = fit_levels(data.x, MAX_LEVELS)
        net = _net(config, data.size, data.channels, len(levels), data.n_labels)
        codes, held = (torch.from_numpy(levels.encode(x)).to(ctx.device) for x in (data.x, data.x_valid[:HELD]))
        y, y_held = (torch.from_numpy(a).to(ctx.device) for a in (data.y, data.y_valid[:HELD]))
        n, size = len(codes), min(config.batch_size, len(codes))

        def batches(epoch: int) -> Iterator[Any]:
            order = torch.from_numpy(np.random.default_rng([ctx.seed, epoch]).permutation(n))
            for i in range(n // size):
                rows = order[i * size : (i + 1) * size]
                yield (codes[rows], y[rows]), None

        def loss(module: nn.Module, batch: Any) -> Tensor:
            found: Tensor = net.loss(*batch[0])
            return found

        rule = Rule(config.optimizer, config.learning_rate, momentum=0.0, weight_decay=config.weight_decay)
        plan = LoopPlan(rule, config.epochs, config.schedule, patience=max(6, config.epochs // 4), clip=1.0)
        fit_module(net, batches, loss, lambda module: -float(net.loss(held, y_held)), n // size, plan, ctx)
        net.to("cpu")
        return TrainedPixelCnn(net, levels, data.size, data.channels, data.n_labels, values, values)


def _net(config: PixelCnnConfig, size: int, channels: int, n_levels: int, n_labels: int) -> Any:
    """The network, defined where torch is imported."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    w = -(-config.width // channels) * channels  # as many features for every channel
    g = n_labels if n_labels > 1 else 0

    class Masked(nn.Conv2d):
        mask: torch.Tensor

        def __init__(self, inputs: int, outputs: int, kernel: int, own: bool, halves: int = 1) -> None:
            super().__init__(inputs, outputs * halves, kernel, padding=kernel // 2)
            once = causal_mask(outputs, inputs, kernel, channels, own)
            self.register_buffer("mask", torch.from_numpy(np.concatenate([once] * halves)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)

        def emit(self, s: Scope, x: str) -> str:
            weight = s.const((self.weight * self.mask).detach().numpy().astype(np.float32))
            assert self.bias is not None
            side = self.kernel_size[0] // 2
            return s.add("Conv", x, weight, s.const(self.bias.detach().numpy().astype(np.float32)), pads=[side] * 4)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = Masked(channels, w, 7 if size > 4 else 3, own=False)
            self.gates = nn.ModuleList(Masked(w, w, 3, own=True, halves=2) for _ in range(config.layers))
            self.mixes = nn.ModuleList(Masked(w, w, 1, own=True) for _ in range(config.layers))
            self.labels = nn.ModuleList(nn.Linear(g, 2 * w, bias=False) for _ in range(config.layers if g else 0))
            self.last = nn.ModuleList([Masked(w, w, 1, own=True), Masked(w, channels * n_levels, 1, own=True)])
            self.dropout = nn.Dropout2d(config.dropout)

        def forward(self, codes: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            x = codes.permute(0, 3, 1, 2).float() * (2.0 / max(1, n_levels - 1)) - 1.0
            h = self.first(x)
            given = F.one_hot(y, g).float() if g else None
            for i, (gate, mix) in enumerate(zip(self.gates, self.mixes, strict=True)):
                both = gate(F.relu(h))
                if given is not None:
                    both = both + self.labels[i](given)[:, :, None, None]
                a, b = both.chunk(2, 1)
                h = h + mix(self.dropout(torch.tanh(a) * torch.sigmoid(b)))
            logits: torch.Tensor = self.last[1](F.relu(self.last[0](F.relu(h))))
            return logits

        def loss(self, codes: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            """Mean nats a value."""
            logits = self(codes, y).reshape(-1, channels, n_levels, size, size)
            return F.cross_entropy(logits.transpose(1, 2), codes.permute(0, 3, 1, 2))

        def emit(self, s: Scope, image: str, given: str) -> str:
            x = s.add("Transpose", s.add("Cast", image, to=1), perm=[0, 3, 1, 2])
            x = s.add("Mul", x, s.const(np.float32(2.0 / max(1, n_levels - 1))))
            h = self.first.emit(s, s.add("Sub", x, s.const(np.float32(1))))
            label = one_hot(s, given, g) if g else ""
            gates, mixes, last = (cast("list[Masked]", list(part)) for part in (self.gates, self.mixes, self.last))
            for i, (gate, mix) in enumerate(zip(gates, mixes, strict=True)):
                both = gate.emit(s, s.add("Relu", h))
                if label:
                    moved = s.add("MatMul", label, s.const(_numbers(self.labels[i])))
                    both = s.add("Add", both, s.add("Unsqueeze", moved, s.const([2, 3])))
                a, b = s.add_many("Split", both, outputs=2, axis=1, num_outputs=2)
                h = s.add("Add", h, mix.emit(s, s.add("Mul", s.add("Tanh", a), s.add("Sigmoid", b))))
            return last[1].emit(s, s.add("Relu", last[0].emit(s, s.add("Relu", h))))

    return Net()


def _numbers(layer: Any) -> np.ndarray:
    """A linear layer's weights, (inputs, outputs)."""
    return np.asarray(layer.weight.T.detach().numpy(), np.float32)


family = PixelCnn()

"""Variational autoencoder of pictures whose decoder gives every value shares of the levels it may take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from assay.families import Cost, Shape, TrialContext
from assay.generation.parts import Inputs, Pictures, joined, one_hot
from assay.space import Choice, Float, Int

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from assay.generation.pixels import Levels

IMPORTANCE = 16
MOST_LOGITS = 50_000  # of one picture; more levels are merged
HELD = 256  # held-out pictures the bound is taken on
DENSE = 400  # values of a picture up to which layers look at all of them at once


@dataclass(frozen=True)
class ImageVaeConfig:
    """beta: weight of the KL term; warm_up: share of training in which it grows."""

    optimizer: Annotated[str, Choice("adam", "adamw", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(2e-4, 1e-2, log=True)] = 2e-3
    weight_decay: Annotated[float, Float(1e-6, 1e-1, log=True)] = 1e-4
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle", "flat_cos")] = "cosine"
    beta: Annotated[float, Float(0.3, 2.0, log=True)] = 1.0
    warm_up: Annotated[float, Float(0.0, 0.5)] = 0.1
    latent: Annotated[int, Choice(8, 12, 24, 48)] = 12
    width: Annotated[int, Choice(16, 32, 48)] = 32
    dropout: Annotated[float, Float(0.0, 0.3)] = 0.0
    batch_size: Annotated[int, Choice(32, 64, 128)] = 64
    epochs: Annotated[int, Int(10, 120, log=True)] = 40


@dataclass(frozen=True, eq=False)
class TrainedImageVae:
    """net: with a `decoder` from noise and condition to logits [N, C * L, S, S]."""

    config: ImageVaeConfig
    net: Any
    levels: Levels
    size: int
    channels: int
    n_labels: int
    noise: int
    uniform: int

    def bits(self, data: Pictures) -> float:
        """Of levels, from the importance-weighted bound, given the condition."""
        import torch

        codes = torch.from_numpy(self.levels.encode(data.x_valid[:HELD]))
        given = _given(data.y_valid[:HELD], self.n_labels)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            parts = [
                self.net.bound(codes[i : i + 32], given[i : i + 32], IMPORTANCE, generator)
                for i in range(0, len(codes), 32)
            ]
        return float(-torch.cat(parts).mean() / np.log(2) / codes[0].numel())

    def emit(self, inputs: Inputs) -> str:
        from assay.nn.sequential import emit_sequential

        s, n_levels = inputs.scope, len(self.levels)
        start = [inputs.noise] + ([one_hot(s, inputs.given, self.n_labels)] if self.n_labels > 1 else [])
        logits = emit_sequential(s, self.net.decoder, joined(s, start))
        logits = s.add("Reshape", logits, s.const([-1, self.channels, n_levels, self.size, self.size]))
        shares = s.add("Softmax", s.add("Transpose", logits, perm=[0, 3, 4, 1, 2]), axis=4)
        sums = s.add("CumSum", shares, s.const(np.int64(4)))
        sums = s.add("Slice", sums, s.const([0]), s.const([-1]), s.const([4]))
        u = s.add("Reshape", inputs.uniform, s.const([-1, self.size, self.size, self.channels, 1]))
        reached = s.add("Cast", s.add("GreaterOrEqual", u, sums), to=7)
        code = s.add("ReduceSum", reached, s.const([4]), keepdims=0)
        return s.add("Gather", s.const(self.levels.values.astype(np.float32)), code)


class ImageVae:
    name: ClassVar[str] = "image_vae"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "images"
    Config: ClassVar[type] = ImageVaeConfig
    reference: ClassVar[str] = (
        "Kingma, Welling, Auto-Encoding Variational Bayes, ICLR 2014; Higgins et al., beta-VAE, ICLR 2017"
    )

    def recipe(self, config: ImageVaeConfig) -> Any:
        return None

    def steps(self, config: ImageVaeConfig) -> int:
        return config.epochs

    def cost(self, config: ImageVaeConfig, shape: Shape) -> Cost:
        batches = config.epochs * max(1, shape.n_rows // config.batch_size)
        return Cost(1.0 + batches * 2.5e-4 * config.batch_size * config.width / 32, (256 << 20) + 4000 * shape.n_rows)

    def fit(self, config: ImageVaeConfig, data: Pictures, ctx: TrialContext) -> TrainedImageVae:
        import torch

        from assay.generation.pixels import MAX_LEVELS, fit_levels
        from assay.training.loop import LoopPlan, fit_module
        from assay.training.optim import Rule

        torch.manual_seed(ctx.seed)
        values = data.size**2 * data.channels
        levels = fit_levels(data.x, min(MAX_LEVELS, max(4, MOST_LOGITS // values)))
        net = _net(config, data.size, data.channels, len(levels), data.n_labels)
        codes = torch.from_numpy(levels.encode(data.x)).to(ctx.device)
        held = torch.from_numpy(levels.encode(data.x_valid[:HELD])).to(ctx.device)
        given, held_given = (_given(y, data.n_labels).to(ctx.device) for y in (data.y, data.y_valid[:HELD]))
        n, size = len(codes), min(config.batch_size, len(codes))
        per_epoch = n // size
        done = 0

        def batches(epoch: int) -> Iterator[Any]:
            order = torch.from_numpy(np.random.default_rng([ctx.seed, epoch]).permutation(n))
            for i in range(per_epoch):
                rows = order[i * size : (i + 1) * size]
                yield (codes[rows], given[rows]), None

        def loss(module: nn.Module, batch: Any) -> Tensor:
            nonlocal done
            done += 1
            value: Tensor = module(
                *batch[0], config.beta * min(1.0, done / max(1.0, config.warm_up * config.epochs * per_epoch))
            )
            return value

        def score(module: nn.Module) -> float:
            generator = torch.Generator(device=ctx.device).manual_seed(0)
            return float(net.bound(held, held_given, 1, generator).mean()) / values

        rule = Rule(config.optimizer, config.learning_rate, momentum=0.0, weight_decay=config.weight_decay)
        plan = LoopPlan(rule, config.epochs, config.schedule, patience=max(8, config.epochs // 4), clip=50.0)
        fit_module(net, batches, loss, score, per_epoch, plan, ctx)
        net.to("cpu")
        return TrainedImageVae(config, net, levels, data.size, data.channels, data.n_labels, config.latent, values)


def _given(y: np.ndarray, n_labels: int) -> torch.Tensor:
    """The condition as shares, (n, labels), or (n, 0) without one."""
    import torch

    width = n_labels if n_labels > 1 else 0
    return torch.from_numpy((y[:, None] == np.arange(width)[None]).astype(np.float32))


def _net(config: ImageVaeConfig, size: int, channels: int, n_levels: int, n_labels: int) -> Any:
    """The network, defined where torch is imported."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    from assay.nn.sequential import Double, Reshape

    g, w, k = (n_labels if n_labels > 1 else 0), config.width, size // 4
    values = size**2 * channels

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            if values <= DENSE:
                wide = 8 * w
                self.encoder = nn.Sequential(
                    nn.Flatten(), nn.Linear(values, wide), nn.GELU(), nn.Dropout(config.dropout),
                    nn.Linear(wide, wide), nn.GELU(),
                )  # fmt: skip
                self.heads = nn.Linear(wide + g, 2 * config.latent)
                self.decoder = nn.Sequential(
                    nn.Linear(config.latent + g, wide), nn.GELU(), nn.Dropout(config.dropout),
                    nn.Linear(wide, wide), nn.GELU(), nn.Linear(wide, values * n_levels),
                    Reshape(channels * n_levels, size, size),
                )  # fmt: skip
                return
            self.encoder = nn.Sequential(
                nn.Conv2d(channels, w, 3, 2, 1), nn.GELU(), nn.Conv2d(w, 2 * w, 3, 2, 1), nn.GELU(), nn.Flatten(),
                nn.Linear(2 * w * k * k, 8 * w), nn.GELU(), nn.Dropout(config.dropout),
            )  # fmt: skip
            self.heads = nn.Linear(8 * w + g, 2 * config.latent)
            self.decoder = nn.Sequential(
                nn.Linear(config.latent + g, 8 * w), nn.GELU(), nn.Dropout(config.dropout),
                nn.Linear(8 * w, 2 * w * k * k), nn.GELU(), Reshape(2 * w, k, k),
                Double(), nn.Conv2d(2 * w, w, 3, padding=1), nn.GELU(), Double(), nn.Conv2d(w, w, 3, padding=1), nn.GELU(),
                nn.Conv2d(w, channels * n_levels, 1),
            )  # fmt: skip

        def encode(self, codes: torch.Tensor, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = codes.permute(0, 3, 1, 2).float() * (2.0 / max(1, n_levels - 1)) - 1.0
            mean, log_var = self.heads(torch.cat([self.encoder(x), given], 1)).chunk(2, 1)
            return mean, log_var.clamp(-10.0, 5.0)

        def log_p(self, codes: torch.Tensor, z: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
            """(B,) log probability of the levels."""
            logits = self.decoder(torch.cat([z, given], 1)).reshape(-1, channels, n_levels, size, size)
            share = F.log_softmax(logits, 2)
            return share.gather(2, codes.permute(0, 3, 1, 2).unsqueeze(2)).sum((1, 2, 3, 4))

        def forward(self, codes: torch.Tensor, given: torch.Tensor, beta: float) -> torch.Tensor:
            mean, log_var = self.encode(codes, given)
            z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
            kl = 0.5 * (mean**2 + log_var.exp() - 1.0 - log_var).sum(1)
            return (beta * kl - self.log_p(codes, z, given)).mean()

        def bound(self, codes: torch.Tensor, given: torch.Tensor, k: int, generator: torch.Generator) -> torch.Tensor:
            """A lower bound on log p of every picture, from k latent codes each; (B,)."""
            mean, log_var = self.encode(codes, given)
            found = []
            for _ in range(k):
                noise = torch.randn(mean.shape, generator=generator, device=mean.device)
                z = mean + noise * (0.5 * log_var).exp()
                prior, posterior = -0.5 * (z**2).sum(1), -0.5 * (noise**2 + log_var).sum(1)
                found.append(self.log_p(codes, z, given) + prior - posterior)
            return torch.logsumexp(torch.stack(found), 0) - float(np.log(k))

    return Net()


family = ImageVae()

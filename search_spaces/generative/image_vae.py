"""Variational autoencoder of pictures whose decoder gives every value a logistic curve over the levels there are.

Trained with a normal prior; pictures are drawn from a mixture of Gaussians fitted to the codes of the training pictures
(Ghosh et al., "From Variational to Deterministic Autoencoders", ICLR 2020), which lie where few draws of the prior do.
Curves (Salimans et al., "PixelCNN++", ICLR 2017) know that levels have an order, as shares of levels do not.  Values are
drawn apart from each other, which is rougher than pictures are: curves are made narrower until it is not.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from assay.families import Cost, Shape, TrialContext
from assay.generation.parts import Inputs, Pictures, joined, one_hot
from assay.space import Choice, Float, Int
from search_spaces.generative._image_mixture import Points, fit_points
from search_spaces.generative._roughness import roughness

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from assay.generation.pixels import Levels

IMPORTANCE = 16
NARROWEST, WIDEST = -7.0, 2.0  # log of the scale of a curve over -1..1
FAR = 1e4  # where the first level begins and the last one ends
TINY = 1e-4  # share of a curve beyond which nothing is drawn
HELD = 256  # held-out pictures the bound is taken on
PER_EPOCH = 40  # batches between two looks at the held-out pictures
WORTH = 1500  # batches from which pictures are worth looking at
SHARE = 0.8  # of the time there is, for training
TIMED, OPTIMISING = 4, 1.3  # batches to learn what one takes, and what a step of the optimizer adds
CODES = 6000  # that the mixture is fitted to
RIDGE = 1e-3
CALMS = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)
DRAWN = 128  # pictures whose roughness is looked at
DENSE = 400  # values of a picture up to which layers look at all of them at once


@dataclass(frozen=True)
class ImageVaeConfig:
    """beta: weight of the KL term; warm_up: share of training in which it grows.  components: of the mixture that pictures
    are drawn from.  epochs: of 40 batches."""

    optimizer: Annotated[str, Choice("adam", "adamw", "rmsprop")] = "adamw"
    learning_rate: Annotated[float, Float(2e-4, 1e-2, log=True)] = 2e-3
    weight_decay: Annotated[float, Float(1e-6, 1e-1, log=True)] = 1e-4
    schedule: Annotated[str, Choice("constant", "cosine", "one_cycle", "flat_cos")] = "cosine"
    beta: Annotated[float, Float(0.2, 4.0, log=True)] = 1.0
    warm_up: Annotated[float, Float(0.0, 0.5)] = 0.1
    latent: Annotated[int, Choice(8, 12, 24, 48)] = 24
    components: Annotated[int, Int(1, 60, log=True)] = 10
    width: Annotated[int, Choice(16, 32, 48)] = 32
    dropout: Annotated[float, Float(0.0, 0.3)] = 0.1
    batch_size: Annotated[int, Choice(32, 64, 128)] = 64
    epochs: Annotated[int, Int(10, 250, log=True)] = 80


@dataclass(frozen=True, eq=False)
class TrainedImageVae:
    """net: with a `decoder` from code and condition to means and logs of scales [N, 2 * C, S, S] over -1..1.  points: the
    codes that are drawn.  calm: factor of the scales."""

    config: ImageVaeConfig
    net: Any
    levels: Levels
    size: int
    channels: int
    n_labels: int
    points: Points
    calm: float
    noise: int
    uniform: int

    def bits(self, data: Pictures) -> float:
        """Of levels, from the importance-weighted bound, given the condition; of the curves before they are made narrower."""
        import torch

        codes = torch.from_numpy(self.levels.encode(data.x_valid[:HELD]))
        given = _given(data.y_valid[:HELD], self.n_labels)
        generator = torch.Generator().manual_seed(0)

        def prior(z: Tensor, y: np.ndarray) -> Tensor:
            """Up to the constant of a normal density, as in `bound`."""
            found = self.points.log_p(z.numpy().astype(np.float64), y) + 0.5 * z.shape[1] * np.log(2 * np.pi)
            return torch.from_numpy(found.astype(np.float32))

        with torch.no_grad():
            parts = []
            for i in range(0, len(codes), 32):
                y = data.y_valid[:HELD][i : i + 32]
                of = self.net.bound(
                    codes[i : i + 32],
                    given[i : i + 32],
                    IMPORTANCE,
                    generator,
                    lambda z, y=y: prior(z, y),
                )
                parts.append(of)
        return float(-torch.cat(parts).mean() / np.log(2) / codes[0].numel())

    def emit(self, inputs: Inputs) -> str:
        from assay.generation.pixels import emit_snapped
        from assay.nn.sequential import emit_sequential

        s = inputs.scope
        start = [self.points.emit(inputs)] + ([one_hot(s, inputs.given, self.n_labels)] if self.n_labels > 1 else [])
        found = s.add("Transpose", emit_sequential(s, self.net.decoder, joined(s, start)), perm=[0, 2, 3, 1])
        mean, scale = s.add_many("Split", found, outputs=2, axis=3, num_outputs=2)
        scale = s.add("Exp", s.add("Clip", scale, s.const(np.float32(NARROWEST)), s.const(np.float32(WIDEST))))
        u = s.add("Clip", inputs.u(1, self.uniform - 1), s.const(np.float32(TINY)), s.const(np.float32(1 - TINY)))
        odds = s.add("Sub", s.add("Log", u), s.add("Log", s.add("Sub", s.const(np.float32(1)), u)))
        odds = s.add("Mul", odds, s.const(np.float32(self.calm)))
        odds = s.add("Reshape", odds, s.const([-1, self.size, self.size, self.channels]))
        value = s.add("Add", mean, s.add("Mul", scale, odds))
        grey = s.add("Mul", s.add("Add", value, s.const(np.float32(1))), s.const(np.float32(127.5)))
        return emit_snapped(s, grey, self.levels)


class ImageVae:
    name: ClassVar[str] = "image_vae"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "images"
    keeps_time: ClassVar[bool] = True
    Config: ClassVar[type] = ImageVaeConfig
    reference: ClassVar[str] = (
        "Kingma, Welling, Auto-Encoding Variational Bayes, ICLR 2014; Higgins et al., beta-VAE, ICLR 2017"
    )

    def recipe(self, config: ImageVaeConfig) -> Any:
        return None

    def steps(self, config: ImageVaeConfig) -> int:
        return config.epochs

    def cost(self, config: ImageVaeConfig, shape: Shape) -> Cost:
        # training cuts itself to the time there is: what counts is from when on it is worth having
        batches = min(WORTH, config.epochs * PER_EPOCH)
        return Cost(2.0 + batches * 1e-4 * config.batch_size * config.width / 32, (256 << 20) + 4000 * shape.n_rows)

    def fit(self, config: ImageVaeConfig, data: Pictures, ctx: TrialContext) -> TrainedImageVae:
        import torch

        from assay.generation.pixels import fit_levels
        from assay.training.loop import LoopPlan, fit_module
        from assay.training.optim import Rule

        torch.manual_seed(ctx.seed)
        values = data.size**2 * data.channels
        levels = fit_levels(data.x)
        net = _net(config, data.size, data.channels, levels, data.n_labels)
        codes = torch.from_numpy(levels.encode(data.x)).to(ctx.device)
        held = torch.from_numpy(levels.encode(data.x_valid[:HELD])).to(ctx.device)
        given, held_given = (_given(y, data.n_labels).to(ctx.device) for y in (data.y, data.y_valid[:HELD]))
        n, size = len(codes), min(config.batch_size, len(codes))
        epochs, done = config.epochs, 0

        def batches(epoch: int) -> Iterator[Any]:
            rng = np.random.default_rng([ctx.seed, epoch])
            for _ in range(PER_EPOCH):
                rows = torch.from_numpy(rng.choice(n, size, replace=False))
                yield (codes[rows], given[rows]), None

        def loss(module: nn.Module, batch: Any) -> Tensor:
            nonlocal done
            done += 1
            value: Tensor = module(
                *batch[0], config.beta * min(1.0, done / max(1.0, config.warm_up * epochs * PER_EPOCH))
            )
            return value

        def score(module: nn.Module) -> float:
            generator = torch.Generator(device=ctx.device).manual_seed(0)
            return float(net.bound(held, held_given, 1, generator).mean()) / values

        torch.set_num_threads(ctx.threads)
        if ctx.seconds_left() < float("inf"):  # as many as there is time for, so that the schedule comes to its end
            began = time.monotonic()
            for batch in itertools.islice(batches(0), TIMED):
                loss(net, batch).backward()
            took = (time.monotonic() - began) / TIMED * PER_EPOCH * OPTIMISING
            epochs, done = int(np.clip(SHARE * ctx.seconds_left() / max(took, 1e-3), 2, config.epochs)), 0
            net.zero_grad()
        rule = Rule(config.optimizer, config.learning_rate, momentum=0.0, weight_decay=config.weight_decay)
        plan = LoopPlan(rule, epochs, config.schedule, patience=max(8, epochs // 4), clip=50.0)
        fit_module(net, batches, loss, score, PER_EPOCH, plan, ctx)
        net.to("cpu")
        points = _points(net, levels.encode(data.x[:CODES]), data, config.components, ctx)
        calm = _calm(net, points, levels, data, ctx)
        return TrainedImageVae(
            config, net, levels, data.size, data.channels, data.n_labels, points, calm, config.latent, values + 1
        )


def _points(net: Any, codes: np.ndarray, data: Pictures, components: int, ctx: TrialContext) -> Points:
    """Of what the encoder says of the training pictures, one draw each."""
    import torch

    given = _given(data.y[: len(codes)], data.n_labels)
    with torch.no_grad():
        parts = [
            net.encode(torch.from_numpy(codes[i : i + 256]), given[i : i + 256]) for i in range(0, len(codes), 256)
        ]
    mean, log_var = (np.concatenate([p[j].numpy() for p in parts]).astype(np.float64) for j in (0, 1))
    drawn = mean + ctx.rng.standard_normal(mean.shape) * np.exp(0.5 * log_var)
    return fit_points(drawn, data.y[: len(codes)], data.n_labels, components, RIDGE, ctx.seed)


def _calm(net: Any, points: Points, levels: Levels, data: Pictures, ctx: TrialContext) -> float:
    """The factor of the scales with which drawn pictures are as rough as real ones, 0 to 1."""
    import torch

    y = data.y[ctx.rng.permutation(len(data.y))[:DRAWN]]
    component = np.array([ctx.rng.choice(len(points.means), p=points.weights[c]) for c in y])
    noise = ctx.rng.standard_normal((len(y), points.means.shape[1]))
    z = points.means[component] + (points.lower[component] @ noise[:, :, None])[:, :, 0]
    with torch.no_grad():
        found = net.decoder(torch.cat([torch.from_numpy(z.astype(np.float32)), _given(y, data.n_labels)], 1))
    mean, scale = np.split(found.numpy().transpose(0, 2, 3, 1), 2, axis=3)
    u = ctx.rng.uniform(TINY, 1 - TINY, mean.shape)
    odds = np.exp(np.clip(scale, NARROWEST, WIDEST)) * np.log(u / (1 - u))
    wanted = roughness(data.x)
    rough = []
    for calm in CALMS:
        grey = np.clip(np.round((mean + calm * odds + 1) * 127.5), 0, 255).astype(np.uint8)
        rough.append(roughness(levels.values[levels.encode(grey)] if levels.exact else grey))
    return float(np.interp(-wanted, -np.maximum.accumulate(rough[::-1])[::-1], CALMS))


def _given(y: np.ndarray, n_labels: int) -> torch.Tensor:
    """The condition as shares, (n, labels), or (n, 0) without one."""
    import torch

    width = n_labels if n_labels > 1 else 0
    return torch.from_numpy((y[:, None] == np.arange(width)[None]).astype(np.float32))


def _net(config: ImageVaeConfig, size: int, channels: int, levels: Levels, n_labels: int) -> Any:
    """The network, defined where torch is imported."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    from assay.nn.sequential import Double, Reshape

    g, w, k = (n_labels if n_labels > 1 else 0), config.width, size // 4
    values = size**2 * channels
    at = levels.values.astype(np.float32) / 127.5 - 1.0
    between = (at[1:] + at[:-1]) / 2

    class Net(nn.Module):
        level: Tensor
        begins: Tensor
        ends: Tensor

        def __init__(self) -> None:
            super().__init__()
            edges = np.concatenate([[-FAR], between, [FAR]]).astype(np.float32)
            for name, held in (("level", at), ("begins", edges[:-1]), ("ends", edges[1:])):
                self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(held)))
            if values <= DENSE:
                wide = 8 * w
                self.encoder = nn.Sequential(
                    nn.Flatten(), nn.Linear(values, wide), nn.GELU(), nn.Dropout(config.dropout),
                    nn.Linear(wide, wide), nn.GELU(),
                )  # fmt: skip
                self.heads = nn.Linear(wide + g, 2 * config.latent)
                self.decoder = nn.Sequential(
                    nn.Linear(config.latent + g, wide), nn.GELU(), nn.Dropout(config.dropout),
                    nn.Linear(wide, wide), nn.GELU(), nn.Linear(wide, 2 * values),
                    Reshape(2 * channels, size, size),
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
                nn.Conv2d(w, 2 * channels, 1),
            )  # fmt: skip

        def encode(self, codes: torch.Tensor, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = self.level[codes.permute(0, 3, 1, 2)]
            mean, log_var = self.heads(torch.cat([self.encoder(x), given], 1)).chunk(2, 1)
            return mean, log_var.clamp(-10.0, 5.0)

        def log_p(self, codes: torch.Tensor, z: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
            """(B,) log probability of the levels."""
            mean, scale = self.decoder(torch.cat([z, given], 1)).chunk(2, 1)
            codes = codes.permute(0, 3, 1, 2)
            steep = torch.exp(-scale.clamp(NARROWEST, WIDEST))
            above, below = (self.ends[codes] - mean) * steep, (self.begins[codes] - mean) * steep
            # log(sigmoid(a) - sigmoid(b)) = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a))
            inside = torch.log1p(-torch.exp((below - above).clamp_max(-1e-6)))
            return (F.logsigmoid(above) + F.logsigmoid(-below) + inside).sum((1, 2, 3))

        def forward(self, codes: torch.Tensor, given: torch.Tensor, beta: float) -> torch.Tensor:
            mean, log_var = self.encode(codes, given)
            z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
            kl = 0.5 * (mean**2 + log_var.exp() - 1.0 - log_var).sum(1)
            return (beta * kl - self.log_p(codes, z, given)).mean()

        def bound(
            self, codes: torch.Tensor, given: torch.Tensor, k: int, generator: torch.Generator,
            prior: Callable[[torch.Tensor], torch.Tensor] | None = None,
        ) -> torch.Tensor:  # fmt: skip
            """A lower bound on log p of every picture, from k latent codes each; (B,).  prior: log density of codes up to
            the constant of a normal one, which it is if not given."""
            mean, log_var = self.encode(codes, given)
            found = []
            for _ in range(k):
                noise = torch.randn(mean.shape, generator=generator, device=mean.device)
                z = mean + noise * (0.5 * log_var).exp()
                before, after = -0.5 * (z**2).sum(1) if prior is None else prior(z), -0.5 * (noise**2 + log_var).sum(1)
                found.append(self.log_p(codes, z, given) + before - after)
            return torch.logsumexp(torch.stack(found), 0) - float(np.log(k))

    return Net()


family = ImageVae()

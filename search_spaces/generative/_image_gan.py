"""What the two adversarial families of pictures share: networks, game and graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from assay.families import TrialContext
from assay.generation.parts import Inputs, Pictures, joined, one_hot

if TYPE_CHECKING:
    import torch

    from assay.generation.pixels import Levels
    from assay.training.adversarial import Game

COMPONENTS = 32  # principal ones, in which epochs are scored
JUDGED = 512
SLOPE = 0.2
PER_EPOCH = 10  # steps of the maker between two looks at what it makes
WORTH = 1500  # steps from which pictures are worth looking at
AVERAGE = 0.995  # decay of the averaged weights: they are those of some hundreds of steps
BLUR = 0.1  # deviation of the noise on what a critic sees, of values in -1..1


@dataclass(frozen=True)
class Nets:
    """dropout: of the critic."""

    latent: int
    width: int
    dropout: float


@dataclass(frozen=True, eq=False)
class ImageGan:
    """maker: a Sequential from noise and condition to [N, C, S, S] in -1..1."""

    maker: Any
    levels: Levels
    n_labels: int
    noise: int
    uniform: int = 0

    def bits(self, data: Pictures) -> float:
        return float("nan")

    def emit(self, inputs: Inputs) -> str:
        from assay.generation.pixels import emit_snapped
        from assay.nn.sequential import emit_sequential

        s = inputs.scope
        start = [inputs.noise] + ([one_hot(s, inputs.given, self.n_labels)] if self.n_labels > 1 else [])
        out = s.add("Transpose", emit_sequential(s, self.maker, joined(s, start)), perm=[0, 2, 3, 1])
        grey = s.add("Mul", s.add("Add", out, s.const(np.float32(1))), s.const(np.float32(127.5)))
        return emit_snapped(s, grey, self.levels)


def seconds(epochs: int, batch: int, width: int, critic_steps: int, dear: float) -> float:
    """Training cuts itself to the time there is: what counts is from when on it is worth having.  dear: what a critic step
    costs, in units of a plain one."""
    return 2.0 + min(WORTH, epochs * PER_EPOCH) * (5e-3 + 1.5e-4 * batch * (width / 32)) * (1 + critic_steps * dear)


def fit_game(nets: Nets, game: Game, batch_size: int, data: Pictures, ctx: TrialContext) -> ImageGan:
    """Raises Diverged for a game that diverges or collapses."""
    import torch

    from assay.generation.pixels import fit_levels
    from assay.metrics.generation import Made, Real, frechet
    from assay.training.adversarial import play

    torch.manual_seed(ctx.seed)
    g = data.n_labels if data.n_labels > 1 else 0
    maker = _maker(nets, data.size, data.channels, g)
    critic = _critic(nets, data.size, data.channels, g)
    x = torch.from_numpy(data.x).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    given = torch.from_numpy((data.y[:, None] == np.arange(g)[None]).astype(np.float32))
    x, given = x.to(ctx.device), given.to(ctx.device)
    n, size = len(x), min(batch_size, len(x))
    flat = data.x.reshape(n, -1)[:4000].astype(np.float32) / 127.5 - 1.0
    mean = flat.mean(0)
    directions = np.linalg.svd(flat - mean, full_matrices=False)[2][:COMPONENTS].T
    held = (data.x_valid.reshape(len(data.x_valid), -1)[:JUDGED].astype(np.float32) / 127.5 - 1.0 - mean) @ directions
    held_given = given[torch.arange(max(len(held), min(JUDGED, n))) % n]
    real = Real(held, held, held)

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.from_numpy(np.random.default_rng([ctx.seed, step]).choice(n, size, replace=False)).to(ctx.device)
        return x[rows], given[rows]

    def make(module: torch.nn.Module, condition: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(len(condition), nets.latent, device=condition.device)
        made: torch.Tensor = module(torch.cat([noise, condition], 1))
        return made

    def score(module: torch.nn.Module) -> float:
        made = make(module, held_given).permute(0, 2, 3, 1).flatten(1).cpu().numpy()
        inner = (made - mean) @ directions
        return -frechet(real, Made(inner, inner))

    play(maker, critic, batch, make, score, game, ctx)
    maker.to("cpu")
    return ImageGan(maker, fit_levels(data.x), data.n_labels, nets.latent)


def _maker(nets: Nets, size: int, channels: int, g: int) -> Any:
    """Every other layer doubles the side by repeating pixels, which leaves no checkerboards (Odena et al., Distill 2016)."""
    from torch import nn

    from assay.nn.sequential import Double, Reshape

    w, k = nets.width, size // 4
    return nn.Sequential(
        nn.Linear(nets.latent + g, 2 * w * k * k), Reshape(2 * w, k, k), nn.BatchNorm2d(2 * w), nn.ReLU(),
        Double(), nn.Conv2d(2 * w, 2 * w, 3, padding=1), nn.BatchNorm2d(2 * w), nn.ReLU(),
        Double(), nn.Conv2d(2 * w, w, 3, padding=1), nn.BatchNorm2d(w), nn.ReLU(),
        nn.Conv2d(w, channels, 3, padding=1), nn.Tanh(),
    )  # fmt: skip


def _critic(nets: Nets, size: int, channels: int, g: int) -> Any:
    """Without batch normalisation, which spoils a penalty of slopes.  The condition is told by its product with what was
    seen (Miyato, Koyama, "cGANs with Projection Discriminator", ICLR 2018)."""
    import torch
    from torch import nn

    w, k = nets.width, size // 4

    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(channels, w, 3, 1, 1), nn.LeakyReLU(SLOPE),
                nn.Conv2d(w, w, 4, 2, 1), nn.LeakyReLU(SLOPE), nn.Dropout(nets.dropout),
                nn.Conv2d(w, 2 * w, 4, 2, 1), nn.LeakyReLU(SLOPE), nn.Dropout(nets.dropout), nn.Flatten(),
            )  # fmt: skip
            self.told = nn.Linear(2 * w * k * k, 1)
            self.kind = nn.Linear(g, 2 * w * k * k, bias=False) if g else None

        def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
            # blurred, so that nothing is told by values that only real pictures have exactly (Sønderby et al., "Amortised
            # MAP Inference for Image Super-Resolution", ICLR 2017)
            seen = self.body(x + BLUR * torch.randn_like(x))
            told: torch.Tensor = self.told(seen)[:, 0]
            return told if self.kind is None else told + (self.kind(condition) * seen).sum(1)

    return Critic()

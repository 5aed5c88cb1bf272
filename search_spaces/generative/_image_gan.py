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
SHIFTED = 8  # a picture is moved by up to this part of its side before the critic sees it


@dataclass(frozen=True)
class Nets:
    """norm: batch normalisation in the critic as well (it spoils a gradient penalty)."""

    latent: int
    width: int
    critic_norm: bool
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
    """The condition is given as pictures of one value each."""
    import torch
    from torch import nn

    w, k = nets.width, size // 4

    def norm(width: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(width)] if nets.critic_norm else []

    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(channels + g, w, 3, 1, 1), nn.LeakyReLU(SLOPE),
                nn.Conv2d(w, w, 4, 2, 1), *norm(w), nn.LeakyReLU(SLOPE), nn.Dropout(nets.dropout),
                nn.Conv2d(w, 2 * w, 4, 2, 1), *norm(2 * w), nn.LeakyReLU(SLOPE), nn.Dropout(nets.dropout),
                nn.Flatten(), nn.Linear(2 * w * k * k, 1),
            )  # fmt: skip

        def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
            x = self.moved(x)
            if g:
                x = torch.cat([x, condition[:, :, None, None].expand(-1, -1, size, size)], 1)
            told: torch.Tensor = self.body(x)
            return told[:, 0]

        def moved(self, x: torch.Tensor) -> torch.Tensor:
            """What is real and what is drawn, moved and blurred alike: few pictures are not learned by heart so soon (Zhao et
            al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020), and nothing is told by values
            that only real pictures have exactly (Sønderby et al., "Amortised MAP Inference", ICLR 2017)."""
            most = max(1, size // SHIFTED)
            down, right = torch.randint(0, 2 * most + 1, (2,)).tolist()
            x = x + BLUR * torch.randn_like(x)
            wide = nn.functional.pad(x, (most, most, most, most), mode="replicate")
            return wide[:, :, down : down + size, right : right + size]

    return Critic()

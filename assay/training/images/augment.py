"""Augmentation of whole batches as tensors: it runs where the net runs, and needs no other library.

Geometry is one affine map a picture, sampled once; colours are arithmetic; mixing changes the targets with the pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_OPERATIONS = (
    "rotate",
    "shear_x",
    "shear_y",
    "zoom",
    "brightness",
    "contrast",
    "colour",
    "solarise",
    "posterise",
    "grey",
)


@dataclass(frozen=True)
class Augment:
    """flip: mirrored left to right with chance 1/2.  crop: shifts up to this share of the side.  rand_n, rand_m: how many
    operations of RandAugment and how strong, 0 to 1.  mixup, cutmix: concentration of the mixing share, 0 for none; with
    both, every batch draws one.  erase: chance that a rectangle is blanked.

    Cubuk et al.: RandAugment. NeurIPS 2020.  Zhang et al.: mixup. ICLR 2018.  Yun et al.: CutMix. ICCV 2019.  Zhong et
    al.: Random Erasing Data Augmentation. AAAI 2020.
    """

    flip: bool = False
    crop: float = 0.1
    rand_n: int = 0
    rand_m: float = 0.3
    mixup: float = 0.0
    cutmix: float = 0.0
    erase: float = 0.0


def augmented(x: Tensor, y: Tensor, plan: Augment, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """x: float (N, 3, side, side), 0 to 255; y: (N, classes) shares.  Both anew."""
    x = _colours(_moved(x, plan, rng), plan, rng)
    if plan.erase > 0:
        x = _erased(x, plan.erase, rng)
    ways = [a for a in ("mixup", "cutmix") if getattr(plan, a) > 0]
    if not ways or len(x) < 2:
        return x, y
    way = ways[int(_uniform(1, rng, x.device)[0] * len(ways)) % len(ways)]
    return _mixed(x, y, way, getattr(plan, way), rng)


def _uniform(n: int, rng: torch.Generator, device: torch.device) -> Tensor:
    return torch.rand(n, generator=rng).to(device)


def _moved(x: Tensor, plan: Augment, rng: torch.Generator) -> Tensor:
    """Mirror, shift, and RandAugment's rotations, shears and zooms in one map; border pixels go on outside."""
    n, side = len(x), x.shape[-1]
    turns = plan.rand_n > 0
    if plan.flip:
        mirrored = _uniform(n, rng, x.device) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
    if not turns:
        reach = round(plan.crop * side)
        return _shifted(x, reach, rng) if reach else x
    chance = plan.rand_n / len(_OPERATIONS)

    def drawn(most: float) -> Tensor:
        on = _uniform(n, rng, x.device) < chance
        return torch.where(on, (2 * _uniform(n, rng, x.device) - 1) * most * plan.rand_m, 0.0)

    angle, shear_x, shear_y, zoom = drawn(math.pi / 3), drawn(0.6), drawn(0.6), torch.exp2(drawn(0.8))
    dx, dy = ((2 * _uniform(n, rng, x.device) - 1) * 2 * plan.crop for _ in range(2))
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    top = torch.stack([cos + shear_y * -sin, cos * shear_x - sin, dx], 1)
    bottom = torch.stack([sin + shear_y * cos, sin * shear_x + cos, dy], 1)
    grid = F.affine_grid(torch.stack([top, bottom], 1).to(x.dtype), [n, 1, side, side], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _shifted(x: Tensor, reach: int, rng: torch.Generator) -> Tensor:
    """Whole pixels, by indexing: much quicker than sampling."""
    n, side = len(x), x.shape[-1]
    span = torch.arange(side, device=x.device)
    by = torch.randint(-reach, reach + 1, (2, n, 1), generator=rng).to(x.device)
    rows, columns = ((span + b).clamp(0, side - 1) for b in by)
    x = x.gather(2, rows[:, None, :, None].expand(-1, x.shape[1], -1, side))
    return x.gather(3, columns[:, None, None, :].expand(-1, x.shape[1], side, -1))


def _colours(x: Tensor, plan: Augment, rng: torch.Generator) -> Tensor:
    if plan.rand_n == 0:
        return x
    n = len(x)
    chance = plan.rand_n / len(_OPERATIONS)

    def on() -> Tensor:
        return (_uniform(n, rng, x.device) < chance)[:, None, None, None]

    def amount() -> Tensor:
        return ((2 * _uniform(n, rng, x.device) - 1) * 0.9 * plan.rand_m)[:, None, None, None]

    grey = x.mean(1, keepdim=True)
    x = torch.where(on(), x * (1 + amount()), x)
    x = torch.where(on(), (x - x.mean((1, 2, 3), keepdim=True)) * (1 + amount()) + x.mean((1, 2, 3), keepdim=True), x)
    x = torch.where(on(), grey + (x - grey) * (1 + amount()), x)
    x = torch.where(on(), torch.where(x > 255 * (1 - 0.5 * plan.rand_m), 255 - x, x), x)
    step = 2.0 ** round(1 + 4 * plan.rand_m)
    x = torch.where(on(), (x / step).floor() * step, x)
    return torch.where(on(), grey.expand_as(x), x).clamp(0, 255)


def _erased(x: Tensor, chance: float, rng: torch.Generator) -> Tensor:
    inside = _rectangles(x, 0.02 + 0.25 * _uniform(len(x), rng, x.device), rng)
    inside &= (_uniform(len(x), rng, x.device) < chance)[:, None, None]
    return torch.where(inside[:, None], x.mean((2, 3), keepdim=True), x)


def _rectangles(x: Tensor, share: Tensor, rng: torch.Generator) -> Tensor:
    """bool (N, side, side): a square of this share of the area around a random place."""
    side = x.shape[-1]
    half = 0.5 * side * share.sqrt()
    centre = side * torch.rand((2, len(x)), generator=rng).to(x.device)
    span = torch.arange(side, device=x.device) + 0.5
    rows, columns = ((span[None, :] - c[:, None]).abs() <= half[:, None] for c in centre)
    inside: Tensor = rows[:, :, None] & columns[:, None, :]
    return inside


def _mixed(x: Tensor, y: Tensor, way: str, alpha: float, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    partner = torch.randperm(len(x), generator=rng).to(x.device)
    share = _beta(alpha, rng)
    if way == "mixup":
        return x * share + x[partner] * (1 - share), y * share + y[partner] * (1 - share)
    size = torch.full((len(x),), 1 - share, device=x.device)
    inside = _rectangles(x, size, rng)
    kept = 1 - inside.float().mean((1, 2))[:, None]
    return torch.where(inside[:, None], x[partner], x), y * kept + y[partner] * (1 - kept)


def _beta(alpha: float, rng: torch.Generator) -> float:
    """A draw of Beta(alpha, alpha) by Joehnk's method, for the generator's sake."""
    while True:
        u, v = (torch.rand(2, generator=rng).double() ** (1 / alpha)).tolist()
        if 0 < u + v <= 1:
            return float(u / (u + v))

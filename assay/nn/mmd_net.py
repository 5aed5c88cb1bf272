"""MMD-Net: a net that tells classes and numbers of a picture and segments it, made of three sub-networks.

The *backbone* reads the picture, the *auxiliary* net reads side information (columns beside the picture, and fixed
descriptors of it: oriented gradients and colours), and heads on both together answer what is told of the whole picture.
The *segmentation* net is a U-Net over the picture whose every level takes in the backbone's maps, and whose deepest
level takes in the auxiliary net's answer.  So that it can be trained on frozen features, these are a value of their own
(`features`), which may come out of a cache.

No paper describes a model of this name and design; the parts are those of He et al.: Deep Residual Learning (CVPR 2016),
or Tan, Le: EfficientNet (ICML 2019), Dalal, Triggs: Histograms of Oriented Gradients (CVPR 2005) and Ronneberger et al.: U-Net (MICCAI 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from assay.model.graph import Scope
from assay.nn.conv2d import TORCH, Backbone, Maps, ScopeMaps, Unit, Value
from assay.nn.images.fixed import Gradients
from assay.nn.images.lite import CHANNELS, FEATURES, pretrained

DESCRIBED = 48  # pixels of the side that descriptors are made of, at least
SUMMED = 96  # pictures that the scale of a pretrained backbone's summary is taken from
GUIDED = 2  # maps of the backbone, the finest ones, that stage one asks where things are
BOUND = 10.0  # columns beside the picture are scaled, so this is ten deviations
_SHIFT = np.full((1, 3, 1, 1), -118.0, np.float32)
_FACTOR = np.full((1, 3, 1, 1), 1.0 / 60.0, np.float32)


@dataclass(frozen=True)
class Sizes:
    """backbone: "own", drawn anew, or "pretrained", EfficientNet-Lite0.  side: of the square that is sent; shrink: by which it is made smaller for the net.  columns: beside the picture.
    outputs: of all heads but the mask.  classes: of the mask, 0 without one.  hidden: of the auxiliary net."""

    side: int
    shrink: int
    columns: int
    outputs: int
    classes: int
    width: int = 16
    blocks: int = 1
    hidden: int = 64
    dropout: float = 0.2
    backbone: str = "own"


@dataclass(frozen=True, eq=False)
class Seen:
    """What does not depend on what is learned beside a backbone: its maps at strides 4, 8, ..., their summary (N, d), and
    the descriptors with the columns (N, e)."""

    maps: list[Value]
    pooled: Value
    described: Value


@dataclass(frozen=True, eq=False)
class Features:
    """What the backbone and the auxiliary net make of pictures: maps, their summary, and the auxiliary's answer."""

    maps: list[Value]
    pooled: Value
    aside: Value


class MmdNet(nn.Module):
    """Modules by part: `backbone`, `auxiliary`, `heads`, `segmenter`.  `fix` freezes parts, their norms in evaluation mode."""

    mean: Tensor
    scale: Tensor
    middle: Tensor
    spread: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        seen = sizes.side // sizes.shrink
        w = sizes.width
        own = (w, 2 * w, 4 * w, 4 * w) if seen >= 48 else (w, 2 * w, 4 * w)
        self.backbone: OwnBackbone | PretrainedBackbone
        if sizes.backbone == "pretrained":
            self.backbone = PretrainedBackbone(len(own) - 1)
        else:
            self.backbone = OwnBackbone((*own[:-1], 2 * own[-1]), sizes.blocks)
        taken, summary = self.backbone.channels, self.backbone.summary
        self.register_buffer("middle", torch.zeros(summary))
        self.register_buffer("spread", torch.ones(summary))
        self.pool = max(k for k in (1, 2, 3, 4) if seen % k == 0 and (k == 1 or seen // k >= DESCRIBED))
        small = seen // self.pool
        self.gradients = Gradients(small, tuple(c for c in (8, 16) if c <= small) or (small,), 8)
        with torch.no_grad():
            d = self.gradients.compute(TORCH, torch.zeros(1, 3, small, small)).shape[1]
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))
        self.auxiliary = nn.ModuleDict(
            {"in": nn.Linear(d + sizes.columns, sizes.hidden), "drop": nn.Dropout(sizes.dropout)}
        )
        self.heads = nn.Linear(summary + sizes.hidden, sizes.outputs) if sizes.outputs else None
        self.drop = nn.Dropout(sizes.dropout)
        self.segmenter = Segmenter(own, taken, sizes.hidden, sizes.classes, sizes.dropout) if sizes.classes else None
        # what stage one learns of the mask with; no answer comes from it
        guided = self.backbone.channels[:GUIDED] if sizes.outputs and sizes.classes else ()
        self.guides = nn.ModuleList(nn.Conv2d(c, sizes.classes, 1) for c in guided)
        self.fixed: tuple[nn.Module, ...] = ()

    # -- training

    def fit_descriptors(self, pictures: Tensor) -> None:
        """Centre and scale of the descriptors.  pictures: uint8 (n, 3, seen, seen) of the training pictures."""
        with torch.no_grad():
            found = torch.cat([self.described(TORCH, part.float()) for part in pictures.split(32)])
        spread = found.double().std(0, correction=0)
        usual = max(1e-6, float(spread.square().mean().sqrt()))
        self.mean.copy_(found.mean(0))
        self.scale.copy_(1.0 / spread.clamp_min(usual))
        if isinstance(self.backbone, PretrainedBackbone):
            some = pictures[:: max(1, len(pictures) // SUMMED)]
            with torch.no_grad():
                summed = torch.cat([self.backbone.compute(TORCH, part.float())[1] for part in some.split(16)])
            self.middle.copy_(summed.mean(0))
            self.spread.copy_(1.0 / summed.std(0, correction=0).clamp_min(0.05))

    def fix(self, *parts: nn.Module) -> None:
        """Freeze these parts and no others."""
        self.fixed = parts
        frozen = {id(p) for part in parts for p in part.parameters()}
        for p in self.parameters():
            p.requires_grad_(id(p) not in frozen)
        self.train(self.training)

    def guided(self, maps: Sequence[Tensor], masks: Tensor) -> Tensor:
        """How well the backbone's finest maps tell shares of classes in their squares: cross-entropy in units of log
        classes.  masks: int64 (N, seen, seen), 255 for none."""
        classes = self.sizes.classes
        hot = nn.functional.one_hot(masks.clamp_max(classes), classes + 1)[..., :classes].permute(0, 3, 1, 2).float()
        total = torch.zeros(())
        for found, guide in zip(maps, self.guides, strict=False):
            share = nn.functional.adaptive_avg_pool2d(hot, (found.shape[-2], found.shape[-1]))
            value = -(share * guide(found).log_softmax(1)).sum() / share.sum().clamp_min(1.0)
            total = total + value / len(self.guides)
        return total / float(np.log(max(2, classes)))

    def train(self, mode: bool = True) -> MmdNet:
        super().train(mode)
        for part in self.fixed:
            part.eval()
        return self

    # -- what it computes, on tensors or as nodes

    def features(self, ops: Maps, x: Value, beside: Value | None) -> Features:
        """x: float (N, 3, seen, seen), 0 to 255; beside: float (N, columns)."""
        return self.aside(ops, self.seen(ops, x, beside))

    def seen(self, ops: Maps, x: Value, beside: Value | None) -> Seen:
        maps, pooled = self.backbone.compute(ops, x)
        pooled = ops.mul(ops.add(pooled, ops.const(-self.middle[None])), ops.const(self.spread[None]))
        told = ops.mul(
            ops.add(self.described(ops, x), ops.const(-self.mean[None])),
            ops.const(self.scale[None] / len(self.mean) ** 0.5),
        )
        if self.sizes.columns:
            told = ops.concat([told, ops.clip(beside, -BOUND, BOUND)], 1)
        return Seen(maps, pooled, told)

    def aside(self, ops: Maps, seen: Seen) -> Features:
        """With the auxiliary net's answer."""
        hidden = ops.relu(ops.linear(ops.dropout(seen.described, self.auxiliary["drop"]), self.auxiliary["in"]))
        return Features(seen.maps, seen.pooled, hidden)

    def described(self, ops: Maps, x: Value) -> Value:
        return self.gradients.compute(ops, ops.avg_pool(x, self.pool, self.pool) if self.pool > 1 else x)

    def told(self, ops: Maps, found: Features) -> Value:
        """Raw answers for the whole picture, (N, outputs)."""
        both = ops.concat([found.pooled, found.aside], 1)
        return ops.linear(ops.dropout(both, self.drop), self.heads)

    def mask(self, ops: Maps, x: Value, found: Features) -> Value:
        """Logits of every pixel that the net sees, (N, classes, seen, seen)."""
        assert self.segmenter is not None
        return self.segmenter.compute(ops, _scaled(ops, x), found)

    def answers(self, ops: Maps, x: Value, beside: Value | None, wanted: Sequence[str]) -> list[Value]:
        """Of `told` and `mask`; the mask as probabilities at the size of the square.  x: float (N, 3, side, side)."""
        k = self.sizes.shrink
        small = ops.avg_pool(x, k, k) if k > 1 else x
        found = self.features(ops, small, beside)
        out = []
        if "told" in wanted:
            out.append(self.told(ops, found))
        if "mask" in wanted:
            logits = self.mask(ops, small, found)
            out.append(ops.channel_softmax(ops.grown(logits, k) if k > 1 else logits))
        return out

    def emit(self, scope: Scope, pixels: str, beside: str | None, wanted: Sequence[str]) -> list[str]:
        """pixels: uint8 (N, side, side, 3)."""
        ops = ScopeMaps(scope)
        return [str(v) for v in self.answers(ops, ops.pixels(pixels), beside, wanted)]


def _scaled(ops: Maps, x: Value) -> Value:
    return ops.mul(ops.add(x, ops.const(_SHIFT)), ops.const(_FACTOR))


class OwnBackbone(Backbone):
    """A small residual net.  widths: at strides 2, 4, ..."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__(widths, blocks)
        self.channels, self.summary = tuple(widths[1:]), widths[-1]

    def compute(self, ops: Maps, x: Value) -> tuple[list[Value], Value]:  # type: ignore[override]
        """x: float (N, 3, side, side), 0 to 255 -> maps at strides 4, 8, ... and the means of the last."""
        maps = super().compute(ops, _scaled(ops, x))[1:]
        return maps, ops.mean(maps[-1], (2, 3))


class PretrainedBackbone(nn.Module):
    """EfficientNet-Lite0 with the weights of ImageNet.  levels: how many maps are given, from stride 4 on."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.net = pretrained()
        self.strides = (4, 8, 16)[:levels]
        self.channels, self.summary = tuple(CHANNELS[s] for s in self.strides), FEATURES

    def compute(self, ops: Maps, x: Value) -> tuple[list[Value], Value]:
        *maps, last = self.net.maps(ops, x, (*self.strides, 32))
        return maps, ops.mean(ops.clip(ops.conv(last, self.net.head), 0.0, 6.0), (2, 3))


class Segmenter(nn.Module):
    """own: channels of its levels at strides 2, 4, ...; given: of the backbone's maps at strides 4, 8, ..."""

    def __init__(self, own: Sequence[int], given: Sequence[int], hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.ModuleList([Unit(3, own[0], 3, 2), Unit(own[0], own[0])])
        self.taken = nn.ModuleList(Unit(v, o, 1) for v, o in zip(given, own[1:], strict=True))
        self.down = nn.ModuleList(Unit(a + b, b) for a, b in pairwise(own))
        self.aside = nn.Linear(hidden, own[-1])
        self.joined = Unit(own[-1], own[-1])
        self.up = nn.ModuleList(Unit(own[i + 1] + own[i], own[i]) for i in reversed(range(len(own) - 1)))
        self.drop = nn.Dropout(dropout)
        self.head = nn.Conv2d(own[0], classes, 1)

    def compute(self, ops: Maps, x: Value, found: Features) -> Value:
        for unit in self.stem:
            x = unit.compute(ops, x)  # type: ignore[operator]
        kept = [x]
        for take, down, given in zip(self.taken, self.down, found.maps, strict=True):
            both = ops.concat([ops.max_pool(x, 2, 2), take.compute(ops, given)], 1)  # type: ignore[operator]
            x = down.compute(ops, both)  # type: ignore[operator]
            kept.append(x)
        width = self.aside.out_features
        x = self.joined.compute(ops, ops.add(x, ops.reshape(ops.linear(found.aside, self.aside), (width, 1, 1))))
        for unit, skip in zip(self.up, reversed(kept[:-1]), strict=True):
            x = unit.compute(ops, ops.concat([ops.doubled(x), skip], 1))  # type: ignore[operator]
        return ops.grown(ops.conv(ops.dropout(x, self.drop), self.head), 2)

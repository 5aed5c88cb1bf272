"""Nets that answer class probabilities for every pixel: U-Net, and DeepLab with an auxiliary head.

An answer is (classes, side, side) probabilities, flattened to one row.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, ClassVar, cast

import numpy as np
from torch import Tensor, nn

from assay.nn.conv2d import TORCH, Backbone, Maps, PictureMaps, Residual, Unit, Value
from assay.nn.pyramids import Pyramid


class Segmenter(PictureMaps):
    """shrink: by which the square is made smaller first; the answer has the square's size.  drop: of the last features.
    across: pixels of the square's side, for answers to mirrored pictures."""

    turns: ClassVar[bool] = True

    def __init__(self, classes: int, shrink: int, drop: float) -> None:
        super().__init__()
        self.classes, self.shrink, self.across = classes, shrink, 0
        self.drop = nn.Dropout(drop)

    def compute(self, ops: Maps, x: Value) -> Value:
        small = ops.avg_pool(x, self.shrink, self.shrink) if self.shrink > 1 else x
        logits = self.logits(ops, self.scaled(ops, small))[0]
        grown = ops.grown(logits, self.shrink) if self.shrink > 1 else logits
        return ops.reshape(ops.channel_softmax(grown), (-1,))

    def scaled(self, ops: Maps, x: Value) -> Value:
        return ops.mul(ops.add(x, ops.const(_SHIFT)), ops.const(_FACTOR))

    def turned_back(self, ops: Maps, answer: Value) -> Value:
        rows = ops.mirrored(ops.reshape(answer, (-1, self.across)))
        return ops.reshape(rows, (-1,))

    def logits(self, ops: Maps, x: Value) -> list[Value]:
        """At the size of x, (N, classes, h, w); then those of auxiliary heads."""
        raise NotImplementedError

    def told(self, x: Tensor) -> Any:
        """`logits` of training pictures, float (N, 3, side, side), already small."""
        return self.logits(TORCH, self.scaled(TORCH, x))


class UNet(Segmenter):
    """Ronneberger, Fischer, Brox: U-Net. MICCAI 2015.

    Changed: batch norms, and with `stride` 2 the first maps are at half the size and the logits are grown once.
    """

    def __init__(self, classes: int, shrink: int, drop: float, width: int, depth: int, stride: int) -> None:
        super().__init__(classes, shrink, drop)
        self.stride = stride
        widths = [min(width * 2**i, 8 * width) for i in range(depth + 1)]
        self.down = nn.ModuleList(
            nn.ModuleList([Unit(a, b, 3, stride if i == 0 else 1), Unit(b, b)])
            for i, (a, b) in enumerate(zip([3, *widths[:-1]], widths, strict=True))
        )
        self.up = nn.ModuleList(Unit(widths[i + 1] + widths[i], widths[i]) for i in reversed(range(depth)))
        self.head = nn.Conv2d(widths[0], classes, 1)

    def logits(self, ops: Maps, x: Value) -> list[Value]:
        kept: list[Value] = []
        for i, pair in enumerate(self.down):
            x = x if i == 0 else ops.max_pool(x, 2, 2)
            for unit in pair:  # type: ignore[attr-defined]
                x = unit.compute(ops, x)
            kept.append(x)
        for unit, skip in zip(self.up, reversed(kept[:-1]), strict=True):
            x = unit.compute(ops, ops.concat([ops.doubled(x), skip], 1))  # type: ignore[operator]
        out = ops.conv(ops.dropout(x, self.drop), self.head)
        return [ops.grown(out, self.stride) if self.stride > 1 else out]


class DeepLab(Segmenter):
    """Chen et al.: Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation. ECCV 2018.

    Changed: a small residual net whose last stage is dilated at stride 8, plain convolutions, and an auxiliary head on the
    stage before (Zhao et al.: Pyramid Scene Parsing Network. CVPR 2017), which is not delivered.
    """

    RATES = (1, 3, 6)

    def __init__(self, classes: int, shrink: int, drop: float, width: int, blocks: int) -> None:
        super().__init__(classes, shrink, drop)
        self.backbone = Backbone((width, width, 2 * width, 4 * width), blocks)
        wide = 2 * width
        last = cast(nn.Sequential, self.backbone.stages[-1])
        self.backbone.stages = self.backbone.stages[:-1]
        self.last = nn.ModuleList(
            Residual(2 * width if i == 0 else 4 * width, 4 * width, 1, 2) for i in range(len(last))
        )
        self.branches = nn.ModuleList(Unit(4 * width, wide, 1 if r == 1 else 3, 1, r) for r in self.RATES)
        self.whole = nn.Conv2d(4 * width, wide, 1)
        self.joined = Unit(wide * (len(self.RATES) + 1), wide, 1)
        self.low = Unit(width, width, 1)
        self.refine = Unit(wide + width, wide)
        self.head = nn.Conv2d(wide, classes, 1)
        self.side_head = nn.Conv2d(2 * width, classes, 1)

    def logits(self, ops: Maps, x: Value) -> list[Value]:
        maps = self.backbone.compute(ops, x)  # strides 2, 4, 8
        h = maps[-1]
        for block in self.last:
            h = block.compute(ops, h)  # type: ignore[operator]
        parts = [b.compute(ops, h) for b in self.branches]  # type: ignore[operator]
        parts.append(ops.spread(ops.relu(ops.conv(ops.mean(h, (2, 3), keep=True), self.whole)), h))
        h = self.joined.compute(ops, ops.concat(parts, 1))
        h = self.refine.compute(ops, ops.concat([ops.grown(h, 2), self.low.compute(ops, maps[1])], 1))
        out = ops.grown(ops.conv(ops.dropout(h, self.drop), self.head), 4)
        if not self.training:
            return [out]
        return [out, ops.grown(ops.conv(maps[-1], self.side_head), 8)]


class PyramidUNet(Segmenter):
    """The expanding half of a U-Net over the maps of a pyramid, with the mean of the whole picture told to its middle.

    pyramid: maps at strides `finest`, twice that, ... 32.  widths: of the expanding half, from stride 32 to the finest.
    """

    def __init__(
        self, classes: int, shrink: int, drop: float, pyramid: Pyramid, widths: tuple[int, ...], finest: int
    ) -> None:
        super().__init__(classes, shrink, drop)
        self.pyramid, self.finest = pyramid, finest
        channels = pyramid.channels[::-1]
        self.inward = Unit(channels[0], widths[0], 1)
        self.whole = nn.Conv2d(channels[0], widths[0], 1)
        self.skips = nn.ModuleList(Unit(c, w, 1) for c, w in zip(channels[1:], widths[1:], strict=True))
        self.up = nn.ModuleList(Unit(a + b, b) for a, b in pairwise(widths))
        self.head = nn.Conv2d(widths[-1], classes, 3, padding=1)
        self.side_head = nn.Conv2d(widths[0], classes, 1)

    def scaled(self, ops: Maps, x: Value) -> Value:
        return x

    def factor_of(self, name: str) -> float:
        """By what the learning rate of a parameter is multiplied: less for what was trained before."""
        return self.pyramid.factor_of(name.removeprefix("pyramid.")) if name.startswith("pyramid.") else 1.0

    def logits(self, ops: Maps, x: Value) -> list[Value]:
        *finer, last = self.pyramid.compute(ops, x)
        middle = ops.relu(ops.conv(ops.mean(last, (2, 3), keep=True), self.whole))
        h = first = ops.add(self.inward.compute(ops, last), ops.spread(middle, last))
        for skip, up, fine in zip(self.skips, self.up, reversed(finer), strict=True):
            h = up.compute(ops, ops.concat([ops.doubled(h), skip.compute(ops, fine)], 1))  # type: ignore[operator]
        out = ops.grown(ops.conv(ops.dropout(h, self.drop), self.head), self.finest)
        if not self.training:
            return [out]
        return [out, ops.grown(ops.conv(first, self.side_head), 32)]


_SHIFT = np.full((1, 3, 1, 1), -118.0, np.float32)
_FACTOR = np.full((1, 3, 1, 1), 1.0 / 60.0, np.float32)

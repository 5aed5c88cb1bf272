"""Nets over maps: what detectors and segmenters share, written once for torch and for the graph.

`TorchMaps` and `ScopeMaps` add to the operations of `assay.nn.ops` those that keep a picture a picture: growing it again,
dilated convolutions, and functions of every place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.model.graph import Scope
from assay.nn.ops import Ops, ScopeOps, TorchOps, Value, _array


class TorchMaps(TorchOps):
    """On tensors."""

    def sigmoid(self, x: Tensor) -> Tensor:
        return x.sigmoid()

    def softplus(self, x: Tensor) -> Tensor:
        return F.softplus(x)

    def sub(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b

    def grown(self, x: Tensor, factor: int) -> Tensor:
        """(N, c, h, w) -> (N, c, factor * h, factor * w), bilinear."""
        return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)

    def doubled(self, x: Tensor) -> Tensor:
        """Every place four times."""
        return F.interpolate(x, scale_factor=2.0, mode="nearest")

    def spread(self, x: Tensor, like: Tensor) -> Tensor:
        """(N, c, 1, 1) to the size of another map."""
        return x + 0.0 * like[:, :1]

    def channel_softmax(self, x: Tensor) -> Tensor:
        return x.softmax(1)

    def mirrored(self, x: Tensor) -> Tensor:
        """The last axis the other way round."""
        return x.flip(-1)

    def picked(self, x: Tensor, places: np.ndarray, axis: int) -> Tensor:
        """places: int64 positions along an axis."""
        return x.index_select(axis, torch.from_numpy(places))

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(2 N, ...) -> (N, ...) and (N, ...)"""
        first, second = x.chunk(2, 0)
        return first, second

    def dilated(self, x: Tensor, conv: nn.Conv2d, norm: nn.Module) -> Tensor:
        return self.conv(x, conv, norm)


class ScopeMaps(ScopeOps):
    """As nodes."""

    def sigmoid(self, x: str) -> str:
        return self.scope.add("Sigmoid", x)

    def softplus(self, x: str) -> str:
        return self.scope.add("Softplus", x)

    def sub(self, a: str, b: str) -> str:
        return self.scope.add("Sub", a, b)

    def grown(self, x: str, factor: int) -> str:
        sizes = self.scope.const(np.array([1, 1, factor, factor], np.float32))
        return self.scope.add("Resize", x, "", sizes, mode="linear", coordinate_transformation_mode="half_pixel")

    def doubled(self, x: str) -> str:
        sizes = self.scope.const(np.array([1, 1, 2, 2], np.float32))
        return self.scope.add(
            "Resize", x, "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )

    def spread(self, x: str, like: str) -> str:
        one = [self.scope.const(np.array([v], np.int64)) for v in (0, 1, 1)]
        nothing = self.scope.add("Mul", self.scope.add("Slice", like, *one), self.scope.const(np.float32(0)))
        return self.scope.add("Add", x, nothing)

    def channel_softmax(self, x: str) -> str:
        return self.scope.add("Softmax", x, axis=1)

    def mirrored(self, x: str) -> str:
        one = [self.scope.const(np.array([v], np.int64)) for v in (-1, np.iinfo(np.int64).min, -1, -1)]
        return self.scope.add("Slice", x, *one)

    def picked(self, x: str, places: np.ndarray, axis: int) -> str:
        return self.scope.add("Gather", x, self.scope.const(places.astype(np.int64)), axis=axis)

    def halves(self, x: str) -> tuple[str, str]:
        first, second = self.scope.add_many("Split", x, axis=0, num_outputs=2, outputs=2)
        return first, second

    def dilated(self, x: str, conv: nn.Conv2d, norm: nn.Module) -> str:
        """A convolution with holes and its batch norm."""
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_var is not None and norm.running_mean is not None
        weight = _array(conv.weight).astype(np.float64)
        scale = _array(norm.weight).astype(np.float64) / np.sqrt(_array(norm.running_var) + norm.eps)
        bias = _array(norm.bias) - _array(norm.running_mean) * scale
        k, d = int(conv.kernel_size[0]), int(conv.dilation[0])
        return self.scope.add(
            "Conv", x, self.scope.const((weight * scale[:, None, None, None]).astype(np.float32)),
            self.scope.const(bias.astype(np.float32)), kernel_shape=[k, k], strides=[1, 1], dilations=[d, d],
            pads=[d * (k // 2)] * 4,
        )  # fmt: skip


Maps = Any  # TorchMaps | ScopeMaps
TORCH = TorchMaps()


class PictureMaps(nn.Module):
    """A net over pictures.  Subclasses give `body(ops, x)`, x scaled to about -2 to 2, (N, 3, side, side).

    turns: whether its answers to mirrored pictures can be turned back.
    """

    turns: ClassVar[bool] = False

    def compute(self, ops: Maps, x: Value) -> Value:
        """x: float (N, 3, side, side), 0 to 255."""
        return self.body(ops, ops.mul(ops.add(x, ops.const(_SHIFT)), ops.const(_FACTOR)))

    def body(self, ops: Maps, x: Value) -> Value:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """x: float (N, 3, side, side), 0 to 255."""
        out: Tensor = self.compute(TORCH, x)
        return out

    def both_ways(self, ops: Maps, x: Value) -> Value:
        """The mean of what is answered of the pictures and, turned back, of the mirrored ones."""
        plain, other = ops.halves(self.compute(ops, ops.concat([x, ops.mirrored(x)], 0)))
        half = ops.const(np.array(0.5, np.float32))
        return ops.mul(ops.add(plain, self.turned_back(ops, other)), half)

    def turned_back(self, ops: Maps, answer: Value) -> Value:
        """The answer to mirrored pictures as one to the pictures, of a net that `turns`."""
        raise NotImplementedError

    def emit(self, scope: Scope, x: str) -> str:
        """x: uint8 (N, side, side, 3)."""
        ops = ScopeMaps(scope)
        return str(self.compute(ops, ops.pixels(x)))


_SHIFT = np.full((1, 3, 1, 1), -118.0, np.float32)
_FACTOR = np.full((1, 3, 1, 1), 1.0 / 60.0, np.float32)


class Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, i: int, o: int, k: int = 3, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, k, stride, dilation * (k // 2), dilation, bias=False)
        self.norm = nn.BatchNorm2d(o)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def compute(self, ops: Maps, x: Value) -> Value:
        if self.conv.dilation != (1, 1):
            return ops.relu(ops.dilated(x, self.conv, self.norm))
        return ops.relu(ops.conv(x, self.conv, self.norm))


class Residual(nn.Module):
    """Two convolutions beside a short cut.  He, Zhang, Ren, Sun: Deep Residual Learning.  CVPR 2016."""

    def __init__(self, i: int, o: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.first = Unit(i, o, 3, stride, dilation)
        self.conv, self.norm = nn.Conv2d(o, o, 3, 1, dilation, dilation, bias=False), nn.BatchNorm2d(o)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        nn.init.constant_(self.norm.weight, 0.2)  # a block starts near its short cut
        changes = i != o or stride != 1
        self.cut = nn.Conv2d(i, o, 1, stride, bias=False) if changes else None
        self.cut_norm = nn.BatchNorm2d(o) if changes else None

    def compute(self, ops: Maps, x: Value) -> Value:
        inner = self.first.compute(ops, x)
        plain = self.conv.dilation == (1, 1)
        branch = ops.conv(inner, self.conv, self.norm) if plain else ops.dilated(inner, self.conv, self.norm)
        short = x if self.cut is None else ops.conv(x, self.cut, self.cut_norm)
        return ops.relu(ops.add(branch, short))


class Backbone(nn.Module):
    """A small residual net.  Answers its maps at strides 2, 4, 8, 16 (and 32), the finest first.

    widths: channels by stage.  blocks: residual blocks in each stage after the first.
    """

    def __init__(self, widths: Sequence[int], blocks: int = 1) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.stem = Unit(3, widths[0], 3, 2)
        self.stages = nn.ModuleList()
        for a, b in pairwise(widths):
            stage = [Residual(a, b, 2), *(Residual(b, b) for _ in range(blocks - 1))]
            self.stages.append(nn.ModuleList(stage))

    def compute(self, ops: Maps, x: Value) -> list[Value]:
        x = self.stem.compute(ops, x)
        found = [x]
        for stage in self.stages:
            for block in stage:  # type: ignore[attr-defined]
                x = block.compute(ops, x)
            found.append(x)
        return found


__all__ = ["TORCH", "Backbone", "Maps", "Ops", "PictureMaps", "Residual", "ScopeMaps", "TorchMaps", "Unit", "Value"]

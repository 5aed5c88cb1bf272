"""Nets for pictures: plain convolutions, ResNet, ConvNeXt and a vision transformer, each written once for torch and ONNX.

All take uint8 (N, side, side, 3) and answer logits (N, classes).  `mean` and `deviation` of the training pixels are part of
the net.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assay.nn.ops import Ops, TorchOps, Value

OPS = TorchOps()


class PictureNet(nn.Module):
    """A net with its scaling of pixels.  Subclasses give `body(ops, x)`: scaled pixels (N, 3, side, side) to logits."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("factor", 1.0 / torch.tensor(deviation, dtype=torch.float32).view(1, 3, 1, 1))

    def compute(self, ops: Ops, x: Value) -> Value:
        """x: float (N, 3, side, side), 0 to 255."""
        shift, factor = (self.get_buffer(name) for name in ("shift", "factor"))
        return self.body(ops, ops.mul(ops.add(x, ops.const(-shift)), ops.const(factor)))

    def body(self, ops: Ops, x: Value) -> Value:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """x: float (N, 3, side, side), 0 to 255."""
        out: Tensor = self.compute(OPS, x)
        return out


class DropPath(nn.Module):
    """Leaves out a branch for some pictures.  Huang et al.: Deep Networks with Stochastic Depth. ECCV 2016."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0.0:
            return x
        keep = torch.rand((x.shape[0],) + (1,) * (x.dim() - 1), device=x.device) >= self.share
        return x * keep / (1.0 - self.share)


def _conv(i: int, o: int, k: int = 3, stride: int = 1, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=bias)


class SmallCnn(PictureNet):
    """Convolutions in stages, the resolution halved after each; the last stage goes on at its size with a short cut.

    After the nets of the DAWNBench races (Page: How to Train Your ResNet, 2018), narrower.
    """

    def __init__(self, width: int, depth: int, classes: int, side: int, dropout: float, **scaling: Any) -> None:
        super().__init__(**scaling)
        stages = max(1, min(depth, int(np.log2(max(side, 4))) - 1))
        widths = [width * 2 ** min(i, 3) for i in range(stages + 1)]
        self.stem, self.stem_norm = _conv(3, width), nn.BatchNorm2d(width)
        self.convs = nn.ModuleList(_conv(widths[i], widths[i + 1]) for i in range(stages))
        self.norms = nn.ModuleList(nn.BatchNorm2d(widths[i + 1]) for i in range(stages))
        last = widths[-1]
        self.more = nn.ModuleList([_conv(last, last), _conv(last, last)])
        self.more_norms = nn.ModuleList([nn.BatchNorm2d(last), nn.BatchNorm2d(last)])
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(last, classes)

    def body(self, ops: Ops, x: Value) -> Value:
        x = ops.max_pool(ops.relu(ops.conv(x, self.stem, self.stem_norm)), 2, 2)
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = ops.relu(ops.conv(x, conv, norm))  # type: ignore[arg-type]
            if i + 1 < len(self.convs):
                x = ops.max_pool(x, 2, 2)
        again = x
        for conv, norm in zip(self.more, self.more_norms, strict=True):
            again = ops.relu(ops.conv(again, conv, norm))  # type: ignore[arg-type]
        x = ops.mean(ops.add(x, again), (2, 3))
        return ops.linear(ops.dropout(x, self.drop), self.head)


class _Residual(nn.Module):
    def __init__(self, i: int, o: int, stride: int, drop: float) -> None:
        super().__init__()
        self.a, self.a_norm = _conv(i, o, stride=stride), nn.BatchNorm2d(o)
        self.b, self.b_norm = _conv(o, o), nn.BatchNorm2d(o)
        nn.init.zeros_(self.b_norm.weight)  # a block starts as its short cut
        changes = i != o or stride != 1
        self.cut = _conv(i, o, 1, stride) if changes else None
        self.cut_norm = nn.BatchNorm2d(o) if changes else None
        self.drop = DropPath(drop)

    def compute(self, ops: Ops, x: Value) -> Value:
        branch = ops.conv(ops.relu(ops.conv(x, self.a, self.a_norm)), self.b, self.b_norm)
        short = x if self.cut is None else ops.conv(x, self.cut, self.cut_norm)
        return ops.relu(ops.add(ops.dropout(branch, self.drop), short))


class ResNet(PictureNet):
    """He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition. CVPR 2016; basic blocks, widths by stage.

    Changed: a 3 x 3 stem, with stride 2 for pictures of 24 pixels and more; each second norm of a block starts at zero.
    """

    def __init__(
        self,
        width: int,
        blocks: Sequence[int],
        classes: int,
        side: int,
        drop_path: float,
        dropout: float,
        **scaling: Any,
    ) -> None:
        super().__init__(**scaling)
        self.stem, self.stem_norm = _conv(3, width, stride=2 if side >= 24 else 1), nn.BatchNorm2d(width)
        self.pool = side >= 56
        made: list[_Residual] = []
        total, inner = sum(blocks), width
        for stage, n in enumerate(blocks):
            outer = width * 2**stage
            for i in range(n):
                stride = 2 if stage and not i else 1
                made.append(_Residual(inner, outer, stride, drop_path * len(made) / max(1, total - 1)))
                inner = outer
        self.blocks = nn.ModuleList(made)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(inner, classes)

    def body(self, ops: Ops, x: Value) -> Value:
        x = ops.relu(ops.conv(x, self.stem, self.stem_norm))
        if self.pool:
            x = ops.max_pool(x, 3, 2, 1)
        for block in self.blocks:
            x = block.compute(ops, x)  # type: ignore[operator]
        return ops.linear(ops.dropout(ops.mean(x, (2, 3)), self.drop), self.head)


class _NextBlock(nn.Module):
    def __init__(self, width: int, kernel: int, drop: float) -> None:
        super().__init__()
        self.spread = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))
        self.drop = DropPath(drop)

    def compute(self, ops: Ops, x: Value) -> Value:
        y = ops.layer_norm(ops.transpose(ops.conv(x, self.spread), (0, 2, 3, 1)), self.norm)
        y = ops.linear(ops.gelu(ops.linear(y, self.up)), self.down)
        y = ops.transpose(ops.mul(y, ops.const(self.scale)), (0, 3, 1, 2))
        return ops.add(x, ops.dropout(y, self.drop))


class ConvNext(PictureNet):
    """Liu et al.: A ConvNet for the 2020s. CVPR 2022.

    Changed for small pictures: patches of 2 or 4 pixels, three stages, layer scale from 0.1.
    """

    def __init__(
        self, width: int, blocks: Sequence[int], classes: int, side: int, kernel: int, drop_path: float, dropout: float,
        **scaling: Any,
    ) -> None:  # fmt: skip
        super().__init__(**scaling)
        patch = 4 if side >= 48 else 2
        self.stem, self.stem_norm = nn.Conv2d(3, width, patch, patch), nn.LayerNorm(width, eps=1e-6)
        stages: list[nn.ModuleList] = []
        shrinks: list[nn.Module] = []
        norms: list[nn.Module] = []
        total, done, size, inner = sum(blocks), 0, side // patch, width
        for stage, n in enumerate(blocks):
            if stage:
                stride = 2 if size >= 4 else 1
                norms.append(nn.LayerNorm(inner, eps=1e-6))
                shrinks.append(nn.Conv2d(inner, 2 * inner, stride, stride))
                inner, size = 2 * inner, size // stride
            k = min(kernel, size + 1 - size % 2)
            stages.append(
                nn.ModuleList(_NextBlock(inner, k, drop_path * (done + i) / max(1, total - 1)) for i in range(n))
            )
            done += n
        self.stages, self.shrinks, self.norms = nn.ModuleList(stages), nn.ModuleList(shrinks), nn.ModuleList(norms)
        self.norm = nn.LayerNorm(inner, eps=1e-6)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(inner, classes)
        _init_truncated(self)

    def body(self, ops: Ops, x: Value) -> Value:
        x = _over_channels(ops, ops.conv(x, self.stem), self.stem_norm)
        for i, stage in enumerate(self.stages):
            if i:
                x = ops.conv(_over_channels(ops, x, self.norms[i - 1]), self.shrinks[i - 1])  # type: ignore[arg-type]
            for block in stage:  # type: ignore[attr-defined]
                x = block.compute(ops, x)
        x = ops.layer_norm(ops.mean(x, (2, 3)), self.norm)
        return ops.linear(ops.dropout(x, self.drop), self.head)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, drop: float) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.norm_a, self.norm_b = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.drop = DropPath(drop)

    def compute(self, ops: Ops, x: Value) -> Value:
        y = ops.layer_norm(x, self.norm_a)

        def split(layer: nn.Linear, order: Sequence[int]) -> Value:
            return ops.transpose(ops.reshape(ops.linear(y, layer), (-1, self.heads, self.size)), order)

        query, key = split(self.query, (0, 2, 1, 3)), split(self.key, (0, 2, 3, 1))
        value = split(self.value, (0, 2, 1, 3))  # (N, heads, tokens, size)
        scores = ops.mul(ops.matmul(query, key), ops.const(np.array(self.size**-0.5, np.float32)))
        mixed = ops.transpose(ops.matmul(ops.softmax(scores), value), (0, 2, 1, 3))
        mixed = ops.linear(ops.reshape(mixed, (-1, self.heads * self.size)), self.out)
        x = ops.add(x, ops.dropout(mixed, self.drop))
        y = ops.linear(ops.gelu(ops.linear(ops.layer_norm(x, self.norm_b), self.up)), self.down)
        return ops.add(x, ops.dropout(y, self.drop))


class Vit(PictureNet):
    """Dosovitskiy et al.: An Image is Worth 16x16 Words. ICLR 2021.

    Changed for small data, after Xiao et al.: Early Convolutions Help Transformers See Better (NeurIPS 2021) and Beyer,
    Zhai, Kolesnikov: Better plain ViT baselines for ImageNet-1k (2022): a convolution before the patches, the mean of the
    tokens instead of a class token.
    """

    def __init__(
        self, width: int, depth: int, heads: int, classes: int, side: int, tokens: int, drop_path: float, dropout: float,
        **scaling: Any,
    ) -> None:  # fmt: skip
        super().__init__(**scaling)
        patch = max(1, side // tokens)
        n = side // patch
        self.stem, self.stem_norm = _conv(3, width // 4), nn.BatchNorm2d(width // 4)
        self.patches = nn.Conv2d(width // 4, width, patch, patch)
        self.place = nn.Parameter(torch.randn(1, n * n, width) * 0.02)
        self.width = width
        self.layers = nn.ModuleList(_Attention(width, heads, drop_path * i / max(1, depth - 1)) for i in range(depth))
        self.norm = nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)
        _init_truncated(self)

    def body(self, ops: Ops, x: Value) -> Value:
        x = ops.conv(ops.relu(ops.conv(x, self.stem, self.stem_norm)), self.patches)
        x = ops.transpose(ops.reshape(x, (self.width, -1)), (0, 2, 1))
        x = ops.add(x, ops.const(self.place))
        for layer in self.layers:
            x = layer.compute(ops, x)  # type: ignore[operator]
        x = ops.mean(ops.layer_norm(x, self.norm), (1,))
        return ops.linear(ops.dropout(x, self.drop), self.head)


def _over_channels(ops: Ops, x: Value, norm: nn.Module) -> Value:
    assert isinstance(norm, nn.LayerNorm)
    return ops.transpose(ops.layer_norm(ops.transpose(x, (0, 2, 3, 1)), norm), (0, 3, 1, 2))


def _init_truncated(net: nn.Module) -> None:
    """Linear layers as in transformers: a truncated normal of deviation 0.02, biases zero."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)

"""EfficientNet-Lite0 with the weights of ImageNet that an installed package carries: the start of transfer learning.

Tan, Le: EfficientNet, Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019; "Lite" leaves out what small
devices cannot do (squeeze and excitation) and clips at six.  Batch norms are folded into the convolutions, in training
too: norms that keep what they learnt are the rule where batches are small, and a folded net is quicker.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assay.nn.images.weights import PACKAGE, weights_file
from assay.nn.ops import Ops, TorchOps, Value

EPS = 1e-3  # of its batch norms
BLOCKS = (  # (blocks, kernel, stride of the first, expansion, channels)
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
ENDS = {2: 0, 4: 2, 8: 4, 16: 10, 32: 15}  # by stride, the last block that answers at it
CHANNELS = {2: 16, 4: 24, 8: 40, 16: 112, 32: 320}
FEATURES = 1280


class UnevenConv(nn.Conv2d):
    """A convolution padded as TensorFlow does: what cannot be shared out evenly goes behind.  pads: as in ONNX."""

    def __init__(self, i: int, o: int, k: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(i, o, k, stride, 0, groups=groups)
        total = k - stride if stride > 1 else k - 1
        before, after = total // 2, total - total // 2
        self.pads = (before, before, after, after)

    def forward(self, x: Tensor) -> Tensor:
        before, _, after, _ = self.pads
        if before == after:
            return F.conv2d(x, self.weight, self.bias, self.stride, before, groups=self.groups)
        x = F.pad(x, (before, after, before, after))
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


class _Block(nn.Module):
    def __init__(self, i: int, o: int, k: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = i * expansion
        self.up = UnevenConv(i, wide) if expansion > 1 else None
        self.spread = UnevenConv(wide, wide, k, stride, wide)
        self.down = UnevenConv(wide, o)
        self.short = stride == 1 and i == o

    def compute(self, ops: Ops, x: Value) -> Value:
        h = x if self.up is None else ops.clip(ops.conv(x, self.up), 0.0, 6.0)
        h = ops.conv(ops.clip(ops.conv(h, self.spread), 0.0, 6.0), self.down)
        return ops.add(x, h) if self.short else h


class Lite0(nn.Module):
    """head: whether the last convolution, to 1280 features, is there."""

    def __init__(self, head: bool = True) -> None:
        super().__init__()
        self.stem = UnevenConv(3, 32, 3, 2)
        made, i = [], 32
        for blocks, k, stride, expansion, o in BLOCKS:
            for j in range(blocks):
                made.append(_Block(i, o, k, stride if j == 0 else 1, expansion))
                i = o
        self.blocks = nn.ModuleList(made)
        self.head = UnevenConv(i, FEATURES) if head else None

    def depth_of(self, name: str) -> int:
        """How many stages lie between a parameter and the answer, by its name."""
        if name.startswith("stem"):
            return len(BLOCKS)
        if not name.startswith("blocks."):
            return 0
        block, stage = int(name.split(".")[1]), 0
        for n, *_ in BLOCKS:
            if block < n:
                break
            block, stage = block - n, stage + 1
        return len(BLOCKS) - 1 - stage

    def maps(self, ops: Ops, x: Value, strides: tuple[int, ...] = (4, 8, 16, 32)) -> list[Value]:
        """x: float (N, 3, side, side), 0 to 255 -> its maps at these strides, the finest first."""
        return self.later(ops, self.early(ops, x, -1), -1, strides)

    def early(self, ops: Ops, x: Value, last: int) -> Value:
        """Of pixels, what the blocks up to `last` make of them; the stem's answer for -1."""
        scaled = ops.mul(ops.add(x, ops.const(np.array(-127.0, np.float32))), ops.const(np.array(1 / 128, np.float32)))
        x = ops.clip(ops.conv(scaled, self.stem), 0.0, 6.0)
        for block in self.blocks[: last + 1]:
            x = block.compute(ops, x)  # type: ignore[operator]
        return x

    def later(self, ops: Ops, x: Value, last: int, strides: tuple[int, ...]) -> list[Value]:
        """The maps from what the blocks up to `last` made."""
        found: dict[int, Value] = {last: x}
        for i, block in enumerate(self.blocks):
            if last < i <= ENDS[strides[-1]]:
                x = block.compute(ops, x)  # type: ignore[operator]
                found[i] = x
        return [found[ENDS[s]] for s in strides]

    def pooled(self, ops: Ops, x: Value) -> Value:
        """x: float (N, 3, side, side), 0 to 255 -> (N, 1280)."""
        assert self.head is not None
        last = self.maps(ops, x, (32,))[0]
        return ops.mean(ops.clip(ops.conv(last, self.head), 0.0, 6.0), (2, 3))

    def several(self, ops: Ops, x: Value, side: int) -> Value:
        """Features that are used as they are: `pooled`, and means of earlier maps, of stride 16 by quarters of the picture.

        side: of x, a multiple of 32.  What earlier stages see helps where pictures are unlike ImageNet's.
        """
        assert self.head is not None
        early, middle, last = self.maps(ops, x, (8, 16, 32))
        top = ops.mean(ops.clip(ops.conv(last, self.head), 0.0, 6.0), (2, 3))
        half = side // 32
        quarters = ops.reshape(ops.avg_pool(middle, half, half), (-1,))
        return ops.concat([top, ops.mean(last, (2, 3)), quarters, ops.mean(early, (2, 3))], 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pooled(TorchOps(), x)
        return out


def pretrained(head: bool = True) -> Lite0:
    """With the weights of ImageNet, in evaluation mode.  Raises FileNotFoundError where the package is missing."""
    net = Lite0(head)
    net.load_state_dict({k: v for k, v in _state().items() if head or not k.startswith("head")})
    return net.eval()


@cache
def _state() -> Mapping[str, Tensor]:
    """By the names of `Lite0`, norms folded."""
    path = weights_file()
    if path is None:
        raise FileNotFoundError(f"the package {PACKAGE} is not installed")
    raw = torch.load(path, map_location="cpu", weights_only=True)
    found: dict[str, Tensor] = {}

    def fold(own: str, conv: str, norm: str) -> None:
        scale = raw[f"{norm}.weight"] / (raw[f"{norm}.running_var"] + EPS).sqrt()
        found[f"{own}.weight"] = raw[f"{conv}.weight"] * scale[:, None, None, None]
        found[f"{own}.bias"] = raw[f"{norm}.bias"] - raw[f"{norm}.running_mean"] * scale

    fold("stem", "_conv_stem", "_bn0")
    fold("head", "_conv_head", "_bn1")
    for i in range(sum(n for n, *_ in BLOCKS)):
        theirs = f"_blocks.{i}."
        if f"{theirs}_expand_conv.weight" in raw:
            fold(f"blocks.{i}.up", f"{theirs}_expand_conv", f"{theirs}_bn0")
        fold(f"blocks.{i}.spread", f"{theirs}_depthwise_conv", f"{theirs}_bn1")
        fold(f"blocks.{i}.down", f"{theirs}_project_conv", f"{theirs}_bn2")
    return found

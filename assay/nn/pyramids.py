"""What detectors and segmenters look at: maps of a picture at several strides, from a small net or a pretrained one.

A pyramid takes pixels, float (N, 3, side, side), 0 to 255, and answers one map for each of its strides, the finest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assay.nn.conv2d import Backbone, Maps, Value
from assay.nn.images.lite import CHANNELS, ENDS, pretrained

_SHIFT = np.full((1, 3, 1, 1), -118.0, np.float32)
_FACTOR = np.full((1, 3, 1, 1), 1.0 / 60.0, np.float32)


class Pyramid(nn.Module):
    """channels: of its maps."""

    channels: tuple[int, ...]

    def compute(self, ops: Maps, x: Value) -> list[Value]:
        raise NotImplementedError

    def factor_of(self, name: str) -> float:
        """By what the learning rate of a parameter is multiplied."""
        return 1.0


class Scratch(Pyramid):
    """The last maps of a small residual net with random weights.  widths: by stage; the first is at stride 2."""

    def __init__(self, widths: Sequence[int], blocks: int, levels: int) -> None:
        super().__init__()
        self.net, self.levels = Backbone(widths, blocks), levels
        self.channels = tuple(widths[-levels:])

    def compute(self, ops: Maps, x: Value) -> list[Value]:
        return self.net.compute(ops, ops.mul(ops.add(x, ops.const(_SHIFT)), ops.const(_FACTOR)))[-self.levels :]


class Pretrained(Pyramid):
    """Maps of EfficientNet-Lite0 with the weights of ImageNet.

    frozen: the last block that is not trained, -1 for none but the stem.  rate: of the last stage as a share of the rest
    of the net's; every stage before it has `decay` times that (Howard, Ruder: ULMFiT. ACL 2018).
    """

    def __init__(self, strides: Sequence[int], frozen: int, rate: float, decay: float = 0.8) -> None:
        super().__init__()
        self.strides, self.frozen, self.rate, self.decay = tuple(strides), frozen, rate, decay
        self.channels = tuple(CHANNELS[s] for s in strides)
        self.net = pretrained(head=False)
        self.net.blocks = self.net.blocks[: ENDS[self.strides[-1]] + 1]
        for module in (self.net.stem, *self.net.blocks[: frozen + 1]):
            module.requires_grad_(False)

    def compute(self, ops: Maps, x: Value) -> list[Value]:
        early = [s for s in self.strides if ENDS[s] <= self.frozen]
        if not isinstance(x, Tensor):
            return self.net.maps(ops, x, self.strides)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            kept: Any = self.net.early(ops, x, ENDS[early[0]] if early else self.frozen)
            found = []
            for a, s in enumerate(early):
                found.append(kept)
                after = ENDS[early[a + 1]] if a + 1 < len(early) else self.frozen
                for block in self.net.blocks[ENDS[s] + 1 : after + 1]:
                    kept = block.compute(ops, kept)  # type: ignore[operator]
        late = self.strides[len(early) :]
        return found + (self.net.later(ops, kept, self.frozen, late) if late else [])

    def factor_of(self, name: str) -> float:
        return float(self.rate * self.decay ** (self.net.depth_of(name.removeprefix("net."))))

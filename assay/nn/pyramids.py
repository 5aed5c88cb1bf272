"""What detectors and segmenters look at: maps of a picture at several strides, from a small net or a pretrained one.

A pyramid takes pixels, float (N, 3, side, side), 0 to 255, and answers one map for each of its strides, the finest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assay.model.graph import Port, Scope, encode
from assay.model.session import session_of
from assay.nn.conv2d import Backbone, Maps, ScopeMaps, Value
from assay.nn.images.lite import CHANNELS, ENDS, Lite0, pretrained

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
        self._session: tuple[Any, list[str]] | None = None  # made when it is needed: it is no part of the weights

    def compute(self, ops: Maps, x: Value) -> list[Value]:
        if not isinstance(x, Tensor):
            return self.net.maps(ops, x, self.strides)
        early = [s for s in self.strides if ENDS[s] <= self.frozen]
        *found, kept = self._early(x.detach(), early)
        late = self.strides[len(early) :]
        return found + (self.net.later(ops, kept, self.frozen, late) if late else [])

    def _early(self, x: Tensor, early: list[int]) -> list[Tensor]:
        """What is not trained: the maps at the strides `early`, and what the last of its blocks makes.

        By onnxruntime, which takes a half to a quarter of torch's time for it on a processor.
        """
        if self._session is None:
            self._session = _session(self.net, self.frozen, [ENDS[s] for s in early])
        session, names = self._session
        made = session.run(names, {"pixels": np.ascontiguousarray(x.float().numpy())})
        return [torch.from_numpy(m).contiguous(memory_format=torch.channels_last) for m in made]

    def factor_of(self, name: str) -> float:
        return float(self.rate * self.decay ** (self.net.depth_of(name.removeprefix("net."))))


def _session(net: Lite0, frozen: int, ends: Sequence[int]) -> tuple[Any, list[str]]:
    """(session, names of its outputs): from pixels to what the blocks `ends` and the last frozen one make."""
    scope = Scope()
    ops = ScopeMaps(scope)
    h: Any = net.early(ops, "pixels", -1)
    found = [] if frozen >= 0 else [h]
    for i, block in enumerate(net.blocks[: frozen + 1]):
        h = block.compute(ops, h)  # type: ignore[operator]
        found += [h] * ((i in ends) + (i == frozen))
    names = list(dict.fromkeys(found))
    ports = [Port(name, "float32", ["N", None, None, None]) for name in names]
    model = encode(scope.graph(h), [Port("pixels", "float32", ["N", 3, "h", "w"])], ports)
    return session_of(model, torch.get_num_threads()), found

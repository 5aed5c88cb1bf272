"""A tower for every target, whose layers take in the others' by learned shares.

Misra, Shrivastava, Gupta, Hebert: Cross-Stitch Networks for Multi-task Learning, CVPR 2016.  One share a pair of targets
and layer, not one a channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from assay.model.graph import Scope
from assay.nn.blocks import Chain, inits
from assay.nn.layout import Arrays, Layout
from assay.nn.net import Dropout

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CrossStitch:
    """own: the share of a tower's own layer at first; the others have the rest in equal parts."""

    d_in: int
    outputs: tuple[int, ...]
    width: int
    depth: int
    own: float
    activation: str

    @cached_property
    def layers(self) -> tuple[tuple[Chain, ...], ...]:
        """layers[i][t]: layer i of tower t; the last ones are the heads."""
        found = []
        for i in range(self.depth):
            sizes = (self.d_in if i == 0 else self.width, self.width)
            found.append(tuple(Chain(f"tower{t}_{i}", sizes, self.activation, True) for t in range(len(self.outputs))))
        found.append(tuple(Chain(f"head{t}", (self.width, k)) for t, k in enumerate(self.outputs)))
        return tuple(found)

    @cached_property
    def layout(self) -> Layout:
        shapes = [s for layer in self.layers for chain in layer for s in chain.shapes]
        t = len(self.outputs)
        return Layout((*shapes, *((f"stitch{i}", (t, t)) for i in range(self.depth))))

    @property
    def activations_per_row(self) -> int:
        return sum(c.activations_per_row for layer in self.layers for c in layer) + 2 * self.depth * self.width

    def init(self, rng: np.random.Generator, x: np.ndarray) -> dict[str, np.ndarray]:
        t = len(self.outputs)
        shares = np.full((t, t), (1.0 - self.own) / max(1, t - 1))
        np.fill_diagonal(shares, self.own if t > 1 else 1.0)
        found = inits([chain for layer in self.layers for chain in layer], rng)
        return found | {f"stitch{i}": shares.copy() for i in range(self.depth)}

    def lr_factors(self) -> Mapping[str, float]:
        return {}

    def decay_factors(self) -> Mapping[str, float]:
        return {f"stitch{i}": 0.0 for i in range(self.depth)}

    def forward(self, p: Mapping[str, Tensor], x: Tensor, dropout: Dropout | None) -> Tensor:
        import torch

        towers = [x] * len(self.outputs)
        for i, layer in enumerate(self.layers[:-1]):
            own = torch.stack([c.forward(p, h, dropout) for c, h in zip(layer, towers, strict=True)], dim=1)
            mixed = (p[f"stitch{i}"] @ own.flatten(2)).view_as(own)  # (K, t, t) @ (K, t, B * w)
            towers = list(mixed.unbind(1))
        answers = [c.forward(p, h, dropout) for c, h in zip(self.layers[-1], towers, strict=True)]
        return torch.cat(answers, dim=2).unsqueeze(2)  # (K, B, 1, k)

    def emit(self, scope: Scope, p: Arrays, x: str) -> list[str]:
        towers = [x] * len(self.outputs)
        for i, layer in enumerate(self.layers[:-1]):
            own = [c.emit(scope, p, h) for c, h in zip(layer, towers, strict=True)]
            shares = p[f"stitch{i}"].astype(np.float32)
            towers = []
            for row in shares:
                terms = [scope.add("Mul", h, scope.const(share)) for h, share in zip(own, row, strict=True)]
                towers.append(terms[0] if len(terms) == 1 else scope.add("Sum", *terms))
        answers = [c.emit(scope, p, h) for c, h in zip(self.layers[-1], towers, strict=True)]
        return [scope.add("Concat", *answers, axis=1)]

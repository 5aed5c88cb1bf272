"""Chains of affine maps, many copies at once: what nets with several branches are built of.

A chain named p with sizes (a, b, c) has the parameters p_weight0 (a, b), p_bias0 (1, b), p_weight1 (b, c), p_bias1 (1, c).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from assay.model.graph import Scope
from assay.nn.activations import activate, emit_activation
from assay.nn.layout import Arrays
from assay.nn.net import Dropout, affine

if TYPE_CHECKING:
    from torch import Tensor

Shapes = list[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Chain:
    """Affine maps with an activation and dropout between them, and after the last one if `ends` is set."""

    name: str
    sizes: tuple[int, ...]
    activation: str = "relu"
    ends: bool = False

    @property
    def depth(self) -> int:
        return len(self.sizes) - 1

    @property
    def shapes(self) -> Shapes:
        found: Shapes = []
        for i, (a, b) in enumerate(pairwise(self.sizes)):
            found += [(f"{self.name}_weight{i}", (a, b)), (f"{self.name}_bias{i}", (1, b))]
        return found

    @property
    def activations_per_row(self) -> int:
        return self.sizes[0] + 4 * sum(self.sizes[1:])

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Uniform in +-1/sqrt(fan in), weights and biases, as torch.nn.Linear."""
        found: dict[str, np.ndarray] = {}
        for i, (a, b) in enumerate(pairwise(self.sizes)):
            bound = 1.0 / math.sqrt(max(1, a))
            found[f"{self.name}_weight{i}"] = rng.uniform(-bound, bound, (a, b))
            found[f"{self.name}_bias{i}"] = rng.uniform(-bound, bound, (1, b))
        return found

    def forward(self, p: Mapping[str, Tensor], h: Tensor, dropout: Dropout | None) -> Tensor:
        """h: (K, B, sizes[0]) -> (K, B, sizes[-1])."""
        for i in range(self.depth):
            h = affine(h, p[f"{self.name}_weight{i}"], p[f"{self.name}_bias{i}"])
            if i < self.depth - 1 or self.ends:
                h = activate(self.activation, h)
                h = h if dropout is None else dropout(h)
        return h

    def emit(self, scope: Scope, p: Arrays, h: str) -> str:
        for i in range(self.depth):
            weight, bias = (p[f"{self.name}_{part}{i}"].astype(np.float32) for part in ("weight", "bias"))
            h = scope.add("Gemm", h, scope.const(weight), scope.const(bias))
            if i < self.depth - 1 or self.ends:
                h = emit_activation(scope, self.activation, h)
        return h


def inits(chains: Sequence[Chain], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Fresh parameters of several chains."""
    found: dict[str, np.ndarray] = {}
    for chain in chains:
        found |= chain.init(rng)
    return found

"""The plain multi-layer perceptron, many copies at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from assay.model.graph import Scope
from assay.nn.activations import activate, emit_activation
from assay.nn.layout import Arrays, Layout
from assay.nn.net import Dropout, affine

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Dense:
    """d_in -> width x depth -> d_out with dropout after every hidden layer; depth 0 is a linear model."""

    d_in: int
    d_out: int
    width: int
    depth: int
    activation: str

    @cached_property
    def layout(self) -> Layout:
        sizes = [self.d_in, *[self.width] * self.depth, self.d_out]
        shapes: list[tuple[str, tuple[int, ...]]] = []
        for i, (a, b) in enumerate(pairwise(sizes)):
            shapes += [(f"weight{i}", (a, b)), (f"bias{i}", (1, b))]
        return Layout(tuple(shapes))

    @property
    def activations_per_row(self) -> int:
        return self.d_in + 4 * self.width * self.depth + 4 * self.d_out

    def init(self, rng: np.random.Generator, x: np.ndarray) -> dict[str, np.ndarray]:
        """Uniform in +-1/sqrt(fan in), weights and biases, as torch.nn.Linear; x gives nothing but its width."""
        bounds = {"weight0": x.shape[1], "bias0": x.shape[1]}
        arrays: dict[str, np.ndarray] = {}
        for name, shape in Dense(x.shape[1], self.d_out, self.width, self.depth, self.activation).layout.shapes:
            bound = 1.0 / math.sqrt(max(1, bounds.get(name, self.width)))
            arrays[name] = rng.uniform(-bound, bound, shape)
        return arrays

    def lr_factors(self) -> Mapping[str, float]:
        return {}

    def decay_factors(self) -> Mapping[str, float]:
        return {}

    def forward(self, p: Mapping[str, Tensor], x: Tensor, dropout: Dropout | None) -> Tensor:
        h = x
        for i in range(self.depth):
            h = activate(self.activation, affine(h, p[f"weight{i}"], p[f"bias{i}"]))
            if dropout is not None:
                h = dropout(h)
        out = affine(h, p[f"weight{self.depth}"], p[f"bias{self.depth}"])
        return out.unsqueeze(2)  # (K, B, c) -> (K, B, 1, c)

    def emit(self, scope: Scope, p: Arrays, x: str) -> list[str]:
        h = x
        for i in range(self.depth + 1):
            weight = scope.const(p[f"weight{i}"].astype(np.float32))
            h = scope.add("Gemm", h, weight, scope.const(p[f"bias{i}"].astype(np.float32)))
            if i < self.depth:
                h = emit_activation(scope, self.activation, h)
        return [h]

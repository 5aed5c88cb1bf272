"""The net of TabM-mini: k answers from one shared multi-layer perceptron, each over its own scaling of the inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
class TabmNet:
    """x * scale[e] -> shared width x depth -> head[e], for e of k answers whose losses are averaged, not their outputs."""

    d_in: int
    d_out: int
    width: int
    depth: int
    k: int
    activation: str = "relu"

    @cached_property
    def layout(self) -> Layout:
        found: list[tuple[str, tuple[int, ...]]] = [("scale", (self.k, self.d_in))]
        for i, (a, b) in enumerate(pairwise([self.d_in, *[self.width] * self.depth])):
            found += [(f"weight{i}", (a, b)), (f"bias{i}", (1, b))]
        return Layout((*found, ("head", (self.k, self.width, self.d_out)), ("head_bias", (self.k, 1, self.d_out))))

    @property
    def activations_per_row(self) -> int:
        return self.k * (self.d_in + 4 * self.width * self.depth + 4 * self.d_out)

    def init(self, rng: np.random.Generator, x: np.ndarray) -> dict[str, np.ndarray]:
        """Scales random signs, the rest uniform in +-1/sqrt(fan in)."""
        d = x.shape[1]
        arrays: dict[str, np.ndarray] = {}
        for name, shape in replace(self, d_in=d).layout.shapes:
            bound = 1.0 / math.sqrt(max(1, d) if name in ("weight0", "bias0") else self.width)
            arrays[name] = rng.choice([-1.0, 1.0], shape) if name == "scale" else rng.uniform(-bound, bound, shape)
        return arrays

    def lr_factors(self) -> Mapping[str, float]:
        return {}

    def decay_factors(self) -> Mapping[str, float]:
        return {}

    def forward(self, p: Mapping[str, Tensor], x: Tensor, dropout: Dropout | None) -> Tensor:
        m, b, d = x.shape
        # (K, 1, B, d) * (K, k, 1, d) -> (K, k * B, d): the answers of one member share its layers as more rows
        h = (x.unsqueeze(1) * p["scale"].unsqueeze(2)).view(m, self.k * b, d)
        for i in range(self.depth):
            h = activate(self.activation, affine(h, p[f"weight{i}"], p[f"bias{i}"]))
            if dropout is not None:
                h = dropout(h)
        heads = p["head"].reshape(m * self.k, self.width, self.d_out)
        bias = p["head_bias"].reshape(m * self.k, 1, self.d_out)
        out = affine(h.view(m * self.k, b, self.width), heads, bias)
        return out.view(m, self.k, b, self.d_out).transpose(1, 2)  # (K, B, k, c)

    def emit(self, scope: Scope, p: Arrays, x: str) -> list[str]:
        def const(a: np.ndarray) -> str:
            return scope.const(a.astype(np.float32))

        h = scope.add("Mul", scope.add("Unsqueeze", x, scope.const([0])), const(p["scale"][:, None]))  # (k, n, d)
        for i in range(self.depth):
            h = scope.add("Add", scope.add("MatMul", h, const(p[f"weight{i}"])), const(p[f"bias{i}"]))
            h = emit_activation(scope, self.activation, h)
        h = scope.add("Add", scope.add("MatMul", h, const(p["head"])), const(p["head_bias"]))  # (k, n, c)
        parts = scope.add_many("Split", h, outputs=self.k, axis=0, num_outputs=self.k)
        return [scope.add("Squeeze", part, scope.const([0])) for part in parts]

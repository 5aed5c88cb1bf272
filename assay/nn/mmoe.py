"""Shared experts, and for every target a gate that weighs them.

Ma, Zhao, Yi, Chen, Hong, Chi: Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts, KDD
2018.
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
class Mmoe:
    """experts: how many, each d_in -> width x depth; a gate is one affine map and a softmax; head: head_width -> answer."""

    d_in: int
    outputs: tuple[int, ...]
    experts: int
    width: int
    depth: int
    head_width: int
    activation: str

    @cached_property
    def parts(self) -> tuple[tuple[Chain, ...], tuple[Chain, ...], tuple[Chain, ...]]:
        """Experts, gates, heads."""
        sizes = (self.d_in, *[self.width] * self.depth)
        experts = tuple(Chain(f"expert{e}", sizes, self.activation, True) for e in range(self.experts))
        gates = tuple(Chain(f"gate{t}", (self.d_in, self.experts)) for t in range(len(self.outputs)))
        inner = (self.head_width,) if self.head_width else ()
        heads = [Chain(f"head{t}", (self.width, *inner, k), self.activation) for t, k in enumerate(self.outputs)]
        return experts, gates, tuple(heads)

    @cached_property
    def layout(self) -> Layout:
        return Layout(tuple(s for part in self.parts for chain in part for s in chain.shapes))

    @property
    def activations_per_row(self) -> int:
        chains = sum(c.activations_per_row for part in self.parts for c in part)
        return chains + 2 * self.width * (self.experts + len(self.outputs))

    def init(self, rng: np.random.Generator, x: np.ndarray) -> dict[str, np.ndarray]:
        """Gates weigh all experts the same at first."""
        experts, gates, heads = self.parts
        found = inits([*experts, *heads], rng)
        return found | {name: np.zeros(shape) for gate in gates for name, shape in gate.shapes}

    def lr_factors(self) -> Mapping[str, float]:
        return {}

    def decay_factors(self) -> Mapping[str, float]:
        return {}

    def forward(self, p: Mapping[str, Tensor], x: Tensor, dropout: Dropout | None) -> Tensor:
        import torch

        experts, gates, heads = self.parts
        told = torch.stack([e.forward(p, x, dropout) for e in experts], dim=2)  # (K, B, e, w)
        answers = []
        for gate, head in zip(gates, heads, strict=True):
            shares = torch.softmax(gate.forward(p, x, None), dim=2)
            answers.append(head.forward(p, (shares.unsqueeze(2) @ told).squeeze(2), dropout))
        return torch.cat(answers, dim=2).unsqueeze(2)  # (K, B, 1, k)

    def emit(self, scope: Scope, p: Arrays, x: str) -> list[str]:
        experts, gates, heads = self.parts
        one = scope.const(np.array([1], np.int64))
        told = scope.add("Concat", *(scope.add("Unsqueeze", e.emit(scope, p, x), one) for e in experts), axis=1)
        answers = []
        for gate, head in zip(gates, heads, strict=True):
            shares = scope.add("Unsqueeze", scope.add("Softmax", gate.emit(scope, p, x), axis=1), one)
            mixed = scope.add("Squeeze", scope.add("MatMul", shares, told), one)  # (n, 1, e) @ (n, e, w)
            answers.append(head.emit(scope, p, mixed))
        return [scope.add("Concat", *answers, axis=1)]

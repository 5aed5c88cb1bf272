"""Fields, gated by how much each matters, and their bilinear products in pairs: the net of CoFiBi.

Huang, Zhang, Zhang: FiBiNET: Combining Feature Importance and Bilinear Feature Interaction for Click-Through Rate
Prediction, RecSys 2019.  Changed: the gate has biases and starts at about 1, because two ReLUs without them may start
dead; the vectors themselves go into the trunk beside their products; "inner" products are summed over the vector as in
FiBiNET++ (Zhang, Zhang, Zhang, 2022); beyond MOST fields, products are taken of MOST learned mixtures of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from assay.model.graph import Scope
from assay.nn.blocks import Chain, Shapes, inits
from assay.nn.fields import Fields
from assay.nn.layout import Arrays, Layout
from assay.nn.net import Dropout

if TYPE_CHECKING:
    from torch import Tensor

MOST = 24  # fields whose pairs are multiplied
REDUCTION = 3  # of the gate


@dataclass(frozen=True)
class CoFiBi:
    """outputs: columns of each target's answer.  bilinear: one matrix for "all" fields, for "each", or for each pair
    ("interaction").  product: "hadamard" or "inner".  The trunk is width x depth, with a head for each target."""

    fields: Fields
    outputs: tuple[int, ...]
    bilinear: str
    product: str
    width: int
    depth: int
    head_width: int = 0

    @property
    def n(self) -> int:
        """Fields that are multiplied."""
        return min(self.fields.n, MOST)

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        left, right = np.triu_indices(self.n, 1)
        return left.astype(np.int64), right.astype(np.int64)

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """The trunk, then the heads."""
        e, n_pairs = self.fields.width, len(self.pairs[0])
        wide = self.fields.n * e + 2 * n_pairs * (e if self.product == "hadamard" else 1)
        trunk = Chain("trunk", (wide, *[self.width] * self.depth), "relu", ends=True)
        inner = (self.head_width,) if self.head_width else ()
        return (trunk, *(Chain(f"head{t}", (self.width, *inner, k)) for t, k in enumerate(self.outputs)))

    @cached_property
    def own(self) -> Shapes:
        """Parameters of the gate, the mixture and the products; none for one field, which has no pair."""
        if self.n < 2:
            return []
        e, n, small = self.fields.width, self.n, max(1, self.n // REDUCTION)
        found: Shapes = [("mixture", (n, self.fields.n))] if n < self.fields.n else []
        found += [
            ("gate_in", (n, small)),
            ("gate_in_bias", (1, small)),
            ("gate_out", (small, n)),
            ("gate_out_bias", (1, n)),
        ]
        many = {"all": 1, "each": n, "interaction": max(1, len(self.pairs[0]))}[self.bilinear]
        return [*found, ("bilinear_raw", (many, e, e)), ("bilinear_gated", (many, e, e))]

    @cached_property
    def layout(self) -> Layout:
        return Layout((*self.fields.shapes, *self.own, *(s for chain in self.chains for s in chain.shapes)))

    @property
    def activations_per_row(self) -> int:
        e = self.fields.width
        products = 6 * len(self.pairs[0]) * e + 6 * self.n * e
        return self.fields.activations_per_row + products + sum(c.activations_per_row for c in self.chains)

    def init(self, rng: np.random.Generator, x: np.ndarray) -> dict[str, np.ndarray]:
        found = self.fields.init(rng, x)
        for name, shape in self.own:
            if name == "gate_out_bias":
                found[name] = np.ones(shape)
            elif name == "gate_in_bias":
                found[name] = np.zeros(shape)
            else:
                found[name] = rng.normal(0.0, 1.0 / math.sqrt(shape[-1]), shape)
        return found | inits(self.chains, rng)

    def lr_factors(self) -> Mapping[str, float]:
        return self.fields.lr_factors

    def decay_factors(self) -> Mapping[str, float]:
        return {**self.fields.decay_factors, "gate_in_bias": 0.0, "gate_out_bias": 0.0}

    def forward(self, p: Mapping[str, Tensor], x: Tensor, dropout: Dropout | None) -> Tensor:
        import torch

        vectors = self.fields.forward(p, x)  # (K, B, fields, e)
        parts = [vectors.flatten(2)]
        if self.n > 1:
            v = p["mixture"].unsqueeze(1) @ vectors if self.n < self.fields.n else vectors
            told = torch.relu(v.mean(3) @ p["gate_in"] + p["gate_in_bias"])
            gate = torch.relu(told @ p["gate_out"] + p["gate_out_bias"])
            parts += [self._products(v, p["bilinear_raw"]), self._products(v * gate.unsqueeze(3), p["bilinear_gated"])]
        trunk, *heads = self.chains
        h = trunk.forward(p, torch.cat(parts, dim=2), dropout)
        return torch.cat([head.forward(p, h, dropout) for head in heads], dim=2).unsqueeze(2)  # (K, B, 1, k)

    def _products(self, v: Tensor, weight: Tensor) -> Tensor:
        """v: (K, B, n, e) -> (K, B, pairs * e), or (K, B, pairs) for inner products."""
        import torch

        left, right = (torch.as_tensor(side, device=v.device) for side in self.pairs)
        if self.bilinear == "interaction":
            turned = torch.einsum("kbpe,kpef->kbpf", v.index_select(2, left), weight)
        elif self.bilinear == "each":
            turned = torch.einsum("kbne,knef->kbnf", v, weight).index_select(2, left)
        else:
            turned = (v @ weight).index_select(2, left)  # (K, B, n, e) @ (K, 1, e, e)
        product = turned * v.index_select(2, right)
        return product.flatten(2) if self.product == "hadamard" else product.sum(3)

    def emit(self, scope: Scope, p: Arrays, x: str) -> list[str]:
        def const(name: str) -> str:
            return scope.const(p[name].astype(np.float32))

        two = scope.const(np.array([2], np.int64))
        vectors = self.fields.emit(scope, p, x)
        parts = [scope.add("Flatten", vectors, axis=1)]
        if self.n > 1:
            v = scope.add("MatMul", const("mixture"), vectors) if self.n < self.fields.n else vectors
            mean = scope.add("ReduceMean", v, two, keepdims=0)
            told = scope.add("Relu", scope.add("Gemm", mean, const("gate_in"), const("gate_in_bias")))
            gate = scope.add("Relu", scope.add("Gemm", told, const("gate_out"), const("gate_out_bias")))
            gated = scope.add("Mul", v, scope.add("Unsqueeze", gate, two))
            parts += [self._emit_products(scope, v, p["bilinear_raw"])]
            parts += [self._emit_products(scope, gated, p["bilinear_gated"])]
        trunk, *heads = self.chains
        h = trunk.emit(scope, p, scope.add("Concat", *parts, axis=1))
        return [scope.add("Concat", *(head.emit(scope, p, h) for head in heads), axis=1)]

    def _emit_products(self, scope: Scope, v: str, weight: np.ndarray) -> str:
        left, right = (scope.const(side) for side in self.pairs)
        matrix = weight.astype(np.float32)
        if self.bilinear == "interaction":
            first = scope.add("Gather", v, left, axis=1)
            turned = scope.add("Einsum", first, scope.const(matrix), equation="bpe,pef->bpf")
        elif self.bilinear == "each":
            each = scope.add("Einsum", v, scope.const(matrix), equation="bne,nef->bnf")
            turned = scope.add("Gather", each, left, axis=1)
        else:
            turned = scope.add("Gather", scope.add("MatMul", v, scope.const(matrix[0])), left, axis=1)
        product = scope.add("Mul", turned, scope.add("Gather", v, right, axis=1))
        if self.product == "hadamard":
            return scope.add("Flatten", product, axis=1)
        return scope.add("ReduceSum", product, scope.const(np.array([2], np.int64)), keepdims=0)

"""Self-attention over the columns of a row, read out at one extra token.

Gorishniy, Rubachev, Khrulkov, Babenko: Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021.  Normalised
before each part, ReGLU in the feed-forward part, no normalisation before the first attention, as there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from assay.model.graph import Scope
from assay.nn.blocks import Shapes
from assay.nn.fields import Fields
from assay.nn.layout import Arrays, Layout
from assay.nn.net import Dropout

if TYPE_CHECKING:
    from torch import Tensor

EPS = 1e-5  # of the normalisation


@dataclass(frozen=True)
class FtTransformer:
    """heads divide the fields' width.  hidden: of the feed-forward part."""

    fields: Fields
    d_out: int
    layers: int
    heads: int
    hidden: int

    @cached_property
    def layout(self) -> Layout:
        w, shapes = self.fields.width, [*self.fields.shapes]
        shapes.append(("cls", (1, w)))
        for i in range(self.layers):
            shapes += self._block(i)
        shapes += [
            ("norm_scale", (1, w)),
            ("norm_shift", (1, w)),
            ("head", (w, self.d_out)),
            ("head_bias", (1, self.d_out)),
        ]
        return Layout(tuple(shapes))

    def _block(self, i: int) -> Shapes:
        w, h = self.fields.width, self.hidden
        found: Shapes = []
        for name in ("query", "key", "value", "mix"):
            found += [(f"{name}{i}", (w, w)), (f"{name}_bias{i}", (1, w))]
        for name in ("before", "middle") if i else ("middle",):
            found += [(f"{name}_scale{i}", (1, w)), (f"{name}_shift{i}", (1, w))]
        found += [(f"up{i}", (w, 2 * h)), (f"up_bias{i}", (1, 2 * h)), (f"down{i}", (h, w)), (f"down_bias{i}", (1, w))]
        return found

    @property
    def activations_per_row(self) -> int:
        tokens, w = self.fields.n + 1, self.fields.width
        block = tokens * (10 * w + 4 * self.hidden) + 2 * self.heads * tokens * tokens
        return self.fields.activations_per_row + self.layers * block + 4 * self.d_out

    def init(self, rng: np.random.Generator, x: np.ndarray) -> dict[str, np.ndarray]:
        found = self.fields.init(rng, x)
        for name, shape in self.layout.shapes:
            if name in found:
                continue
            stem = name.rstrip("0123456789")
            if stem.endswith("_scale"):
                found[name] = np.ones(shape)
            elif stem.endswith(("_shift", "_bias")):
                found[name] = np.zeros(shape)
            else:
                bound = 1.0 / math.sqrt(self.fields.width if stem == "cls" else shape[0])
                found[name] = rng.uniform(-bound, bound, shape)
        return found

    def lr_factors(self) -> Mapping[str, float]:
        return self.fields.lr_factors

    def decay_factors(self) -> Mapping[str, float]:
        """Biases, normalisations and field embeddings do not decay, as in the paper."""
        small = [n for n, _ in self.layout.shapes if any(part in n for part in ("bias", "scale", "shift", "field_"))]
        return dict.fromkeys(small, 0.0)

    def forward(self, p: Mapping[str, Tensor], x: Tensor, dropout: Dropout | None) -> Tensor:
        import torch
        from torch.nn import functional as F

        k, b, _ = x.shape
        w, t = self.fields.width, self.fields.n + 1
        start = p["cls"].unsqueeze(1).expand(k, b, 1, w)
        h = torch.cat([start, self.fields.forward(p, x)], dim=2).reshape(k, b * t, w)

        def linear(v: Tensor, name: str, i: int) -> Tensor:
            return torch.baddbmm(p[f"{name}_bias{i}"], v, p[f"{name}{i}"])

        def dropped(v: Tensor) -> Tensor:
            """v: (K, B * t, w), every value on its own."""
            return v if dropout is None else dropout(v.reshape(k, b, -1)).reshape(v.shape)

        def split(v: Tensor) -> Tensor:
            return v.reshape(k * b, t, self.heads, w // self.heads).transpose(1, 2)

        for i in range(self.layers):
            v = h if i == 0 else _norm(h, p[f"before_scale{i}"], p[f"before_shift{i}"])
            query, key, value = (split(linear(v, name, i)) for name in ("query", "key", "value"))
            mixed = F.scaled_dot_product_attention(query, key, value)
            together = mixed.transpose(1, 2).reshape(k, b * t, w)
            h = h + dropped(linear(together, "mix", i))
            v = linear(_norm(h, p[f"middle_scale{i}"], p[f"middle_shift{i}"]), "up", i)
            v = v[..., : self.hidden] * torch.relu(v[..., self.hidden :])
            h = h + dropped(linear(v, "down", i))
        first = h.view(k, b, t, w)[:, :, 0]
        v = torch.relu(_norm(first, p["norm_scale"], p["norm_shift"]))
        return torch.baddbmm(p["head_bias"], v, p["head"]).unsqueeze(2)  # (K, B, 1, k)

    def emit(self, scope: Scope, p: Arrays, x: str) -> list[str]:
        w, t = self.fields.width, self.fields.n + 1
        apart = scope.const(np.array([0, t, self.heads, w // self.heads], np.int64))
        together = scope.const(np.array([0, t, w], np.int64))

        def const(name: str) -> str:
            return scope.const(p[name].astype(np.float32))

        def flat(name: str) -> str:
            return scope.const(p[name].astype(np.float32).ravel())

        def linear(v: str, name: str, i: int) -> str:
            return scope.add("Add", scope.add("MatMul", v, const(f"{name}{i}")), const(f"{name}_bias{i}"))

        def norm(v: str, scale: str, shift: str) -> str:
            return scope.add("LayerNormalization", v, flat(scale), flat(shift), axis=-1, epsilon=EPS)

        def split(v: str, perm: list[int]) -> str:
            return scope.add("Transpose", scope.add("Reshape", v, apart), perm=perm)

        vectors = self.fields.emit(scope, p, x)
        rows = scope.add("Shape", x, start=0, end=1)
        shape = scope.add("Concat", rows, scope.const(np.array([1, w], np.int64)), axis=0)
        h = scope.add("Concat", scope.add("Expand", const("cls"), shape), vectors, axis=1)
        root = scope.const(np.float32(1.0 / math.sqrt(w // self.heads)))
        halves = [scope.const(np.array([v], np.int64)) for v in (0, self.hidden, 2 * self.hidden, 2)]
        for i in range(self.layers):
            v = h if i == 0 else norm(h, f"before_scale{i}", f"before_shift{i}")
            q, value = (split(linear(v, name, i), [0, 2, 1, 3]) for name in ("query", "value"))
            key = split(linear(v, "key", i), [0, 2, 3, 1])
            shares = scope.add("Softmax", scope.add("Mul", scope.add("MatMul", q, key), root), axis=-1)
            mixed = scope.add("Transpose", scope.add("MatMul", shares, value), perm=[0, 2, 1, 3])
            h = scope.add("Add", h, linear(scope.add("Reshape", mixed, together), "mix", i))
            v = linear(norm(h, f"middle_scale{i}", f"middle_shift{i}"), "up", i)
            plain = scope.add("Slice", v, halves[0], halves[1], halves[3])
            gate = scope.add("Relu", scope.add("Slice", v, halves[1], halves[2], halves[3]))
            h = scope.add("Add", h, linear(scope.add("Mul", plain, gate), "down", i))
        first = scope.add("Gather", h, scope.const(np.int64(0)), axis=1)
        v = scope.add("Relu", norm(first, "norm_scale", "norm_shift"))
        return [scope.add("Gemm", v, const("head"), const("head_bias"))]


def _norm(h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """h: (K, R, w); scale, shift: (K, 1, w)."""
    from torch.nn import functional as F

    return F.layer_norm(h, h.shape[-1:], eps=EPS) * scale + shift

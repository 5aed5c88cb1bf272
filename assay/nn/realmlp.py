"""The net of RealMLP: learnt input scales, NTK parametrisation, parametric activations, periodic number embeddings."""

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

_FREQUENCIES = 16
_EMBEDDED = 3  # values per column beside the column itself


@dataclass(frozen=True)
class RealMlpNet:
    """x * scale -> (embedding) -> width x depth -> d_out, weights N(0, 1) times 1/sqrt(fan in), last layer zero at first.

    embedding: every column x becomes [x, linear(cos(2 pi (f x + b)))], "PBLD".  sigma: deviation of the frequencies f.
    """

    d_in: int
    d_out: int
    width: int
    depth: int
    activation: str
    embedding: bool
    sigma: float = 0.1

    @cached_property
    def _sizes(self) -> list[int]:
        return [self.d_in, *[self.width] * self.depth, self.d_out]

    @cached_property
    def layout(self) -> Layout:
        d, shapes = self.d_in, [("scale", (1, self.d_in)), ("gain", (1, 1))]
        found: list[tuple[str, tuple[int, ...]]] = list(shapes)
        if self.embedding:
            found += [("frequency", (d, _FREQUENCIES)), ("phase", (d, _FREQUENCIES))]
            found += [
                ("mix", (d, _FREQUENCIES, _EMBEDDED)),
                ("shift", (d, _EMBEDDED)),
                ("inner", (d, _EMBEDDED, self.width)),
            ]
        for i, (a, b) in enumerate(pairwise(self._sizes)):
            found += [(f"weight{i}", (a, b)), (f"bias{i}", (1, b))]
            if i < self.depth:
                found.append((f"slope{i}", (1, b)))
        return Layout(tuple(found))

    @property
    def activations_per_row(self) -> int:
        embedded = self.d_in * (4 * _FREQUENCIES + 2 * _EMBEDDED) if self.embedding else 0
        return 2 * self.d_in + embedded + 7 * self.width * self.depth + 4 * self.d_out

    def init(self, rng: np.random.Generator, x: np.ndarray) -> dict[str, np.ndarray]:
        d = x.shape[1]
        arrays: dict[str, np.ndarray] = {}
        for name, shape in replace(self, d_in=d).layout.shapes:
            if name == "frequency":
                arrays[name] = rng.normal(0.0, self.sigma, shape)
            elif name == "phase":
                arrays[name] = rng.uniform(-0.5, 0.5, shape)
            elif name in ("mix", "shift"):
                bound = 1.0 / math.sqrt(_FREQUENCIES)
                arrays[name] = rng.uniform(-bound, bound, shape)
            elif name in (f"weight{self.depth}", f"bias{self.depth}"):
                arrays[name] = np.zeros(shape)
            elif name == "scale" or name.startswith("slope"):
                arrays[name] = np.ones(shape)
            elif name == "gain":
                arrays[name] = np.full(shape, 1.0 / math.sqrt(d * (1 + _EMBEDDED) if self.embedding else d))
            else:
                arrays[name] = rng.normal(size=shape)
        return arrays

    def lr_factors(self) -> Mapping[str, float]:
        """The gain is a constant of each member: its own width, which padding must not change."""
        small = dict.fromkeys([n for n, _ in self.layout.shapes if n.startswith(("bias", "slope"))], 0.1)
        return {"scale": 6.0, "gain": 0.0, **small, **dict.fromkeys(("frequency", "phase", "mix", "shift"), 0.1)}

    def decay_factors(self) -> Mapping[str, float]:
        return {n: 0.0 for n, _ in self.layout.shapes if not n.startswith(("weight", "inner"))}

    def forward(self, p: Mapping[str, Tensor], x: Tensor, dropout: Dropout | None) -> Tensor:
        import torch

        x = x * p["scale"]
        h = affine(x, p["weight0"] * p["gain"], p["bias0"]) if not self.embedding else self._embed(p, x)
        for i in range(self.depth):
            if i > 0:
                h = affine(h, p[f"weight{i}"] / math.sqrt(self.width), p[f"bias{i}"])
            h = torch.lerp(h, activate(self.activation, h), p[f"slope{i}"])
            if dropout is not None:
                h = dropout(h)
        out = affine(h, p[f"weight{self.depth}"] / math.sqrt(self.width), p[f"bias{self.depth}"])
        return out.unsqueeze(2)  # (K, B, c) -> (K, B, 1, c)

    def emit(self, scope: Scope, p: Arrays, x: str) -> list[str]:
        x = scope.add("Mul", x, scope.const(p["scale"].astype(np.float32)))
        root = 1.0 / math.sqrt(self.width)
        gains = [float(p["gain"][0, 0]), *[root] * self.depth]
        h = x
        for i, gain in enumerate(gains):
            weight, bias = p[f"weight{i}"] * np.float32(gain), p[f"bias{i}"]
            h = scope.add("Gemm", h, scope.const(weight.astype(np.float32)), scope.const(bias.astype(np.float32)))
            if i == 0 and self.embedding:
                h = scope.add("Add", h, self._emit_embedding(scope, p, x))
            if i < self.depth:
                bent = scope.add("Sub", emit_activation(scope, self.activation, h), h)
                h = scope.add("Add", h, scope.add("Mul", bent, scope.const(p[f"slope{i}"].astype(np.float32))))
        return [h]

    def _embed(self, p: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """First layer over [x, embedding]: two products, so that wider members stay the leading corner of the buffer."""
        import torch

        k, b, d = x.shape
        turns = x.transpose(1, 2).unsqueeze(-1) * p["frequency"].unsqueeze(2) + p["phase"].unsqueeze(2)  # (K, d, B, F)
        waves = torch.cos(2.0 * math.pi * turns).reshape(k * d, b, _FREQUENCIES)
        e = torch.bmm(waves, p["mix"].reshape(k * d, _FREQUENCIES, _EMBEDDED)).view(k, d, b, _EMBEDDED)
        e = (e + p["shift"].unsqueeze(2)).transpose(1, 2).reshape(k, b, d * _EMBEDDED)
        inner = p["inner"].reshape(k, d * _EMBEDDED, self.width)
        return torch.baddbmm(affine(x, p["weight0"] * p["gain"], p["bias0"]), e, inner * p["gain"])

    def _emit_embedding(self, scope: Scope, p: Arrays, x: str) -> str:
        def const(a: np.ndarray) -> str:
            return scope.const(a.astype(np.float32))

        d = p["scale"].shape[1]
        column = scope.add("Unsqueeze", x, scope.const([-1]))  # (n, d) -> (n, d, 1)
        turns = scope.add("Add", scope.add("Mul", column, const(p["frequency"])), const(p["phase"]))
        waves = scope.add("Cos", scope.add("Mul", turns, scope.const(2.0 * math.pi)))
        e = scope.add("Add", scope.add("Einsum", waves, const(p["mix"]), equation="ndf,dfe->nde"), const(p["shift"]))
        flat = scope.add("Reshape", e, scope.const([-1, d * _EMBEDDED]))
        inner = p["inner"].reshape(d * _EMBEDDED, self.width) * p["gain"]
        return scope.add("MatMul", flat, const(inner))

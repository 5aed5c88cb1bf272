"""Columns as fields: every raw column becomes one vector, whatever it was prepared into.

The vector of a field is the sum over its prepared columns x_j of x_j * w_j, which for one-hot levels is an embedding
table, plus what a number embedding makes of x_j: "ple", piecewise linear encoding over quantiles of the training rows,
or "periodic", cosines of learned frequencies (Gorishniy, Rubachev, Babenko, "On Embeddings for Numerical Features in
Tabular Deep Learning", NeurIPS 2022); "linear" adds nothing.
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
from assay.nn.layout import Arrays

if TYPE_CHECKING:
    from torch import Tensor

BINS = 8  # of a piecewise linear encoding
FREQUENCIES = 8
FAR = 1e6  # where a bin begins that a column with few distinct values does not have: inputs are bounded far below


@dataclass(frozen=True)
class Fields:
    """groups: for every prepared column its raw one, any whole numbers.  width: of a vector.  sigma: deviation of the
    frequencies at first."""

    groups: tuple[int, ...]
    width: int
    numbers: str = "ple"
    sigma: float = 0.1

    @cached_property
    def members(self) -> np.ndarray:
        """float32 (fields, columns), 1 where a column belongs to a field."""
        _, field = np.unique(np.array(self.groups, np.int64), return_inverse=True)
        found = np.zeros((int(field.max()) + 1, len(field)), np.float32)
        found[field, np.arange(len(field))] = 1.0
        return found

    @property
    def n(self) -> int:
        return len(self.members)

    @property
    def shapes(self) -> Shapes:
        d, w = len(self.groups), self.width
        found: Shapes = [("field_weight", (d, w)), ("field_bias", (self.n, w))]
        if self.numbers == "ple":
            found += [("field_start", (d, BINS)), ("field_length", (d, BINS)), ("field_steps", (d, BINS, w))]
        if self.numbers == "periodic":
            q = FREQUENCIES
            found += [("field_frequency", (d, q)), ("field_phase", (d, q)), ("field_waves", (d, q, w))]
        return found

    @property
    def activations_per_row(self) -> int:
        inner = {"ple": BINS, "periodic": 2 * FREQUENCIES}.get(self.numbers, 0)
        return len(self.groups) * (1 + 2 * inner + 2 * self.width) + self.n * self.width

    def init(self, rng: np.random.Generator, x: np.ndarray) -> dict[str, np.ndarray]:
        """x: the training rows, whose quantiles are the bins."""
        bound = 1.0 / math.sqrt(self.width)
        found: dict[str, np.ndarray] = {}
        for name, shape in self.shapes:
            if name == "field_frequency":
                found[name] = rng.normal(0.0, self.sigma, shape)
            elif name == "field_phase":
                found[name] = rng.uniform(-0.5, 0.5, shape)
            elif name in ("field_start", "field_length"):
                continue
            else:
                found[name] = rng.uniform(-bound, bound, shape)
        if self.numbers == "ple":
            found["field_start"], found["field_length"] = _bins(x)
        return found

    @property
    def lr_factors(self) -> dict[str, float]:
        """Bins are constants."""
        return {"field_start": 0.0, "field_length": 0.0} if self.numbers == "ple" else {}

    @property
    def decay_factors(self) -> dict[str, float]:
        return {name: 0.0 for name, _ in self.shapes if name not in ("field_weight", "field_steps", "field_waves")}

    def forward(self, p: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """x: (K, B, d) -> (K, B, fields, width)."""
        import torch

        deep = x.unsqueeze(3)
        each = deep * p["field_weight"].unsqueeze(1)  # (K, B, d, w)
        if self.numbers == "ple":
            share = (deep - p["field_start"].unsqueeze(1)) / p["field_length"].unsqueeze(1)
            each = each + torch.einsum("kbdt,kdtw->kbdw", share.clamp(0.0, 1.0), p["field_steps"])
        if self.numbers == "periodic":
            turns = deep * p["field_frequency"].unsqueeze(1) + p["field_phase"].unsqueeze(1)
            each = each + torch.einsum("kbdt,kdtw->kbdw", torch.cos(2.0 * math.pi * turns), p["field_waves"])
        members = torch.as_tensor(self.members, dtype=x.dtype, device=x.device)
        return members @ each + p["field_bias"].unsqueeze(1)

    def emit(self, scope: Scope, p: Arrays, x: str) -> str:
        """[N, d] -> [N, fields, width]."""

        def const(name: str) -> str:
            return scope.const(p[name].astype(np.float32))

        deep = scope.add("Unsqueeze", x, scope.const(np.array([2], np.int64)))
        each = scope.add("Mul", deep, const("field_weight"))
        if self.numbers == "ple":
            share = scope.add("Div", scope.add("Sub", deep, const("field_start")), const("field_length"))
            inside = scope.add("Clip", share, scope.const(np.float32(0)), scope.const(np.float32(1)))
            each = scope.add("Add", each, scope.add("Einsum", inside, const("field_steps"), equation="bdt,dtw->bdw"))
        if self.numbers == "periodic":
            turns = scope.add("Add", scope.add("Mul", deep, const("field_frequency")), const("field_phase"))
            waves = scope.add("Cos", scope.add("Mul", turns, scope.const(np.float32(2.0 * math.pi))))
            each = scope.add("Add", each, scope.add("Einsum", waves, const("field_waves"), equation="bdt,dtw->bdw"))
        return scope.add("Add", scope.add("MatMul", scope.const(self.members), each), const("field_bias"))


def _bins(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the bins of every column begin and how long they are, (d, BINS) each, between its quantiles."""
    start, length = np.full((x.shape[1], BINS), FAR), np.ones((x.shape[1], BINS))
    shares = np.linspace(0, 1, BINS + 1)
    for j in range(x.shape[1]):
        edges = np.unique(np.quantile(x[:, j].astype(np.float64), shares))
        m = len(edges) - 1
        if m > 0:
            start[j, :m], length[j, :m] = edges[:-1], np.maximum(np.diff(edges), 1e-6)
    return start, length

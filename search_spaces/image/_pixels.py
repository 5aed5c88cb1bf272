"""What families for pictures wish for: pixels at a resolution, or features of them; computed once and shared by trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.data.front_image import Decoded, ImageFront
from assay.data.table import Table
from assay.families import Shape, Target
from assay.model.graph import Graph, Scope

CHUNK = 16  # pictures that features are computed of at once: what is between then stays in the processor's cache
POOLS = (4, 3, 2, 1)  # means over squares of these sides are exact, so that training and graph round alike


def pool_for(size: int, side: int) -> int:
    """By how much pictures of a size are shrunk to come near to a side, never below it."""
    return next(k for k in POOLS if size % k == 0 and (size // k >= side or k == 1))


def side_seen(shape: Shape, wished: int) -> int:
    """The side of the pixels that a family gets which wishes for one."""
    return shape.side // pool_for(shape.side, wished) if shape.side else wished


@dataclass(frozen=True)
class Pixels:
    """The pixels, shrunk to about `side` where they are more: uint8 (n, side, side, 3)."""

    side: int

    def fit(
        self, table: Table, y: np.ndarray, target: Target, seed: int, weight: np.ndarray | None = None
    ) -> tuple[Shrunk, np.ndarray]:
        made = Shrunk(*source(table), self.side)
        return made, made.transform(table)


@dataclass(frozen=True)
class Shrunk:
    """A column of pictures as pixels.  front: how they are decoded; side: that is wished for."""

    column: str
    front: ImageFront
    wished: int
    groups: None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def pool(self) -> int:
        return pool_for(self.front.size, self.wished)

    @property
    def side(self) -> int:
        """Of the pixels it makes."""
        return self.front.size // self.pool

    def transform(self, table: Table) -> np.ndarray:
        x = self.front.encode(table.columns[self.column])
        k, side = self.pool, self.side
        if k == 1:
            return x
        out = np.empty((len(x), side, side, 3), np.uint8)
        for start in range(0, len(x), 256):
            part = x[start : start + 256].reshape(-1, side, k, side, k, 3)
            out[start : start + 256] = np.rint(part.sum((2, 4), dtype=np.int64).astype(np.float32) / np.float32(k * k))
        return out

    def to_onnx(self, inputs: Mapping[str, str]) -> Graph:
        scope = Scope()
        x = inputs[self.column]
        if self.pool == 1:
            return scope.graph(scope.add("Identity", x))
        channels = scope.add("Transpose", scope.add("Cast", x, to=1), perm=[0, 3, 1, 2])
        k = self.pool
        mean = scope.add("AveragePool", channels, kernel_shape=[k, k], strides=[k, k])
        back = scope.add("Transpose", scope.add("Round", mean), perm=[0, 2, 3, 1])
        return scope.graph(scope.add("Cast", back, to=2))


@dataclass(frozen=True, eq=False)
class Features:
    """Pixels, then what a `compute(ops, x)` makes of them, then columns with mean 0 and deviation 1.

    mean, scale: float32 (d,).
    """

    pixels: Shrunk
    made_by: Any
    mean: np.ndarray
    scale: np.ndarray
    groups: None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return self.pixels.columns

    def transform(self, table: Table) -> np.ndarray:
        return np.asarray((computed(self.made_by, self.pixels.transform(table)) - self.mean) * self.scale)

    def to_onnx(self, inputs: Mapping[str, str]) -> Graph:
        from assay.nn.ops import ScopeOps

        scope = Scope()
        ops = ScopeOps(scope)
        found = self.made_by.compute(ops, ops.pixels(scope.include(self.pixels.to_onnx(inputs))))
        centred = scope.add("Sub", found, scope.const(self.mean))
        return scope.graph(scope.add("Mul", centred, scope.const(self.scale)))

    @staticmethod
    def fitted(pixels: Shrunk, made_by: Any, x: np.ndarray, least: float) -> tuple[Features, np.ndarray]:
        """x: the training pictures' pixels.  least: columns are not blown up beyond this share of the usual deviation."""
        found = computed(made_by, x)
        mean = found.mean(0, dtype=np.float64).astype(np.float32)
        spread = found.std(0, dtype=np.float64)
        usual = max(1e-6, float(np.sqrt(np.mean(spread**2))))
        scale = (1.0 / np.maximum(spread, least * usual)).astype(np.float32)
        return Features(pixels, made_by, mean, scale), np.asarray((found - mean) * scale)


def computed(made_by: Any, x: np.ndarray) -> np.ndarray:
    """float32 (n, d) of `made_by.compute` over pixels, uint8 (n, side, side, 3)."""
    import torch

    from assay.nn.ops import TorchOps

    if not len(x):  # how many numbers a picture has is known from one
        return computed(made_by, np.zeros((1, *x.shape[1:]), np.uint8))[:0]
    ops = TorchOps()
    parts = []
    with torch.inference_mode():
        for i in range(0, len(x), CHUNK):
            part = torch.from_numpy(np.ascontiguousarray(x[i : i + CHUNK]))
            parts.append(made_by.compute(ops, ops.pixels(part)).numpy())
    return np.concatenate(parts)


@dataclass(frozen=True)
class GradientWish:
    """Histograms of oriented gradients of pictures at a side."""

    side: int
    cells: tuple[int, ...]
    directions: int
    colour: bool

    def fit(
        self, table: Table, y: np.ndarray, target: Target, seed: int, weight: np.ndarray | None = None
    ) -> tuple[Features, np.ndarray]:
        from assay.nn.images.fixed import Gradients

        pixels = Shrunk(*source(table), self.side)
        x = pixels.transform(table)
        cells = tuple(c for c in self.cells if c <= pixels.side) or (pixels.side,)
        # blocks have length one: how far a column varies says how much it tells
        return Features.fitted(pixels, Gradients(pixels.side, cells, self.directions, self.colour), x, least=1.0)


def gradients_of(shape: Shape, side: int, directions: int) -> tuple[int, float]:
    """(columns, seconds) of `GradientWish` with cells of 4 and 8 pixels over all rows."""
    n = side_seen(shape, side)
    d = 4 * directions * (max(1, n // 4 - 1) ** 2 + max(1, n // 8 - 1) ** 2) + 3 * max(1, n // 8) ** 2
    return d, shape.n_rows * n * n * directions * 2.5e-8


@dataclass(frozen=True)
class PatchWish:
    """Responses to patches learnt from the training pictures."""

    side: int
    filters: int
    size: int
    grid: int
    threshold: float
    stride: int = 1

    def fit(
        self, table: Table, y: np.ndarray, target: Target, seed: int, weight: np.ndarray | None = None
    ) -> tuple[Features, np.ndarray]:
        from assay.nn.images.fixed import learn_patches

        pixels = Shrunk(*source(table), self.side)
        x = pixels.transform(table)
        grey = is_grey(x)
        learnt = learn_patches(
            x, np.random.default_rng(seed), k=self.filters, size=min(self.size, pixels.side // 2), grid=self.grid,
            threshold=self.threshold, grey=grey, stride=self.stride, n_patches=max(20_000, 100 * self.filters),
        )  # fmt: skip
        return Features.fitted(pixels, learnt, x, least=0.2)


def is_grey(x: np.ndarray) -> bool:
    """Whether all pictures are without colour."""
    return bool((x[..., 0] == x[..., 1]).all() and (x[..., 1] == x[..., 2]).all())


def source(table: Table) -> tuple[str, ImageFront]:
    """The one column of pictures and the front that decoded it."""
    for name, column in table.columns.items():
        if isinstance(column, Decoded):
            return name, column.front
    raise TypeError("there is no column of decoded pictures")

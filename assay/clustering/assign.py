"""How a fitted clustering puts rows, old and new, into clusters: by NumPy and by ONNX nodes alike.

Both kinds answer float (n, 2): the cluster, 0 to k - 1 or -1 for noise, and a distance.  What is judged, stored and
served is always this answer, so rows of the training file get later what they got when the clustering was chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from assay.model.graph import Graph, Scope

NOISE = -1
BATCH = 4_000_000  # distances at once


@dataclass(frozen=True, eq=False)
class Nearest:
    """The cluster of the nearest of some points, and the distance to that point; noise past `radius`.

    points: float32 (m, d): centroids, core points or a labelled sample.  codes: int64 (m,), the cluster of each, -1
    where the point itself is noise.
    """

    points: np.ndarray
    codes: np.ndarray
    radius: float = float("inf")
    setting: dict[str, Any] = field(default_factory=dict)  # what a scan decided, as fields of the family's Config

    @property
    def n_clusters(self) -> int:
        return int(self.codes.max()) + 1

    def predict(self, x: np.ndarray) -> np.ndarray:
        """x: float32 (n, d) -> float64 (n, 2)."""
        if not len(x):
            return np.empty((0, 2))
        distance, at = self._tree.query(np.asarray(x, np.float64))
        label = np.where(distance > self.radius, NOISE, self.codes[at])
        return np.column_stack([label, distance])

    def margin(self, x: np.ndarray) -> np.ndarray:
        """How much further off another answer is, relative to the distances at play; near 0 is a tie.  (n,)"""
        found = np.empty(len(x))
        for rows in _chunks(len(x), len(self.points)):
            part = np.asarray(x[rows], np.float64)
            far = np.sqrt(np.maximum(_squares(part, self.points.astype(np.float64)), 0.0))
            first = far.argmin(1)
            best = far[np.arange(len(part)), first]
            other = np.where(self.codes[None] != self.codes[first][:, None], far, np.inf).min(1)
            gap = np.minimum(other - best, np.abs(best - self.radius))
            found[rows] = gap / (1.0 + np.sqrt((part**2).sum(1)))
        return found

    def to_onnx(self, x: str) -> Graph:
        s = Scope()
        points = self.points.astype(np.float32)
        product = s.add("MatMul", x, s.const(np.ascontiguousarray(points.T) * np.float32(-2)))  # (N, m)
        near = s.add("Add", product, s.const((points.astype(np.float64) ** 2).sum(1).astype(np.float32)[None]))
        at = s.add("ArgMin", near, axis=1, keepdims=0)
        difference = s.add("Sub", x, s.add("Gather", s.const(points), at, axis=0))
        # taken anew from the point itself: the difference of squares above is too coarse for small distances
        distance = s.add("ReduceL2", difference, s.const(np.array([1], np.int64)), keepdims=1)
        label = s.add("Gather", s.const(self.codes.astype(np.float32)[:, None]), at, axis=0)
        if np.isfinite(self.radius):
            far = s.add("Greater", distance, s.const(np.float32(self.radius)))
            label = s.add("Where", far, s.const(np.float32(NOISE)), label)
        return s.graph(s.add("Concat", label, distance, axis=1))

    def facts(self) -> dict[str, Any]:
        return {"points": len(self.points), "radius": self.radius if np.isfinite(self.radius) else None}

    @cached_property
    def _tree(self) -> Any:
        from scipy.spatial import cKDTree

        return cKDTree(self.points.astype(np.float64), leafsize=32)


@dataclass(frozen=True, eq=False)
class Components:
    """The most probable of k normal distributions, and the Mahalanobis distance to its mean.

    bias: (k,) logarithm of weight and determinant.  mean: (k, d).  whiten: (k, d, d), the Cholesky factor of the
    precision: (x - mean) @ whiten has unit covariance.
    """

    bias: np.ndarray
    mean: np.ndarray
    whiten: np.ndarray
    setting: dict[str, Any] = field(default_factory=dict)

    @property
    def n_clusters(self) -> int:
        return len(self.bias)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """x: float32 (n, d) -> float64 (n, 2)."""
        if not len(x):
            return np.empty((0, 2))
        answer, squares = self._answer(x)
        label = answer.argmax(1)
        return np.column_stack([label, np.sqrt(squares[np.arange(len(x)), label])])

    def margin(self, x: np.ndarray) -> np.ndarray:
        """By how much the most probable component leads, relative to the squared distances at play.  (n,)"""
        if self.n_clusters == 1:
            return np.full(len(x), np.inf)
        answer, squares = self._answer(x)
        ordered = np.sort(answer, axis=1)
        return np.asarray((ordered[:, -1] - ordered[:, -2]) / (1.0 + squares.min(1)))

    def to_onnx(self, x: str) -> Graph:
        s = Scope()
        axes = s.const(np.array([0], np.int64))
        apart = s.add("Sub", s.add("Unsqueeze", x, axes), s.const(self.mean[:, None].astype(np.float32)))  # (k, N, d)
        white = s.add("MatMul", apart, s.const(self.whiten.astype(np.float32)))
        squares = s.add("ReduceSumSquare", white, s.const(np.array([2], np.int64)), keepdims=0)  # (k, N)
        half = s.add("Mul", squares, s.const(np.float32(-0.5)))
        answer = s.add("Add", half, s.const(self.bias[:, None].astype(np.float32)))
        at = s.add("ArgMax", answer, axis=0, keepdims=1)  # (1, N)
        distance = s.add("Sqrt", s.add("GatherElements", squares, at, axis=0))
        both = s.add("Concat", s.add("Cast", at, to=1), distance, axis=0)
        return s.graph(s.add("Transpose", both, perm=[1, 0]))

    def facts(self) -> dict[str, Any]:
        return {"components": len(self.bias)}

    def _answer(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-density up to a constant, and squared Mahalanobis distance, of every component.  (n, k) each"""
        wide = np.asarray(x, np.float64)
        squares = np.column_stack([(((wide - m) @ w) ** 2).sum(1) for m, w in zip(self.mean, self.whiten, strict=True)])
        return self.bias - 0.5 * squares, squares


Assigner = Nearest | Components


def by_size(codes: np.ndarray) -> np.ndarray:
    """The same clusters numbered 0, 1, ... from the largest to the smallest; -1 stays.  int64 (n,)"""
    names, place, count = np.unique(codes, return_inverse=True, return_counts=True)
    order = sorted(range(len(names)), key=lambda i: (names[i] < 0, -count[i], i))
    new = np.empty(len(names), np.int64)
    new[order] = np.arange(len(names))
    new[names < 0] = NOISE
    return np.asarray(new[place])


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a**2).sum(1)[:, None] - 2 * a @ b.T + (b**2).sum(1)[None])


def _chunks(n: int, m: int) -> Iterator[slice]:
    step = max(1, BATCH // max(1, m))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))

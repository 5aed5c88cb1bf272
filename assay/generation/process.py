"""A smooth function of the cells of a row: the mean of a Gaussian process with a length scale for every column.

Few rows are learned best by what assumes little but smoothness and still finds out which columns matter.  Rasmussen, Williams:
Gaussian Processes for Machine Learning, 2006, chapter 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.model.graph import Scope
from assay.model.similarity import emit_similarity, similarity
from assay.training.relevance import length_scales

FAR = 4.0  # deviations past which a number says no more
KERNEL = "matern32"
MOST_LEARNED = 400  # rows the length scales are learned from


@dataclass(frozen=True, eq=False)
class Process:
    """sizes: codes of each of the d columns, 0 for a number.  mean, deviation: (d,) of the numbers.  lengths: (d,), of
    numbers in deviations, of codes that differ 1 apart.  rows: (m, D), as `places` gives them; weight: (m,); level."""

    sizes: tuple[int, ...]
    mean: np.ndarray
    deviation: np.ndarray
    lengths: np.ndarray
    rows: np.ndarray
    weight: np.ndarray
    level: float

    def times(self, factor: float) -> Process:
        return replace(self, weight=self.weight * factor, level=self.level * factor)

    def places(self, x: np.ndarray) -> np.ndarray:
        """Rows (n, d) of cells as points (n, D), between which distances are in units of the length scales."""
        return np.asarray(_points(x, self.sizes, self.mean, self.deviation) / _wide(self.lengths, self.sizes))

    def at(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(similarity(KERNEL, self.places(x), self.rows) @ self.weight + self.level)

    def emit(self, scope: Scope, x: str) -> str:
        """Float32 [N, 1]."""
        numbers = [j for j, size in enumerate(self.sizes) if not size]
        blocks: list[str] = []
        if numbers:
            z = scope.add("Gather", x, scope.const(np.array(numbers, np.int64)), axis=1)
            z = emit_standard(scope, z, self.mean[numbers], self.deviation[numbers])
            blocks.append(scope.add("Div", z, scope.const(self.lengths[numbers][None].astype(np.float32))))
        for j, size in enumerate(self.sizes):
            if size:
                code = scope.add("Gather", x, scope.const(np.array([j], np.int64)), axis=1)
                hot = scope.add("Equal", code, scope.const(np.arange(size, dtype=np.float32)[None]))
                apart = np.float32(math.sqrt(0.5) / self.lengths[j])
                blocks.append(scope.add("Mul", scope.add("Cast", hot, to=1), scope.const(apart)))
        points = blocks[0] if len(blocks) == 1 else scope.add("Concat", *blocks, axis=1)
        similar = emit_similarity(scope, KERNEL, scope.add("Cast", points, to=11), self.rows)
        out = scope.add("MatMul", similar, scope.const(self.weight[:, None], np.float64))
        return scope.add("Cast", scope.add("Add", out, scope.const(np.array([[self.level]]), np.float64)), to=1)


def fit_process(x: np.ndarray, y: np.ndarray, sizes: Sequence[int], seed: int) -> tuple[Process, np.ndarray]:
    """Length scales and noise of the largest marginal likelihood times a weak prior, and what every row would be told to be
    without itself (n,).

    x: float32 (n, d) cells, NaN is missing; sizes: codes of each column, 0 for a number; y: (n,) of deviation about 1.
    """
    sizes = tuple(sizes)
    numbers = np.array([not s for s in sizes])
    there = np.where(np.isnan(x).all(0), 0.0, x).astype(np.float64)
    mean = np.where(numbers, np.nanmean(there, axis=0), 0.0)
    deviation = np.where(numbers, np.nanstd(there, axis=0), 1.0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    points, level = _points(x, sizes, mean, deviation), float(y.mean())
    some = np.random.default_rng(seed).permutation(len(x))[:MOST_LEARNED]
    lengths, signal, noise = length_scales(points[some], y[some] - level, _wide(np.arange(len(sizes)), sizes))
    rows = points / _wide(lengths, sizes)
    matrix = signal * similarity(KERNEL, rows, rows) + noise * np.eye(len(rows))
    inverse = np.linalg.inv(matrix)
    weight = inverse @ (y - level)
    held = y - weight / np.diag(inverse)  # Rasmussen, Williams, equation 5.12
    return Process(sizes, mean, deviation, lengths, rows, signal * weight, level), held


def standard(x: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Numbers in deviations from the mean, cut off far from it; missing ones count as the mean."""
    return np.asarray(np.clip(np.nan_to_num((x - mean) / deviation), -FAR, FAR))


def emit_standard(scope: Scope, x: str, mean: np.ndarray, deviation: np.ndarray) -> str:
    """The same of float32 [N, d]."""
    z = scope.add("Sub", x, scope.const(mean[None].astype(np.float32)))
    z = scope.add("Div", z, scope.const(deviation[None].astype(np.float32)))
    z = scope.add("Where", scope.add("IsNaN", z), scope.const(np.float32(0)), z)
    return scope.add("Clip", z, scope.const(np.float32(-FAR)), scope.const(np.float32(FAR)))


def _points(x: np.ndarray, sizes: Sequence[int], mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """float64 (n, D): first numbers, standardised, missing ones at 0; then codes, as corners 1 apart."""
    numbers = np.array(sizes) == 0
    hot = [(x[:, j : j + 1] == np.arange(size)[None]) * math.sqrt(0.5) for j, size in enumerate(sizes) if size]
    return np.concatenate([standard(x[:, numbers], mean[numbers], deviation[numbers]), *hot], 1, dtype=np.float64)


def _wide(of_columns: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """What belongs to the column of every coordinate of a point, (D,)."""
    counts = np.array(sizes)
    return np.concatenate([of_columns[counts == 0], np.repeat(of_columns, counts)])

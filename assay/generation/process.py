"""A smooth function of the cells of a row: the mean of a Gaussian process with a length scale for every column.

Few rows are learned best by what assumes little but smoothness and still finds out which columns matter (automatic relevance
determination).  Rasmussen, Williams: Gaussian Processes for Machine Learning, 2006, chapters 2, 4 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from assay.model.graph import Scope
from assay.model.similarity import emit_similarity, similarity, squared_gaps

FAR = 4.0  # deviations past which a number says no more
KERNEL = "matern32"
MOST_LEARNED = 400  # rows the length scales are learned from
ROUNDS = 30  # of that
USUAL, SPREAD = 1.0, 1.0  # median length scale over the root of the number of columns, and spread of its logarithm
NOISES = (1e-3, 4.0)  # variance, of numbers of variance about 1


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
        return _points(x, self.sizes, self.mean, self.deviation) / _wide(self.lengths, self.sizes)

    def at(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(similarity(KERNEL, self.places(x), self.rows) @ self.weight + self.level)

    def emit(self, scope: Scope, x: str) -> str:
        """Float32 [N, 1]."""
        numbers = [j for j, size in enumerate(self.sizes) if not size]
        blocks: list[str] = []
        if numbers:
            z = scope.add("Gather", x, scope.const(np.array(numbers, np.int64)), axis=1)
            z = scope.add("Sub", z, scope.const(self.mean[numbers][None].astype(np.float32)))
            z = scope.add("Div", z, scope.const(self.deviation[numbers][None].astype(np.float32)))
            z = scope.add("Where", scope.add("IsNaN", z), scope.const(np.float32(0)), z)
            z = scope.add("Clip", z, scope.const(np.float32(-FAR)), scope.const(np.float32(FAR)))
            blocks.append(scope.add("Div", z, scope.const(self.lengths[numbers][None].astype(np.float32))))
        for j, size in enumerate(self.sizes):
            if size:
                code = scope.add("Gather", x, scope.const(np.array([j], np.int64)), axis=1)
                hot = scope.add("Equal", code, scope.const(np.arange(size, dtype=np.float32)[None]))
                apart = np.float32(math.sqrt(0.5) / self.lengths[j])
                blocks.append(scope.add("Mul", scope.add("Cast", hot, to=1), scope.const(apart)))
        points = blocks[0] if len(blocks) == 1 else scope.add("Concat", *blocks, axis=1)
        order = [j for j, size in enumerate(self.sizes) if not size] + [j for j, size in enumerate(self.sizes) if size]
        similar = emit_similarity(scope, KERNEL, scope.add("Cast", points, to=11), _reordered(self.rows, self.sizes, order))
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
    lengths, signal, noise = _learned(points[some], y[some] - level, sizes)
    rows = points / _wide(lengths, sizes)
    matrix = signal * similarity(KERNEL, rows, rows) + noise * np.eye(len(rows))
    inverse = np.linalg.inv(matrix)
    weight = inverse @ (y - level)
    held = y - weight / np.diag(inverse)  # Rasmussen, Williams, equation 5.12
    return Process(sizes, mean, deviation, lengths, rows, signal * weight, level), held


def _points(x: np.ndarray, sizes: Sequence[int], mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """float64 (n, D): numbers standardised, missing ones at 0; codes as corners 1 apart."""
    blocks = []
    for j, size in enumerate(sizes):
        if size:
            blocks.append((x[:, j : j + 1] == np.arange(size)[None]) * math.sqrt(0.5))
        else:
            z = np.nan_to_num((x[:, j : j + 1] - mean[j]) / deviation[j])
            blocks.append(np.clip(z, -FAR, FAR))
    return np.concatenate(blocks, 1, dtype=np.float64)


def _wide(lengths: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """The length scale of every coordinate of a point, (D,)."""
    return np.repeat(lengths, [max(1, s) for s in sizes])


def _reordered(rows: np.ndarray, sizes: Sequence[int], order: Sequence[int]) -> np.ndarray:
    """The coordinates of points with the columns in another order."""
    start = np.concatenate([[0], np.cumsum([max(1, s) for s in sizes])])
    return rows[:, np.concatenate([np.arange(start[j], start[j + 1]) for j in order])]


def _learned(points: np.ndarray, y: np.ndarray, sizes: Sequence[int]) -> tuple[np.ndarray, float, float]:
    """(length scales (d,), variance of the function, variance of the noise)."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve
    from scipy.optimize import minimize

    d, n = len(sizes), len(points)
    column = np.repeat(np.arange(d), [max(1, s) for s in sizes])
    usual = math.log(USUAL * math.sqrt(d))
    usual_noise = math.log(0.1)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        signal, noise = math.exp(theta[d]), math.exp(theta[d + 1])
        z = points / np.exp(theta[:d])[column]
        far = np.sqrt(3.0 * squared_gaps(z, z))
        fades = signal * np.exp(-far)
        smooth = fades * (1.0 + far)
        try:
            factor = cho_factor(smooth + noise * np.eye(n), lower=True)
        except LinAlgError:
            return 1e10, np.zeros(d + 2)
        alpha = cho_solve(factor, y)
        free = cho_solve(factor, np.eye(n)) - np.outer(alpha, alpha)
        slope = np.empty(d + 2)
        bent = 3.0 * free * fades
        each = bent.sum(1) @ (z * z) - np.einsum("nd,nd->d", z, bent @ z)
        slope[:d] = np.bincount(column, each, minlength=d)
        slope[d] = 0.5 * float((free * smooth).sum())
        slope[d + 1] = 0.5 * noise * float(np.trace(free))
        prior = np.concatenate([(theta[:d] - usual) / SPREAD, [theta[d] / 2.0, (theta[d + 1] - usual_noise) / 2.0]])
        slope += prior / np.array([SPREAD] * d + [2.0, 2.0])
        nll = 0.5 * float(y @ alpha) + float(np.log(np.diag(factor[0])).sum()) + 0.5 * float(prior @ prior)
        return nll, slope

    start = np.array([usual] * d + [0.0, usual_noise])
    bounds = [(usual - 4.0, usual + 4.0)] * d + [(-4.0, 4.0), (math.log(NOISES[0]), math.log(NOISES[1]))]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ROUNDS}).x
    return np.exp(found[:d]), math.exp(found[d]), math.exp(found[d + 1])

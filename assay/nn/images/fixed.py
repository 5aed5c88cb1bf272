"""Features of pictures that need no training by gradients: oriented gradients, and responses to learnt patches."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from assay.nn.ops import Ops, Value

LUMA = (0.299, 0.587, 0.114)  # brightness of red, green and blue (ITU-R BT.601)


@dataclass(frozen=True)
class Gradients:
    """Histograms of oriented gradients, with the mean colour of every cell.

    Dalal, Triggs: Histograms of Oriented Gradients for Human Detection. CVPR 2005.  Changed: an edge is shared out among
    neighbouring directions by a power of the cosine, where the original interpolates linearly, so that all of it is
    convolution and elementwise work; cells of several sizes are used together.

    side: of the pictures in pixels.  cells: sides of the cells.  directions: signed, over the full circle.
    """

    side: int
    cells: tuple[int, ...] = (4, 8)
    directions: int = 8
    colour: bool = True

    def compute(self, ops: Ops, x: Value) -> Value:
        """x: (N, 3, side, side), 0 to 255 -> (N, d)."""
        grey = ops.filters(x, np.array(LUMA, np.float32).reshape(1, 3, 1, 1) / np.float32(255))
        steps = np.zeros((2, 1, 3, 3), np.float32)
        steps[0, 0, 1] = [-0.5, 0, 0.5]
        steps[1, 0, :, 1] = [-0.5, 0, 0.5]
        slopes = ops.filters(grey, steps, padding=1)  # (N, 2, side, side)
        size = ops.sqrt(ops.add(ops.filters(ops.mul(slopes, slopes), np.ones((1, 2, 1, 1), np.float32)), _tiny(ops)))
        angles = 2 * math.pi * np.arange(self.directions) / self.directions
        towards = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32).reshape(self.directions, 2, 1, 1)
        cosine = ops.relu(ops.div(ops.filters(slopes, towards), size))
        sharp = ops.mul(cosine, cosine)
        edges = ops.mul(ops.mul(sharp, sharp), size)  # (N, directions, side, side)
        parts = []
        for cell in self.cells:
            votes = ops.avg_pool(edges, cell, cell)
            parts.append(ops.reshape(self._normed(ops, votes, self.side // cell), (-1,)))
        if self.colour:
            means = ops.avg_pool(x, self.cells[-1], self.cells[-1])
            parts.append(ops.reshape(ops.mul(means, ops.const(np.array(0.25 / 255, np.float32))), (-1,)))
        return ops.concat(parts, 1)

    def _normed(self, ops: Ops, votes: Value, n: int) -> Value:
        """Each 2 x 2 block of cells scaled to length one, then clipped and scaled again (L2-Hys); single cells alone."""
        k = self.directions
        if n < 2:
            return self._unit(ops, votes, 1)
        corners = np.zeros((4 * k, k, 2, 2), np.float32)
        for i, (r, c) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            corners[np.arange(k) + i * k, np.arange(k), r, c] = 1.0
        blocks = ops.filters(votes, corners)
        return self._unit(ops, ops.clip(self._unit(ops, blocks, 4), 0.0, 0.2), 4)

    def _unit(self, ops: Ops, x: Value, cells: int) -> Value:
        total = ops.filters(ops.mul(x, x), np.ones((1, cells * self.directions, 1, 1), np.float32))
        return ops.div(x, ops.sqrt(ops.add(total, ops.const(np.array(1e-4, np.float32)))))


@dataclass(frozen=True, eq=False)
class Patches:
    """Soft responses to patches learnt by k-means on whitened patches, pooled over a grid.

    Coates, Ng, Lee: An Analysis of Single-Layer Networks in Unsupervised Feature Learning. AISTATS 2011.  Changed: both
    signs of a response beyond a threshold instead of the triangle over distances (Coates, Ng: The Importance of
    Encoding Versus Training with Sparse Coding and Vector Quantization, ICML 2011), which is one convolution.

    filters: float32 (k, channels, size, size), on patches with mean 0 and deviation 1 scaled by 1 / (deviation + eps).
    """

    side: int
    filters: np.ndarray
    offset: np.ndarray  # float32 (k,): response of the mean patch
    threshold: float
    grid: int
    stride: int = 1
    eps: float = 10.0

    def compute(self, ops: Ops, x: Value) -> Value:
        """x: (N, 3, side, side), 0 to 255 -> (N, 2 * k * grid * grid)."""
        k, channels, size, _ = self.filters.shape
        if channels == 1:
            x = ops.filters(x, np.array(LUMA, np.float32).reshape(1, 3, 1, 1))
        n = channels * size * size
        share = np.full((1, channels, size, size), 1.0 / n, np.float32)
        # around 128, so that squares lose no digits
        centred = ops.add(x, ops.const(np.array(-128.0, np.float32)))
        mean = ops.filters(centred, share, stride=self.stride)
        square = ops.filters(ops.mul(centred, centred), share, stride=self.stride)
        variance = ops.relu(ops.add(square, ops.mul(ops.mul(mean, mean), ops.const(np.array(-1.0, np.float32)))))
        spread = ops.sqrt(ops.add(variance, ops.const(np.array(self.eps, np.float32))))
        # filter of (patch - mean) = filter of patch - mean * sum of the filter
        sums = -self.filters.sum((1, 2, 3)).astype(np.float32).reshape(k, 1, 1, 1)
        raw = ops.add(ops.filters(centred, self.filters, stride=self.stride), ops.filters(mean, sums))
        found = ops.add(ops.div(raw, spread), ops.const(-self.offset.reshape(1, k, 1, 1).astype(np.float32)))
        low = ops.const(np.array(-self.threshold, np.float32))
        minus = ops.const(np.array(-1.0, np.float32))
        both = ops.concat([ops.relu(ops.add(found, low)), ops.relu(ops.add(ops.mul(found, minus), low))], 1)
        wide = (self.side - size) // self.stride + 1
        cell = wide // self.grid
        return ops.reshape(ops.avg_pool(both, cell, cell), (-1,))

    @property
    def width(self) -> int:
        """Columns of the answer."""
        wide = (self.side - self.filters.shape[2]) // self.stride + 1
        n = wide // (wide // self.grid)
        return int(2 * len(self.filters) * n * n)


def learn_patches(
    x: np.ndarray, rng: np.random.Generator, *, k: int, size: int, grid: int, threshold: float, grey: bool,
    stride: int = 1, n_patches: int = 40_000, rounds: int = 8,
) -> Patches:  # fmt: skip
    """k patches from pictures x, uint8 (n, side, side, 3).  Spherical k-means on ZCA-whitened patches."""
    side = x.shape[1]
    rows = rng.integers(0, len(x), n_patches)
    at = rng.integers(0, side - size + 1, (2, n_patches))
    span = np.arange(size)
    found = x[rows[:, None, None], (at[0][:, None] + span)[:, :, None], (at[1][:, None] + span)[:, None, :]]
    patches = found.astype(np.float32) - 128.0  # (n_patches, size, size, 3)
    if grey:
        patches = patches @ np.array(LUMA, np.float32)[:, None]
    channels = patches.shape[-1]
    flat = patches.transpose(0, 3, 1, 2).reshape(n_patches, -1)
    eps = 10.0
    flat = (flat - flat.mean(1, keepdims=True)) / np.sqrt(flat.var(1, keepdims=True) + eps)
    mean = flat.mean(0)
    values, vectors = np.linalg.eigh(np.cov((flat - mean).T).astype(np.float64))
    whiten = ((vectors / np.sqrt(np.maximum(values, 0) + 0.1)) @ vectors.T).astype(np.float32)
    white = (flat - mean) @ whiten
    norms = np.linalg.norm(white, axis=1, keepdims=True)
    unit = white / np.maximum(norms, 1e-6)
    centres = unit[rng.choice(n_patches, k, replace=False)]
    for _ in range(rounds):
        scores = unit @ centres.T
        nearest = np.abs(scores).argmax(1)
        sign = np.sign(scores[np.arange(n_patches), nearest])[:, None]
        order = np.argsort(nearest, kind="stable")
        starts = np.searchsorted(nearest[order], np.arange(k))
        counts = np.diff(np.append(starts, n_patches))
        sums = np.add.reduceat(
            np.vstack([(unit * sign)[order], np.zeros((1, unit.shape[1]), np.float32)]), starts, axis=0
        )
        sums[counts == 0] = unit[rng.choice(n_patches, int((counts == 0).sum()))]
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
    filters = (centres @ whiten.T).astype(np.float32)
    return Patches(
        side,
        filters.reshape(k, channels, size, size),
        (filters @ mean).astype(np.float32),
        threshold,
        grid,
        stride,
        eps,
    )


def _tiny(ops: Ops) -> Value:
    return ops.const(np.array(1e-8, np.float32))

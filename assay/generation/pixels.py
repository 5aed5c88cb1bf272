"""Pixels as few levels: what a picture's values are told apart by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.model.graph import Scope

MAX_LEVELS = 32
FILLINGS = 16  # values kept of a level that stands for several


@dataclass(frozen=True, eq=False)
class Levels:
    """values: uint8 (L,), ascending: what each code stands for.  exact: pictures have no others."""

    values: np.ndarray
    exact: bool = True

    def encode(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 of any shape -> int64 codes: the nearest level."""
        table = np.abs(np.arange(256)[:, None] - self.values[None].astype(np.int64)).argmin(1)
        return np.asarray(table[pictures])

    def __len__(self) -> int:
        return len(self.values)


def fit_levels(pictures: np.ndarray, most: int = MAX_LEVELS) -> Levels:
    """The values there are, if they are few; else evenly spaced ones."""
    there = np.unique(pictures)
    if len(there) <= most:
        return Levels(there.astype(np.uint8))
    return Levels(np.round(np.linspace(0, 255, most)).astype(np.uint8), exact=False)


def fillings(pictures: np.ndarray, levels: Levels) -> np.ndarray:
    """uint8 (L, FILLINGS): the values that each level stands for, by how often pictures have them."""
    counts = np.bincount(pictures.ravel(), minlength=256)
    codes = levels.encode(np.arange(256, dtype=np.uint8))
    grid = (np.arange(FILLINGS) + 0.5) / FILLINGS
    found = np.repeat(levels.values[:, None], FILLINGS, 1)
    for code in range(len(levels)):
        shares = np.cumsum(np.where(codes == code, counts, 0))
        if shares[-1]:
            found[code] = np.searchsorted(shares, grid * shares[-1])
    return found.astype(np.uint8)


def dequantised(pictures: np.ndarray, levels: Levels, rng: np.random.Generator) -> np.ndarray:
    """Pictures with every level spread evenly half-way to its neighbours, float64 in 0..255 (n, p): a density over them
    gives probabilities of levels.  Uria, Murray, Larochelle, NeurIPS 2013."""
    values = levels.values.astype(np.float64)
    edges = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2, values[-1:]])
    edges[0], edges[-1] = 2 * values[0] - edges[1], 2 * values[-1] - edges[-2]
    codes = levels.encode(pictures).reshape(len(pictures), -1)
    return np.asarray(edges[codes] + rng.random(codes.shape) * (edges[codes + 1] - edges[codes]))


def log_widths(pictures: np.ndarray, levels: Levels) -> np.ndarray:
    """Sum over a picture of the log of the width of each value's level, (n,): from density to probability."""
    values = levels.values.astype(np.float64)
    if len(values) < 2:
        return np.zeros(len(pictures))
    edges = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2, values[-1:]])
    edges[0], edges[-1] = 2 * values[0] - edges[1], 2 * values[-1] - edges[-2]
    codes = levels.encode(pictures).reshape(len(pictures), -1)
    return np.asarray(np.log(np.diff(edges))[codes].sum(1))


def emit_snapped(scope: Scope, values: str, levels: Levels) -> str:
    """float32 [N, S, S, C] moved to the nearest level, where pictures have no other values."""
    if not levels.exact or len(levels) < 2:
        return values
    v = levels.values.astype(np.float32)
    column = scope.add("Unsqueeze", values, scope.const([4]))
    above = scope.add("GreaterOrEqual", column, scope.const(((v[1:] + v[:-1]) / 2).reshape(1, 1, 1, 1, -1)))
    code = scope.add("ReduceSum", scope.add("Cast", above, to=7), scope.const([4]), keepdims=0)
    return scope.add("Gather", scope.const(v), code)

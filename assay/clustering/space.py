"""The space distances are taken in: numbers scaled, categories as 0/1 columns, perhaps fewer dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.data.prepare import Preparation, Recipe
from assay.data.scalers import Standard
from assay.data.table import Table
from assay.families import Target
from assay.model.graph import Graph, Scope

SVD_ROWS = 20_000  # rows the principal components are learned from
MAX_LEVELS = 30  # of a category that get a column each
MANY_COLUMNS, ALIKE = 16, 0.75  # from so many columns on, this share of like size will do


@dataclass(frozen=True)
class Place:
    """What a clustering wants of its space, a `Wish`.  Equal ones share one fitted preparation.

    scaling: "standard" (every number has deviation 1), "robust" (median and IQR, ends smoothly at 3), "none" (numbers keep
    their relative scale).  components: principal components kept; 0 keeps the columns.  categories: length of a step
    from one level to another, in deviations of a number.
    """

    scaling: str = "standard"
    components: int = 0
    categories: float = 1.0

    def fit(
        self, table: Table, y: np.ndarray, target: Target, seed: int, weight: np.ndarray | None = None
    ) -> tuple[Placed, np.ndarray]:
        """y counts nothing: it is there because supervised preparations take one."""
        numbers = "robust" if self.scaling == "robust" else "standard"
        recipe = Recipe(numbers=numbers, impute=True, categories="onehot", max_onehot=MAX_LEVELS)
        preparation, _ = recipe.fit(table, np.zeros(len(table)), Target("regression"), seed)
        base = preparation.transform(table)
        scale = self._scale(preparation, base.shape[1])
        scaled = base.astype(np.float64) * scale
        centre = scaled.mean(0)
        rotation = None
        if 0 < self.components < base.shape[1]:
            rows = np.arange(len(scaled))
            if len(rows) > SVD_ROWS:
                rows = np.sort(np.random.default_rng(seed).choice(len(rows), SVD_ROWS, replace=False))
            _, _, axes = np.linalg.svd(scaled[rows] - centre, full_matrices=False)
            rotation = _fixed_signs(axes[: self.components]).T.astype(np.float32)
        placed = Placed(preparation, scale.astype(np.float32), centre.astype(np.float32), rotation)
        return placed, placed.transform(table)

    def _scale(self, preparation: Preparation, width: int) -> np.ndarray:
        scale = np.full(width, self.categories / np.sqrt(2.0))
        block = preparation.numbers
        if block is not None:
            scale[: len(block.names)] = 1.0
            if self.scaling == "none" and isinstance(block.scaler, Standard):
                deviation = block.scaler.deviation.astype(np.float64)
                scale[: len(deviation)] = deviation / np.sqrt((deviation**2).mean())
        return scale


@dataclass(frozen=True, eq=False)
class Placed:
    """A fitted way into the space, a `Prepares`.  scale, centre: float32 (p,).  rotation: float32 (p, q) or None."""

    preparation: Preparation
    scale: np.ndarray
    centre: np.ndarray
    rotation: np.ndarray | None

    @property
    def columns(self) -> tuple[str, ...]:
        return self.preparation.columns

    @property
    def groups(self) -> np.ndarray | None:
        return self.preparation.groups if self.rotation is None else None

    def transform(self, table: Table) -> np.ndarray:
        """float32 (n, d)."""
        x = self.preparation.transform(table) * self.scale - self.centre
        return np.ascontiguousarray(x if self.rotation is None else x @ self.rotation, np.float32)

    def to_onnx(self, inputs: Mapping[str, str]) -> Graph:
        s = Scope()
        base = s.include(self.preparation.to_onnx(inputs))
        x = s.add("Sub", s.add("Mul", base, s.const(self.scale)), s.const(self.centre))
        return s.graph(x if self.rotation is None else s.add("MatMul", x, s.const(self.rotation)))


def comparable(table: Table) -> bool:
    """Numbers alone, of like size: their own scale may mean something (coordinates, lengths in one unit).

    Of many columns a quarter may hardly vary, as pixels at the edge do.
    """
    deviations = []
    for name in table.names:
        values: Any = table.columns[name]
        if not isinstance(values, np.ndarray):
            return False
        deviations.append(float(np.nanstd(table.numbers(name))))
    known = np.array([d for d in deviations if np.isfinite(d) and d > 0])
    if not len(known):
        return False
    alike = float((known >= known.max() / 10).mean())
    return alike == 1.0 or (len(known) >= MANY_COLUMNS and alike >= ALIKE)


def _fixed_signs(axes: np.ndarray) -> np.ndarray:
    """Principal axes with their largest entry positive, so that equal data gives equal axes."""
    sign = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    return np.asarray(axes * np.where(sign == 0, 1, sign)[:, None])

"""The pixels of a job's pictures as families get them: decoded once, whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from assay.data.front_image import Decoded, ImageFront
from assay.data.table import Table
from assay.families import Target
from assay.model.graph import Graph, Scope


@dataclass(frozen=True)
class Whole:
    """The wish for the front's pixels as they are: uint8 (n, side, side, 3)."""

    def fit(
        self, table: Table, y: np.ndarray, target: Target, seed: int, weight: np.ndarray | None = None
    ) -> tuple[AsTheyAre, np.ndarray]:
        for name, column in table.columns.items():
            if isinstance(column, Decoded):
                return AsTheyAre(name, column.front), column.pixels
        raise TypeError("there is no column of decoded pictures")


@dataclass(frozen=True)
class AsTheyAre:
    """A column of pictures, prepared by its front alone."""

    column: str
    front: ImageFront
    groups: None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def transform(self, table: Table) -> np.ndarray:
        return self.front.encode(table.columns[self.column])

    def to_onnx(self, inputs: Mapping[str, str]) -> Graph:
        scope = Scope()
        return scope.graph(scope.add("Identity", inputs[self.column]))

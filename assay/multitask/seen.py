"""What nets over pictures with side information are given: pixels, and the columns beside them as a matrix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.data.front_image import Decoded, ImageFront
from assay.data.prepare import Preparation, Recipe, fit
from assay.data.table import Table
from assay.families import Target
from assay.model.graph import Graph


@dataclass(frozen=True, eq=False)
class Seen:
    """Rows of pictures.  pixels: uint8 (n, side, side, 3); beside: float32 (n, columns), no columns without any."""

    pixels: np.ndarray
    beside: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: Any) -> Seen:
        return Seen(self.pixels[rows], self.beside[rows])

    @property
    def nbytes(self) -> int:
        return int(self.pixels.nbytes + self.beside.nbytes)


@dataclass(frozen=True)
class SeenWish:
    """The wish for a picture's pixels as its front makes them, and for the other columns under a recipe."""

    plain: Recipe

    def fit(
        self, table: Table, y: np.ndarray, target: Target, seed: int, weight: np.ndarray | None = None
    ) -> tuple[SeenPreparation, Any]:
        column = next(n for n, c in table.columns.items() if isinstance(c, Decoded))
        picture = table.columns[column]
        assert isinstance(picture, Decoded)
        others = table.without([column])
        if not others.names:
            return (made := SeenPreparation(column, picture.front, None)), made.transform(table)
        # labels may be missing, so categories are told apart and not by what they mean for a target
        nothing = np.zeros(len(table))
        preparation, matrix = fit(self.plain, others, nothing, Target("regression"), seed, weight)
        if not matrix.shape[1]:
            return (made := SeenPreparation(column, picture.front, None)), made.transform(table)
        return SeenPreparation(column, picture.front, preparation), Seen(picture.pixels, matrix)


@dataclass(frozen=True, eq=False)
class SeenPreparation:
    """column: of pictures.  others: of the columns beside it; None when nothing is there to tell."""

    column: str
    front: ImageFront
    others: Preparation | None
    groups: None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column, *(self.others.columns if self.others else ()))

    def transform(self, table: Table) -> Any:
        pixels = self.front.encode(table.columns[self.column])
        empty = np.zeros((len(table), 0), np.float32)
        return Seen(pixels, empty if self.others is None else self.others.transform(table.without([self.column])))

    def to_onnx(self, inputs: Mapping[str, str]) -> Graph:
        """The matrix of the columns beside the picture; the pixels are an input of the graph as they are."""
        if self.others is None:
            raise ValueError("nothing lies beside the pictures")
        return self.others.to_onnx({c: inputs[c] for c in self.others.columns})

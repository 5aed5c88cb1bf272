"""The front of a channel in long form: a series of any length as a fixed number of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.data.table import Column


@dataclass(frozen=True)
class SeriesFront:
    """length: steps of the graph's input, those of the longest series of the training file."""

    length: int

    @property
    def kind(self) -> str:
        return "series"

    @property
    def dtype(self) -> str:
        return "float32"

    @property
    def shape(self) -> tuple[int | None, ...]:
        return (self.length,)

    @property
    def about(self) -> str:
        return (
            f"the values of one series in the order of time, NaN where one is missing and after its end, {self.length} "
            "steps; what a longer series has after that is cut off"
        )

    def encode(self, column: Column) -> np.ndarray:
        """(n, l) numbers -> float32 (n, length)."""
        given = np.asarray(column)
        out = np.full((len(given), self.length), np.nan, np.float32)
        width = min(self.length, given.shape[1])
        with np.errstate(over="ignore"):
            out[:, :width] = given[:, :width]
        return out

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "length": self.length}


def read(data: Mapping[str, Any]) -> SeriesFront:
    return SeriesFront(int(data["length"]))

"""Which quantiles a job asks for, and a truth that knows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.errors import SpecError
from assay.families import Target

KIND = "quantile"
USUAL = (0.05, 0.5, 0.95)
MOST = 25


@dataclass(frozen=True)
class QuantileTarget(Target):
    """A number of which several quantiles are predicted, one column each.  quantiles: ascending."""

    quantiles: tuple[float, ...] = ()

    @staticmethod
    def of(quantiles: Sequence[float], metric: str) -> QuantileTarget:
        return QuantileTarget(KIND, 0, metric, len(quantiles), tuple(quantiles))


class Levelled(np.ndarray):
    """float64 (n,), the truth; selections of rows know the quantiles that are asked of it too."""

    quantiles: tuple[float, ...]

    def __array_finalize__(self, other: Any) -> None:
        self.quantiles = getattr(other, "quantiles", ())

    @staticmethod
    def of(values: np.ndarray, quantiles: Sequence[float]) -> Levelled:
        found = np.array(values, np.float64).view(Levelled)
        found.quantiles = tuple(quantiles)
        return found


def checked(asked: Sequence[Any] | None) -> tuple[float, ...]:
    """The quantiles of a request in ascending order; USUAL where none are named.  Raises SpecError."""
    pointer = "/objective/quantiles"
    if asked is None:
        return USUAL
    if not asked:
        raise SpecError(
            "objective.quantiles is empty; name some, or leave it out for 0.05, 0.5 and 0.95", pointer=pointer
        )
    if len(asked) > MOST:
        raise SpecError(f"objective.quantiles has {len(asked)} entries; at most {MOST}", pointer=pointer)
    for i, q in enumerate(asked):
        if isinstance(q, bool) or not isinstance(q, (int, float)) or not 0 < q < 1:
            raise SpecError(
                f"a quantile lies between 0 and 1, as in [0.05, 0.5, 0.95]; {q!r} does not", pointer=f"{pointer}/{i}"
            )
    if len(set(asked)) < len(asked):
        raise SpecError("objective.quantiles names one of them twice", pointer=pointer)
    return tuple(sorted(float(q) for q in asked))


def middle(quantiles: Sequence[float]) -> int:
    """Position of the quantile that is answered as the value: the one nearest to the median."""
    return int(np.argmin(np.abs(np.asarray(quantiles) - 0.5)))


def name(quantile: float) -> str:
    """As it is written in answers: 0.05 -> "0.05"."""
    return f"{quantile:g}"

"""How members answer together: a weighted mean, and beside it the median of those that are good on any series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assay.model.graph import Scope


@dataclass(frozen=True, eq=False)
class Blend:
    """weights: (m,), of the mean, sum to 1.  middle: positions of the members whose median counts; share: of the median."""

    weights: np.ndarray
    middle: tuple[int, ...] = ()
    share: float = 0.0

    @staticmethod
    def alone(m: int, i: int = 0) -> Blend:
        """One of m members."""
        return Blend(np.eye(m)[i])

    @property
    def total(self) -> np.ndarray:
        """(m,), sums to 1: how much each member counts, the median's share spread evenly over its members."""
        found = (1 - self.share) * self.weights
        found[list(self.middle)] += self.share / max(1, len(self.middle))
        return np.asarray(found)

    def of_members(self, kept: Sequence[int]) -> Blend:
        """The same over some members alone; all that count must be among them."""
        return Blend(self.weights[list(kept)], tuple(i for i, k in enumerate(kept) if k in self.middle), self.share)

    def of(self, points: Sequence[np.ndarray]) -> np.ndarray:
        """points: of every member, each (n, horizon)."""
        mean = np.asarray(sum(w * p.astype(np.float64) for w, p in zip(self.weights, points, strict=True)))
        if not self.share:
            return mean
        middle = np.median([points[i].astype(np.float64) for i in self.middle], axis=0)
        return np.asarray((1 - self.share) * mean + self.share * middle)

    def emit(self, scope: Scope, points: Sequence[str]) -> str:
        """`of` as nodes."""
        weights = (1 - self.share) * self.weights
        parts = [scope.add("Mul", p, scope.const(np.float32(w))) for p, w in zip(points, weights, strict=True) if w > 0]
        if self.share:
            middle = scope.add("Mul", self._emit_median(scope, points), scope.const(np.float32(self.share)))
            parts.append(middle)
        return parts[0] if len(parts) == 1 else scope.add("Sum", *parts)

    def _emit_median(self, scope: Scope, points: Sequence[str]) -> str:
        m, axis = len(self.middle), scope.const([1])
        stacked = scope.add("Concat", *(scope.add("Unsqueeze", points[i], axis) for i in self.middle), axis=1)
        ordered, _ = scope.add_many("TopK", stacked, scope.const([m]), axis=1, outputs=2)
        first, last = scope.const([(m - 1) // 2]), scope.const([m // 2 + 1])
        return scope.add("ReduceMean", scope.add("Slice", ordered, first, last, axis), axis, keepdims=0)

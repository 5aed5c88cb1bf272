"""Rows drawn around learned ones: numbers as the nearest neighbours of a row vary, words and states from some of them.

A manifold that data lie on is followed where it bends, as trees that tell one column from the others follow it only by many
cuts.  The graph holds the learned rows, in codes and scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.families import Cost, Shape, TrialContext
from assay.generation.columns import Layout
from assay.generation.parts import DrawnParts, Inputs, Rows, joined, one_of, or_given, place
from assay.space import Float, Int

MOST_ROWS = 5000  # kept in the graph


@dataclass(frozen=True)
class NeighbourConfig:
    """neighbours: rows that one is drawn from, the anchor among them.  donors: of its words and states; with one they come
    together from a single row, as combinations that only a few rows share do, and copies come easily where nothing else
    varies.  codes: what an unlike word or state adds to the squared distance, in squared deviations of a number."""

    neighbours: Annotated[int, Int(4, 40, log=True)] = 8
    donors: Annotated[int, Int(1, 4)] = 3
    codes: Annotated[float, Float(0.25, 4.0, log=True)] = 1.0


@dataclass(frozen=True, eq=False)
class Neighbours:
    """codes: int64 (n, p); scores: float32 (n, q); known: bool (n, q); near: int64 (n, k), the rows nearest to each."""

    codes: np.ndarray
    scores: np.ndarray
    known: np.ndarray
    near: np.ndarray
    donors: int
    layout: Layout

    @property
    def noise(self) -> int:
        return self.near.shape[1] if self.scores.shape[1] else 0

    @property
    def uniform(self) -> int:
        """The anchor's, the donors', and which donor gives each code."""
        return 1 + self.donors + (self.codes.shape[1] if self.donors > 1 else 0)

    def bits(self, data: Rows) -> float:
        """No likelihood: codes are drawn together."""
        return float("nan")

    def emit(self, inputs: Inputs) -> DrawnParts:
        s = inputs.scope
        near = s.add("Gather", s.const(self.near), self._anchor(inputs))  # (N, k)
        codes = self._codes(inputs, near)
        return DrawnParts(codes, self._scores(inputs, near) if self.noise else "")

    def _codes(self, inputs: Inputs, near: str) -> tuple[str, ...]:
        s = inputs.scope
        donors = [one_of(s, near, inputs.u(1 + i), self.near.shape[1]) for i in range(self.donors)]
        all_donors = joined(s, donors)
        found = []
        for j in range(self.codes.shape[1]):
            donor = donors[0]
            if self.donors > 1:
                donor = one_of(s, all_donors, inputs.u(1 + self.donors + j), self.donors)
            code = s.add("Gather", s.const(self.codes[:, j]), s.add("Squeeze", donor, s.const([1])))
            found.append(or_given(s, inputs.given, code) if j == self.layout.target else code)
        return tuple(found)

    def _scores(self, inputs: Inputs, near: str) -> str:
        """float32 [N, q]: a normal number with the mean and the covariance of those of the neighbours that have one."""
        s = inputs.scope
        scores = s.add("Gather", s.const(self.scores), near)  # (N, k, q)
        known = s.add("Gather", s.const(self.known.astype(np.float32)), near)
        one = s.const(np.float32(1))
        count = s.add("Max", s.add("ReduceSum", known, s.const([1]), keepdims=1), one)
        mean = s.add("Div", s.add("ReduceSum", s.add("Mul", scores, known), s.const([1]), keepdims=1), count)
        apart = s.add("Mul", s.add("Sub", scores, mean), known)
        moved = s.add("Mul", apart, s.add("Unsqueeze", inputs.noise, s.const([2])))
        moved = s.add("ReduceSum", moved, s.const([1]), keepdims=1)
        free = s.add("Sqrt", s.add("Max", s.add("Sub", count, one), one))
        return s.add("Squeeze", s.add("Add", mean, s.add("Div", moved, free)), s.const([1]))

    def _anchor(self, inputs: Inputs) -> str:
        """int64 [N]: any row, or one of those with the code that is asked for."""
        s, n = inputs.scope, len(self.codes)
        if self.layout.target is None:
            return s.add("Squeeze", place(s, inputs.u(0), s.const(np.array([[n]], np.float32))), s.const([1]))
        y = self.codes[:, self.layout.target]
        sizes = np.bincount(y, minlength=self.layout.sizes[self.layout.target])
        first, count = np.concatenate([[0], np.cumsum(sizes) - sizes]), np.concatenate([[n], sizes])
        first, count = np.where(count > 0, first, 0), np.where(count > 0, count, n)  # nobody has that code: any row
        group = s.add("Add", inputs.given, s.const(np.int64(1)))
        among = s.add("Unsqueeze", s.add("Gather", s.const(count.astype(np.float32)), group), s.const([1]))
        nth = s.add("Squeeze", place(s, inputs.u(0), among), s.const([1]))
        nth = s.add("Add", nth, s.add("Gather", s.const(first.astype(np.int64)), group))
        return s.add("Gather", s.const(np.argsort(y, kind="stable").astype(np.int64)), nth)


class NeighbourRows:
    name: ClassVar[str] = "neighbour_rows"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "rows"
    Config: ClassVar[type] = NeighbourConfig
    reference: ClassVar[str] = (
        "Vincent, Bengio, Manifold Parzen Windows, NeurIPS 2003: normal densities with the local covariance, around every row"
    )

    def recipe(self, config: NeighbourConfig) -> Any:
        return None

    def steps(self, config: NeighbourConfig) -> int:
        return 1

    def cost(self, config: NeighbourConfig, shape: Shape) -> Cost:
        n, d = min(shape.n_rows, MOST_ROWS), shape.n_features
        return Cost(0.05 + 4e-9 * n * n * d, 8 * n * (256 + d) + (1 << 20))

    def fit(self, config: NeighbourConfig, data: Rows, ctx: TrialContext) -> Neighbours:
        from sklearn.neighbors import NearestNeighbors

        train = data.train
        if len(train) > MOST_ROWS:
            train = train.take(np.sort(ctx.rng.choice(len(train), MOST_ROWS, replace=False)))
        x = train.points(data.layout.sizes, math.sqrt(config.codes))
        looked = NearestNeighbors(n_neighbors=min(config.neighbours, len(train))).fit(x)
        near = looked.kneighbors(x, return_distance=False).astype(np.int64)
        return Neighbours(train.codes, train.scores, train.known, near, config.donors, data.layout)


family = NeighbourRows()

"""Gaussian copula: every column as it is spread in the data, tied together by one correlation matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.families import Cost, Shape, TrialContext
from assay.generation.parts import DrawnParts, Inputs, Rows, joined, pick
from assay.space import Choice, Float

_EDGE = 1e-6


@dataclass(frozen=True)
class CopulaConfig:
    """shrinkage: how far correlations are drawn to zero.  order: how the codes of a column are lined up."""

    shrinkage: Annotated[float, Float(1e-3, 0.3, log=True)] = 0.01
    order: Annotated[str, Choice("share", "association")] = "association"


@dataclass(frozen=True, eq=False)
class Copula:
    """ranks: for each code part the codes in line; edges: normal scores between them.  lower: (d, d), codes first."""

    ranks: tuple[np.ndarray, ...]
    edges: tuple[np.ndarray, ...]
    lower: np.ndarray
    target: bool
    noise: int
    uniform: int = 1

    def bits(self, data: Rows) -> float:
        return float("nan")  # codes have no density in this model that others could be compared with

    def emit(self, inputs: Inputs) -> DrawnParts:
        s = inputs.scope
        noise = inputs.noise
        if self.target:
            noise = self._with_target(inputs)
        z = s.add("MatMul", noise, s.const(self.lower.T.astype(np.float32)))
        codes = []
        for j, (line, edges) in enumerate(zip(self.ranks, self.edges, strict=True)):
            column = s.add("Slice", z, s.const([j]), s.const([j + 1]), s.const([1]))
            place = pick(s, s.const(edges[None].astype(np.float32)), column)
            codes.append(s.add("Gather", s.const(line.astype(np.int64)), place))
        p, d = len(self.ranks), len(self.lower)
        numbers = s.add("Slice", z, s.const([p]), s.const([d]), s.const([1])) if d > p else ""
        return DrawnParts(tuple(codes), numbers)

    def _with_target(self, inputs: Inputs) -> str:
        """The first normal number drawn between the edges of the code that was asked for: the others follow from it."""
        from scipy.special import ndtr, ndtri

        s = inputs.scope
        bounds = np.concatenate([[0.0], ndtr(self.edges[0]), [1.0]])
        place = np.argsort(self.ranks[0])  # of each code in line
        low, width = bounds[place], np.diff(bounds)[place]
        code = s.add("Max", inputs.given, s.const(np.int64(0)))
        share = s.add(
            "Mul",
            inputs.u(0),
            s.add("Unsqueeze", s.add("Gather", s.const(width.astype(np.float32)), code), s.const([1])),
        )
        share = s.add(
            "Add", share, s.add("Unsqueeze", s.add("Gather", s.const(low.astype(np.float32)), code), s.const([1]))
        )
        # the inverse normal distribution function by table: no operator has it
        steps = 4096
        table = s.const(
            ndtri(np.clip(np.arange(steps + 1) / steps, 1 / (8 * steps), 1 - 1 / (8 * steps))).astype(np.float32)
        )
        t = s.add("Mul", share, s.const(np.float32(steps)))
        whole = s.add("Clip", s.add("Floor", t), s.const(np.float32(0)), s.const(np.float32(steps - 1)))
        index = s.add("Cast", whole, to=7)
        below = s.add("Gather", table, index)
        above = s.add("Gather", table, s.add("Add", index, s.const(np.int64(1))))
        asked = s.add("Add", below, s.add("Mul", s.add("Sub", t, whole), s.add("Sub", above, below)))
        # rounding must not leave the interval of the code
        edge = np.concatenate([[-9.0], self.edges[0], [9.0]])
        gap = 1e-5
        lowest, highest = (edge[:-1] + gap)[place], (edge[1:] - gap)[place]
        for op, bound in (("Max", lowest), ("Min", highest)):
            limit = s.add("Unsqueeze", s.add("Gather", s.const(bound.astype(np.float32)), code), s.const([1]))
            asked = s.add(op, asked, limit)
        is_free = s.add("Unsqueeze", s.add("Less", inputs.given, s.const(np.int64(0))), s.const([1]))
        first = s.add("Where", is_free, inputs.z(0, 1), asked)
        return first if self.noise == 1 else joined(s, [first, inputs.z(1, self.noise - 1)])


class GaussianCopula:
    name: ClassVar[str] = "gaussian_copula"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "rows"
    Config: ClassVar[type] = CopulaConfig
    reference: ClassVar[str] = "Patki, Wedge, Veeramachaneni, The Synthetic Data Vault, IEEE DSAA 2016"

    def recipe(self, config: CopulaConfig) -> Any:
        return None

    def steps(self, config: CopulaConfig) -> int:
        return 1

    def cost(self, config: CopulaConfig, shape: Shape) -> Cost:
        d = shape.n_features
        return Cost(0.02 + 2e-9 * shape.n_rows * d * d, 16 * shape.n_rows * d + 8 * d * d + (1 << 20))

    def fit(self, config: CopulaConfig, data: Rows, ctx: TrialContext) -> Copula:
        from scipy.special import ndtri

        train, rng = data.train, ctx.rng
        ranks, edges, columns = [], [], []
        axis = _axis(train.scores, train.known)
        for j, k in enumerate(data.layout.sizes):
            code = train.codes[:, j]
            counts = np.bincount(code, minlength=k) + 0.0
            key = -counts
            if data.layout.ordered[j]:
                key = np.arange(float(k))
            elif config.order == "association" and axis is not None:
                key = np.bincount(code, axis, minlength=k) / np.maximum(counts, 1)
            line = np.argsort(key, kind="stable")
            upper = np.cumsum(counts[line]) / counts.sum()
            lower = upper - counts[line] / counts.sum()
            place = np.argsort(line)[code]
            share = lower[place] + (upper - lower)[place] * rng.random(len(code))
            columns.append(ndtri(np.clip(share, _EDGE, 1 - _EDGE)))
            ranks.append(line)
            edges.append(ndtri(np.clip(upper[:-1], _EDGE, 1 - _EDGE)))
        z = np.where(train.known, train.scores, rng.standard_normal(train.scores.shape))
        all_scores = np.concatenate([np.stack(columns, 1) if columns else np.empty((len(train), 0)), z], 1)
        d = all_scores.shape[1]
        matrix = np.atleast_2d(np.corrcoef(all_scores.T)) if d > 1 else np.ones((1, 1))
        matrix = np.nan_to_num((1 - config.shrinkage) * matrix) + config.shrinkage * np.eye(d)
        np.fill_diagonal(matrix, 1.0)
        lower = np.linalg.cholesky(matrix + 1e-9 * np.eye(d))
        return Copula(tuple(ranks), tuple(edges), lower, data.layout.target is not None, d)


def _axis(scores: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """The first principal component of the scores: codes are lined up along it."""
    if scores.shape[1] == 0 or len(scores) < 3:
        return None
    filled = np.where(known, scores, 0.0)
    return np.asarray(filled @ np.linalg.eigh(np.atleast_2d(np.cov(filled.T)))[1][:, -1])


family = GaussianCopula()

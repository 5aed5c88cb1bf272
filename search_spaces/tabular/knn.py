"""Nearest neighbours: the answer of the k most similar training rows.

Distances are exact.  Scaled columns are rounded to a grid so fine (1/4096 of a deviation) that it does not matter and
so coarse that every sum of products is a whole number below 2^53: NumPy and ONNX, one row or a thousand, in any order
of addition, find the same distances, the same ties and so the same neighbours.  Ties go to the earlier training row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.space import Choice, Int
from search_spaces.tabular._answers import constant_answer, prior

MAX_REFERENCES = 10_000  # rows kept; more are drawn at random without replacement
MAX_MANHATTAN = 2_000  # no matrix product helps here: time and memory of a prediction grow with rows x columns
MAX_CELLS = 4_000_000  # 16 MB of float32 references
GRID = 4096.0  # steps per unit of a scaled column
BOUND = 2.0**19  # largest whole number a cell may be: 128 deviations
FLOAT, DOUBLE = 1, 11  # element types of onnx.TensorProto
UNIT = 2.0**19  # steps on the unit sphere, for the cosine distance


@dataclass(frozen=True)
class KnnConfig:
    """weights "distance": a neighbour counts by the inverse of its distance."""

    k: Annotated[int, Int(1, 200, log=True)] = 15
    metric: Annotated[str, Choice("euclidean", "cosine", "manhattan")] = "euclidean"
    weights: Annotated[str, Choice("uniform", "distance")] = "distance"
    numbers: Annotated[str, Choice("standard", "robust", "quantile")] = "standard"


@dataclass(frozen=True, eq=False)
class KnnPredictor:
    """references: float32 (r, d), whole numbers.

    votes: float32 (r, c + 1), what a row says times its weight, and its weight.
    shrink: share of `prior` (c,) mixed into the votes of classes, so that no probability is exactly 0.
    """

    config: KnnConfig
    references: np.ndarray
    votes: np.ndarray
    prior: np.ndarray
    shrink: float

    @property
    def k(self) -> int:
        return min(self.config.k, len(self.references))

    def predict(self, x: np.ndarray) -> np.ndarray:
        block = max(1, 2_000_000 // len(self.references))
        parts = [self._predict(x[i : i + block]) for i in range(0, len(x), block)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.prior)))

    def _predict(self, x: np.ndarray) -> np.ndarray:
        cells = _cells(x, self.config.metric)
        references = self.references.astype(np.float64)
        if self.config.metric == "manhattan":
            from scipy.spatial.distance import cdist

            distance = cdist(cells, references, "cityblock")
        else:
            squares = (cells**2).sum(axis=1)[:, None] + (references**2).sum(axis=1)[None, :]
            distance = np.sqrt(squares - 2.0 * (cells @ references.T))
        chosen = _nearest(distance, self.k)
        share = chosen / np.maximum(distance, 1e-6) if self.config.weights == "distance" else chosen.astype(np.float64)
        total = share @ self.votes.astype(np.float64)  # (n, c + 1)
        answer = total[:, :-1] / total[:, -1:]
        return (1.0 - self.shrink) * answer + self.shrink * self.prior

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        cells = _add_cells(scope, x, self.config.metric, self.references.shape[1])
        if self.config.metric == "manhattan":
            distance = _add_manhattan(scope, cells, self.references)
        else:
            distance = _add_euclidean(scope, cells, self.references)
        near, rows = scope.add_many("TopK", distance, scope.const([self.k]), outputs=2, axis=1, largest=0, sorted=1)
        said = _double(scope, scope.add("Gather", scope.const(self.votes), rows, axis=0))  # (n, k, c + 1)
        if self.config.weights == "distance":
            share = scope.add("Reciprocal", scope.add("Max", near, scope.const(1e-6, np.float64)))
            said = scope.add("Mul", said, scope.add("Unsqueeze", share, scope.const([2])))
        total = scope.add("ReduceSum", said, scope.const([1]), keepdims=0)
        value = scope.add("Slice", total, scope.const([0]), scope.const([-1]), scope.const([1]))
        weight = scope.add("Slice", total, scope.const([-1]), scope.const([2**31]), scope.const([1]))
        answer = scope.add("Mul", scope.add("Div", value, weight), scope.const(1.0 - self.shrink, np.float64))
        answer = scope.add("Add", answer, scope.const(self.shrink * self.prior[None, :], np.float64))
        return scope.graph(scope.add("Cast", answer, to=FLOAT))


class Knn:
    name: ClassVar[str] = "knn"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = KnnConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Cover, Hart: Nearest Neighbor Pattern Classification. IEEE Transactions on Information Theory 13, 1967; "
        "Dudani: The Distance-Weighted k-Nearest-Neighbor Rule. IEEE Transactions on Systems, Man, and Cybernetics 6, "
        "1976"
    )

    def recipe(self, config: KnnConfig) -> Recipe:
        return Recipe(numbers=config.numbers, impute=True, categories="onehot")

    def steps(self, config: KnnConfig) -> int:
        return 1

    def cost(self, config: KnnConfig, shape: Shape) -> Cost:
        """Fitting is copying; the time is that of the validation rows, taken as a quarter of the training rows."""
        kept = _n_kept(shape.n_rows, shape.n_features, config.metric)
        per_cell = 1.7e-9 if config.metric == "manhattan" else 3.4e-10
        seconds = 5e-3 + shape.n_rows / 4 * kept * (5e-8 + per_cell * shape.n_features)
        return Cost(seconds, 120_000_000 + 12 * kept * (shape.n_features + shape.n_classes + 2))

    def fit(self, config: KnnConfig, data: Split, ctx: TrialContext) -> Predictor:
        constant = constant_answer(data)
        if constant is not None:
            return constant
        kept = _n_kept(len(data.y), data.x.shape[1], config.metric)
        rows = np.sort(ctx.rng.choice(len(data.y), kept, replace=False)) if kept < len(data.y) else np.arange(kept)
        weight = np.ones(kept) if data.weight is None else np.maximum(data.weight[rows], 1e-12)
        said = data.y[rows, None] if data.target.is_regression else np.eye(data.target.n_classes)[data.y[rows]]
        votes = np.hstack([said * weight[:, None], weight[:, None]]).astype(np.float32)
        references = _cells(data.x[rows], config.metric).astype(np.float32)
        base = prior(data.target, data.y, data.weight)
        shrink = 0.0 if data.target.is_regression else 1.0 / (min(config.k, kept) + 1.0)  # as one more neighbour
        return KnnPredictor(config, references, votes, base, shrink)


def _n_kept(n_rows: int, n_features: int, metric: str) -> int:
    most = MAX_MANHATTAN if metric == "manhattan" else MAX_REFERENCES
    return max(1, min(n_rows, most, MAX_CELLS // max(1, n_features)))


def _steps(n_features: int) -> tuple[float, float]:
    """(grid, bound): coarser beyond 8192 columns, so that 4 x bound^2 x columns stays below 2^53."""
    coarser = 2.0 ** np.ceil(max(0.0, np.log2(max(1, n_features) / 8192.0)) / 2.0)
    return GRID / coarser, BOUND / coarser


def _cells(x: np.ndarray, metric: str) -> np.ndarray:
    """The columns as whole numbers, float64 (n, d); for the cosine the direction of each row as whole numbers."""
    grid, bound = _steps(x.shape[1])
    cells: np.ndarray = np.clip(np.rint(x.astype(np.float64) * grid), -bound, bound)
    if metric != "cosine":
        return cells
    length = np.maximum(np.sqrt((cells**2).sum(axis=1, keepdims=True)), 1.0)
    return np.asarray(np.rint(cells / length * (UNIT * grid / GRID)))


def _nearest(distance: np.ndarray, k: int) -> np.ndarray:
    """bool (n, r): exactly k per row, the smallest; of equal ones the earlier."""
    edge = np.partition(distance, k - 1, axis=1)[:, k - 1 : k]
    closer, tied = distance < edge, distance == edge
    room = k - closer.sum(axis=1, keepdims=True)
    return np.asarray(closer | (tied & (np.cumsum(tied, axis=1) <= room)))


def _double(scope: Scope, name: str) -> str:
    return scope.add("Cast", name, to=DOUBLE)


def _add_cells(scope: Scope, x: str, metric: str, n_features: int) -> str:
    """`_cells` as nodes."""
    grid, bound = _steps(n_features)
    cells = scope.add("Round", scope.add("Mul", _double(scope, x), scope.const(grid, np.float64)))
    cells = scope.add("Clip", cells, scope.const(-bound, np.float64), scope.const(bound, np.float64))
    if metric != "cosine":
        return cells
    squares = scope.add("ReduceSum", scope.add("Mul", cells, cells), scope.const([1]), keepdims=1)
    length = scope.add("Max", scope.add("Sqrt", squares), scope.const(1.0, np.float64))
    unit = scope.const(UNIT * grid / GRID, np.float64)
    return scope.add("Round", scope.add("Mul", scope.add("Div", cells, length), unit))


def _add_euclidean(scope: Scope, cells: str, references: np.ndarray) -> str:
    """|x|^2 - 2 x R' + |r|^2, every term a whole number; then the root."""
    squares = (references.astype(np.float64) ** 2).sum(axis=1)[None, :]
    product = scope.add("MatMul", cells, _double(scope, scope.const(np.ascontiguousarray(-2.0 * references.T))))
    own = scope.add("ReduceSum", scope.add("Mul", cells, cells), scope.const([1]), keepdims=1)
    return scope.add("Sqrt", scope.add("Add", scope.add("Add", product, scope.const(squares, np.float64)), own))


def _add_manhattan(scope: Scope, cells: str, references: np.ndarray) -> str:
    """Sums of absolute differences, a few columns at a time: (n, r, d / 64) is the largest value alive."""
    width = references.shape[1]
    step = -(-width // 64)
    sums = ""
    for start in range(0, width, step):
        end = min(start + step, width)
        mine = scope.add("Slice", cells, scope.const([start]), scope.const([end]), scope.const([1]))
        theirs = _double(scope, scope.const(np.ascontiguousarray(references[None, :, start:end])))
        gaps = scope.add("Abs", scope.add("Sub", scope.add("Unsqueeze", mine, scope.const([1])), theirs))
        part = scope.add("ReduceSum", gaps, scope.const([2]), keepdims=0)
        sums = scope.add("Add", sums, part) if sums else part
    return sums


family = Knn()

"""What the scikit-learn trees share: growing in portions, bounds on size, and the averaged predictor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.errors import TrialStopped
from assay.families import Predictor, Shape, Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.model.trees import Forest, Tree, add_forest
from search_spaces.tabular._answers import Classes, constant_answer, loss

MAX_LEAVES = 2000  # per tree: 60 trees x 5 folds of it encode to about 30 MB of graph


@dataclass(frozen=True, eq=False)
class TreesPredictor:
    """The mean of trees.  trees: `sklearn.tree._tree.Tree` objects, values: what their nodes answer, (n_nodes, k) each.

    classes: None for regression.
    """

    trees: tuple[Any, ...]
    values: tuple[np.ndarray, ...]
    classes: Classes | None

    @property
    def best_step(self) -> int:
        return len(self.trees)

    def predict(self, x: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(x, dtype=np.float32)
        total = np.zeros((len(rows), self.values[0].shape[1]))
        for tree, value in zip(self.trees, self.values, strict=True):
            total += value[tree.apply(rows)]
        mean = total / len(self.trees)
        return mean if self.classes is None else self.classes.spread(mean)

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        binary = self.classes is not None and self.classes.n_seen == 2
        n_outputs = 1 if binary else self.values[0].shape[1]
        share = 1.0 / len(self.trees)
        grown = tuple(_tree(t, v[:, -n_outputs:] * share) for t, v in zip(self.trees, self.values, strict=True))
        out = add_forest(scope, Forest(grown, np.zeros(n_outputs)), x)
        if self.classes is None:
            return scope.graph(out)
        if binary:  # one number a leaf is enough: the rest is 1 - p
            out = scope.add("Concat", scope.add("Sub", scope.const(1.0), out), out, axis=1)
        return scope.graph(self.classes.add_spread(scope, out))


def _tree(tree: Any, value: np.ndarray) -> Tree:
    return Tree(
        feature=tree.feature,
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        missing_left=tree.missing_go_to_left.astype(bool),
        value=value,
    )


def _values(tree: Any, data: Split, classes: Classes | None, smoothing: float) -> np.ndarray:
    """What each node answers, (n_nodes, k): the mean target, or class shares drawn a little to those of all rows.

    The m-estimate of probability (Cestnik: Estimating Probabilities. ECAI 1990): as if each leaf held `smoothing` more
    rows of the average kind, so that no leaf is certain.
    """
    value: np.ndarray = tree.value[:, 0, :]
    if classes is None or smoothing == 0.0:
        return value
    unit = 1.0 if data.weight is None else float(data.weight.mean())
    rows = tree.weighted_n_node_samples[:, None] / unit
    return np.asarray((rows * value + smoothing * value[:1]) / (rows + smoothing))


def grow(
    data: Split, ctx: TrialContext, build: Callable[[int], Any], n_trees: int, smoothing: float = 0.0
) -> Predictor:
    """Grow a forest in portions, reporting after each, until n_trees, the deadline or a stop.

    build(n): an estimator of n trees that can go on (`warm_start`) or, for n_trees = 1, a single tree.  Growing in
    portions gives the same trees as growing at once.
    """
    portion = 5
    constant = constant_answer(data)
    if constant is not None:
        return constant
    classes = None if data.target.is_regression else Classes.of(data)
    y = data.y if classes is None else classes.codes(data.y)
    n_trees = max(1, min(n_trees, ctx.max_steps)) if n_trees > 1 else 1
    model = build(n_trees)
    grown: TreesPredictor | None = None
    summed = np.zeros((len(data.y_valid), data.target.n_outputs))
    for start in range(0, n_trees, portion):
        count = min(start + portion, n_trees)
        if n_trees > 1:
            model.set_params(n_estimators=count)
        began = time.monotonic()
        model.fit(data.x, y, sample_weight=data.weight)
        trees = tuple(e.tree_ for e in model.estimators_) if n_trees > 1 else (model.tree_,)
        new = tuple(_values(t, data, classes, smoothing) for t in trees[start:])
        grown = TreesPredictor(trees, (grown.values if grown else ()) + new, classes)
        summed += TreesPredictor(trees[start:], new, classes).predict(data.x_valid) * (len(trees) - start)
        took = time.monotonic() - began
        try:
            judged = loss(data.target, summed / count, data.y_valid, data.weight_valid) if len(data.y_valid) else np.nan
            ctx.report(count, -judged)
        except TrialStopped:
            break
        if ctx.seconds_left() < 1.5 * took:
            break
    assert grown is not None
    return grown


def max_leaves(n_rows: int) -> int:
    """Leaves a tree may have: one for every two rows, at most MAX_LEAVES, so that graphs stay small."""
    return int(min(MAX_LEAVES, max(8, n_rows // 2)))


def forest_seconds(shape: Shape, max_features: float | str, n_trees: int, per_cell: float) -> float:
    """Seconds to grow: rows x log2(rows) x columns tried at a split, times `per_cell` measured for the family.

    Measured on one core, 500 to 20,000 rows x 20 to 150 columns, between those of distinct values and those of a few, which are
    two to four times quicker.
    """
    n_rows, n_features = shape.n_rows, shape.n_features
    tried = np.sqrt(n_features) if max_features == "sqrt" else max(1.0, float(max_features) * n_features)
    classes = 1.0 + 0.03 * max(0, shape.n_classes - 2)
    return float(n_trees * (2e-3 + per_cell * n_rows * np.log2(n_rows + 2) * tried * classes))


def forest_bytes(n_rows: int, n_features: int, n_classes: int, n_trees: int) -> int:
    """Peak bytes beside the data: the float32 copy, and about 90 bytes + 8 per class for every node grown."""
    nodes = 2 * max_leaves(n_rows) * n_trees
    return int(4 * n_rows * n_features + nodes * (90 + 8 * max(1, n_classes)) + 40 * n_rows)


def impurity(is_regression: bool, criterion: str) -> str:
    """The splitting criterion by its scikit-learn name; regression has one."""
    return "squared_error" if is_regression else criterion

"""Tree ensembles as flat arrays, whatever library grew them, and their one ONNX node.

A row goes left (the true branch) where `x <= threshold`, or where x is NaN and the node sends missing values left.  The
libraries compare in double; on float32 rows `x <= t` holds exactly where `x <= floor32(t)`, so thresholds are floored,
never rounded, and the graph routes every row as the library does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assay.model.graph import ML, Scope

BLOCK = 200  # trees a node adds up in float32; more are summed block by block, which loses fewer digits
LEAF, BRANCH_LEQ = 0, 1  # codes of `nodes_modes`, spelled out by `assay.model.graph.encode`


def floor32(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 not above each double; float32 (n,)."""
    exact = np.asarray(thresholds, dtype=np.float64)
    with np.errstate(over="ignore"):  # beyond float32: infinity, then stepped back to the largest finite number
        nearest = exact.astype(np.float32)
        below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest.astype(np.float64) > exact, below, nearest)


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree of n nodes, the root first.

    feature, left, right: int (n,), left = -1 marks a leaf.  threshold: (n,), any float.  missing_left: bool (n,).
    value: (n, k) added by a leaf to the outputs `first_output` ... `first_output + k - 1`; read at leaves only.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    first_output: int = 0


@dataclass(frozen=True, eq=False)
class Forest:
    """A sum of trees: output[c] = base[c] + the leaf values of every tree.  base: (n_outputs,)."""

    trees: tuple[Tree, ...]
    base: np.ndarray

    @property
    def n_outputs(self) -> int:
        return len(self.base)

    @property
    def n_nodes(self) -> int:
        return sum(len(t.left) for t in self.trees)


def add_forest(scope: Scope, forest: Forest, x: str) -> str:
    """Append a forest over the float32 matrix named x; returns the name of its float32 (N, n_outputs) sums."""
    if not forest.trees:
        return _base_only(scope, forest, x)
    zero = np.zeros(forest.n_outputs)
    blocks = [forest.trees[i : i + BLOCK] for i in range(0, len(forest.trees), BLOCK)]
    sums = [_add_block(scope, block, zero if i else forest.base, x) for i, block in enumerate(blocks)]
    return sums[0] if len(sums) == 1 else scope.add("Sum", *sums)


def _add_block(scope: Scope, trees: Sequence[Tree], base: np.ndarray, x: str) -> str:
    sizes = [len(t.left) for t in trees]
    leaf = np.concatenate([t.left < 0 for t in trees])
    tree_ids = np.repeat(np.arange(len(trees), dtype=np.int32), sizes)
    node_ids = np.concatenate([np.arange(n, dtype=np.int32) for n in sizes])

    def inner(parts: Sequence[np.ndarray], dtype: type) -> np.ndarray:
        return np.where(leaf, 0, np.concatenate(parts)).astype(dtype)

    thresholds = floor32(np.where(leaf, 0.0, np.concatenate([t.threshold for t in trees])))
    return scope.add(
        "TreeEnsembleRegressor",
        x,
        domain=ML,
        n_targets=len(base),
        aggregate_function="SUM",
        post_transform="NONE",
        base_values=np.asarray(base, dtype=np.float32),
        nodes_treeids=tree_ids,
        nodes_nodeids=node_ids,
        nodes_featureids=inner([t.feature for t in trees], np.int32),
        nodes_values=thresholds,
        nodes_modes=np.where(leaf, LEAF, BRANCH_LEQ).astype(np.int8),
        nodes_truenodeids=inner([t.left for t in trees], np.int32),
        nodes_falsenodeids=inner([t.right for t in trees], np.int32),
        nodes_missing_value_tracks_true=inner([t.missing_left for t in trees], np.int8),
        **_targets(trees),
    )


def _targets(trees: Sequence[Tree]) -> dict[str, Any]:
    """The leaf values as (tree, node, output, weight) columns.  Zeros beside other values of a leaf are left out."""
    tree_ids, node_ids, outputs, weights = [], [], [], []
    for i, tree in enumerate(trees):
        leaves = np.flatnonzero(tree.left < 0)
        value = tree.value[leaves].astype(np.float32)  # (n_leaves, k)
        kept = value != 0
        kept[:, 0] |= ~kept.any(axis=1)  # a leaf without any weight would be malformed
        row, column = np.nonzero(kept)
        tree_ids.append(np.full(len(row), i, dtype=np.int32))
        node_ids.append(leaves[row].astype(np.int32))
        outputs.append((column + tree.first_output).astype(np.int32))
        weights.append(value[row, column])
    return {
        "target_treeids": np.concatenate(tree_ids),
        "target_nodeids": np.concatenate(node_ids),
        "target_ids": np.concatenate(outputs),
        "target_weights": np.concatenate(weights),
    }


def _base_only(scope: Scope, forest: Forest, x: str) -> str:
    rows = scope.add("Slice", scope.add("Shape", x), scope.const([0]), scope.const([1]))
    shape = scope.add("Concat", rows, scope.const([forest.n_outputs]), axis=0)
    return scope.add("Expand", scope.const(np.asarray(forest.base, dtype=np.float32)[None, :]), shape)

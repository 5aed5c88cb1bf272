"""The trees of LightGBM's text format as arrays."""

from __future__ import annotations

import numpy as np

from assay.model.trees import Forest, Tree

DEFAULT_LEFT, MISSING_TYPE, MISSING_NAN = 2, 12, 8  # bits of a node's decision_type; missing type 0: NaN reads as 0.0


def parse(text: str, n_outputs: int) -> Forest:
    """The trees of LightGBM's text format; tree i adds to output i modulo n_outputs.

    Raises ValueError for what this project never trains: categorical splits, linear leaves, zero as missing.
    """
    blocks = text.split("\nTree=")[1:]
    blocks[-1:] = [b.split("\nend of trees")[0] for b in blocks[-1:]]
    return Forest(tuple(_tree(b, i % n_outputs) for i, b in enumerate(blocks)), np.zeros(n_outputs))


def _tree(block: str, output: int) -> Tree:
    fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)

    def numbers(name: str, dtype: type) -> np.ndarray:
        return np.array(fields.get(name, "").split(), dtype=dtype)

    value = numbers("leaf_value", np.float64)
    n_inner = len(value) - 1
    if fields.get("num_cat", "0") != "0" or fields.get("is_linear", "0") != "0":
        raise ValueError("a LightGBM tree with categorical splits or linear leaves cannot be exported")
    decision = numbers("decision_type", np.int64)[:n_inner]
    missing = decision & MISSING_TYPE
    if np.any((missing != 0) & (missing != MISSING_NAN)):
        raise ValueError("a LightGBM tree that treats zero as missing cannot be exported")
    threshold = numbers("threshold", np.float64)[:n_inner]
    missing_left = np.where(missing == MISSING_NAN, (decision & DEFAULT_LEFT) != 0, threshold >= 0.0)
    filler = np.zeros(len(value), dtype=np.int64)

    def child(name: str) -> np.ndarray:
        """Inner nodes keep their number, leaf ~i follows them as n_inner + i."""
        to = numbers(name, np.int64)[:n_inner]
        return np.append(np.where(to >= 0, to, n_inner + ~to), filler - 1)

    return Tree(
        feature=np.append(numbers("split_feature", np.int64)[:n_inner], filler),
        threshold=np.append(threshold, filler),
        left=child("left_child"),
        right=child("right_child"),
        missing_left=np.append(missing_left, filler.astype(bool)),
        value=np.append(np.zeros(n_inner), value)[:, None],
        first_output=output,
    )

"""`clustering_quality`: the adjusted Rand index a partition is expected to reach, from criteria that need no truth.

No single criterion picks well over all shapes: compactness splits rings, density joins what overlaps, likelihood wants normal
clusters.  So their combination is learned: gradient-boosted trees over the numbers of `assay.clustering.evidence`, fitted
to the true index of thousands of partitions of generated sets (`benchmarks/clustering_shapes.py`, `clustering_tables.py`).
Beside it, for the choice among the partitions of one job, `odds`: trees over the same numbers, fitted within each set.
Nothing of a job's data is learned from, and no truth column is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from assay.clustering.evidence import FEATURES, vector

ANY_NOISE = 0.02  # for leaving any row out: of near equals the clustering that holds all rows is the likelier truth
NOISE_COST = 1.0  # for the share of rows in no cluster, which make every criterion over the others look better


def estimate(found: Mapping[str, float]) -> float:
    """Higher is better; about 1 where every criterion agrees.  found: from `Evidence.of`."""
    cost = ANY_NOISE + NOISE_COST * found["noise"] if found["noise"] > 0 else 0.0
    return _sum("quality.json", found) - cost


def odds(found: Mapping[str, float]) -> float:
    """Logarithm of how likely a partition is the best of those that were found of its data; only differences among these count.

    Other data is no comparison here, so the trees need not tell easy data from hard, which `estimate` must.
    """
    return _sum("odds.json", found)


def _sum(name: str, found: Mapping[str, float]) -> float:
    x = np.nan_to_num(vector(found), nan=0.0, posinf=10.0, neginf=-10.0)
    return float(sum(_leaf(tree, x) for tree in _trees(name)))


@cache
def _trees(name: str) -> list[dict[str, Any]]:
    text = resources.files("assay.clustering").joinpath(name).read_text(encoding="utf-8")
    stored = json.loads(text)
    if tuple(stored["features"]) != FEATURES:
        raise ValueError(f"{name} was fitted to other criteria than evidence.py makes; fit it again")
    return list(stored["trees"])


def _leaf(tree: Mapping[str, Any], x: np.ndarray) -> float:
    at = 0
    while (feature := tree["feature"][at]) >= 0:
        at = tree["left"][at] if x[feature] <= tree["threshold"][at] else tree["right"][at]
    return float(tree["value"][at])

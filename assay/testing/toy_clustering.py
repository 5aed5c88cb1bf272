"""Toy clusters: three blobs in a table with a category, and two moons."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from assay.clustering.family import ClusterSplit
from assay.clustering.judge import Judge
from assay.clustering.space import Place
from assay.data.table import Column, ColumnType, Table, Words
from assay.families import Split, Target
from assay.testing.toy import Toy, register

N_TRAIN, N_VALID = 150, 60
TARGET = Target("clusters", 0, "clustering_quality", n_targets=2)


def toy_blobs(n: int = N_TRAIN + N_VALID, seed: int = 0) -> tuple[Table, np.ndarray]:
    """Two numbers (one with gaps) and a category that goes with the group; three groups."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    centre = np.array([[0.0, 0.0], [7.0, 0.0], [3.0, 7.0]])
    x = centre[y] + rng.normal(size=(n, 2)) * 0.7
    x[rng.random(n) < 0.03, 1] = np.nan
    colour = np.where(rng.random(n) < 0.9, y, rng.integers(0, 3, n))
    columns: dict[str, Column] = {
        "a": x[:, 0],
        "b": x[:, 1],
        "colour": Words.of([("red", "green", "blue")[c] for c in colour]),
    }
    types = {"a": ColumnType.NUMBER, "b": ColumnType.NUMBER, "colour": ColumnType.CATEGORY}
    return Table(columns, types), y


def toy_moons(n: int = N_TRAIN + N_VALID, seed: int = 0) -> tuple[Table, np.ndarray]:
    """Two half circles that no straight line parts."""
    rng = np.random.default_rng(seed)
    y, t = rng.integers(0, 2, n), rng.uniform(0, np.pi, n)
    x = np.column_stack([np.cos(t) + y, np.sin(t) * (1 - 2 * y) + 0.4 * y]) + rng.normal(size=(n, 2)) * 0.05
    return Table({"a": x[:, 0], "b": x[:, 1]}, dict.fromkeys("ab", ColumnType.NUMBER)), y


def _split(table: Table, y: np.ndarray, place: Place) -> Split:
    train, valid = np.arange(N_TRAIN), np.arange(N_TRAIN, len(y))
    nothing = np.zeros(N_TRAIN)
    preparation, x = place.fit(table.take(train), nothing, TARGET, seed=0)
    judged = Place("standard").fit(table.take(train), nothing, TARGET, seed=0)[1]
    return ClusterSplit(
        x=x, y=nothing, x_valid=preparation.transform(table.take(valid)), y_valid=y[valid].astype(np.float64), target=TARGET,
        groups=preparation.groups, judge=Judge.of(judged),
    )  # fmt: skip


def disagreement(split: Split, prediction: np.ndarray) -> float:
    """1 - adjusted Rand index over the validation rows."""
    from sklearn.metrics import adjusted_rand_score

    return 1.0 - float(adjusted_rand_score(split.y_valid, prediction[:, 0]))


def one_cluster(split: Split) -> np.ndarray:
    return np.zeros((len(split.y_valid), 2))


def _toy(name: str, make: Callable[[], tuple[Table, np.ndarray]]) -> Callable[[], Toy]:
    made = cache(make)

    def split(place: Any) -> Split:
        return _split(*made(), place)

    return lambda: Toy(name, split, disagreement, one_cluster)


register("clustering", _toy("blobs", toy_blobs), _toy("moons", toy_moons))

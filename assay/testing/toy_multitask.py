"""A toy table with three targets of different kinds that share their signal and miss labels, for the family suite."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from assay.data.table import Column, ColumnType, Table, Words
from assay.families import Split
from assay.metrics.multitask import skills
from assay.multitask.targets import MultiTarget, OneTarget, Truth, constant_answer
from assay.testing.toy import Toy, register, toy_table

N_TRAIN, N_VALID = 240, 120
TARGETS = (
    OneTarget("bought", "binary", ("no", "yes")),
    OneTarget("size", "multiclass", ("L", "M", "S")),
    OneTarget("amount", "regression"),
)
MISSING = (0.0, 0.2, 0.4)  # share of labels missing, by target


def toy_targets(n: int = N_TRAIN + N_VALID, seed: int = 0) -> tuple[Table, Truth]:
    """Features of `toy_table` and three targets of one signal, the last with a mean of 1,000 and many gaps."""
    table = toy_table("regression", n, seed)
    rng = np.random.default_rng([seed, 7])
    signal = table.y + 0.3 * rng.normal(size=n)
    columns = [
        (table.y > 0.3).astype(np.float64),
        np.digitize(signal, [-1.0, 1.3]).astype(np.float64),
        1000.0 + 50.0 * (table.y + 0.5 * rng.normal(size=n)),
    ]
    matrix = np.column_stack(
        [np.where(rng.random(n) < gap, np.nan, c) for gap, c in zip(MISSING, columns, strict=True)]
    )
    return table.features, Truth.of(matrix, TARGETS)


def with_targets(features: Table, truth: Truth) -> Table:
    """The table as a user would upload it."""
    columns: dict[str, Column] = dict(features.columns)
    types = dict(features.types)
    for i, target in enumerate(truth.targets):
        values = np.asarray(truth)[:, i]
        if target.classes:
            words = [None if np.isnan(v) else target.classes[int(v)] for v in values]
            columns[target.name], types[target.name] = Words.of(words), ColumnType.CATEGORY
        else:
            columns[target.name], types[target.name] = values, ColumnType.NUMBER
    return Table(columns, types)


def multi_loss(split: Split, prediction: np.ndarray) -> float:
    """The part of the constant's loss that is left, mean over the targets."""
    assert isinstance(split.y_valid, Truth)
    return float(np.nanmean(1.0 - skills(split.y_valid, prediction)))


def naive(split: Split) -> np.ndarray:
    assert isinstance(split.y, Truth)
    return np.tile(constant_answer(split.y, None), (len(split.y_valid), 1))


@cache
def _toy() -> tuple[Table, Truth]:
    return toy_targets()


def _split(wish: Any) -> Split:
    table, truth = _toy()
    train, valid = np.arange(N_TRAIN), np.arange(N_TRAIN, len(truth))
    target = MultiTarget.of(TARGETS, "multitask_score")
    preparation, x = wish.fit(table.take(train), truth[train], target, seed=0)
    x_valid = preparation.transform(table.take(valid))
    return Split(x, truth[train], x_valid, truth[valid], target, groups=preparation.groups)


register("multitask", lambda: Toy("three targets", _split, multi_loss, naive))

"""Toy series whose class lies in how fast they swing, and the fold they make under what a family wishes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from assay.data.table import ColumnType, Table, Words
from assay.families import Split, Target
from assay.testing.toy import Toy, constant_prediction, prediction_loss, register

N_TRAIN, N_VALID = 96, 48
STEPS = 32


def toy_series(
    n_classes: int = 3, n: int = N_TRAIN + N_VALID, n_channels: int = 1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """float64 (n, n_channels, STEPS) and int64 (n,): sines of a random phase in noise, faster in every class.

    The first channel tells the class, others are noise.  A few values are missing.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes
    rng.shuffle(y)
    step = np.arange(STEPS)
    x = rng.normal(size=(n, n_channels, STEPS))
    x[:, 0] = 0.4 * x[:, 0] + np.sin((0.25 + 0.3 * y[:, None]) * step + 6.3 * rng.random((n, 1)))
    x[rng.random(x.shape) < 0.02] = np.nan
    return 5.0 + 2.0 * x, y


def wide_table(x: np.ndarray, y: np.ndarray | None = None) -> Table:
    """Series of one channel as a user would upload them: one column a step, and the class as a word.  x: (n, L)."""
    columns: dict[str, Any] = {f"t{i}": x[:, i] for i in range(x.shape[1])}
    types = dict.fromkeys(columns, ColumnType.NUMBER)
    if y is not None:
        columns["kind"] = Words.of([f"class {c}" for c in y])
        types["kind"] = ColumnType.CATEGORY
    return Table(columns, types)


def channel_table(x: np.ndarray) -> Table:
    """Series as a task in long form holds them: a column of (n, L) for every channel.  x: (n, C, L)."""
    names = [f"channel{i}" for i in range(x.shape[1])]
    return Table({n: x[:, i] for i, n in enumerate(names)}, dict.fromkeys(names, ColumnType.NUMBER))


def series_split(kind: str, wish: Any, n_channels: int) -> Split:
    """The first series train, the rest validate."""
    n_classes = 2 if kind == "binary" else 3
    x, y = toy_series(n_classes, n_channels=n_channels)
    table = wide_table(x[:, 0]) if n_channels == 1 else channel_table(x)
    train, valid = np.arange(N_TRAIN), np.arange(N_TRAIN, len(y))
    target = Target(kind, n_classes, "log_loss")
    preparation, prepared = wish.fit(table.take(train), y[train], target, seed=0)
    return Split(
        prepared, y[train], preparation.transform(table.take(valid)), y[valid], target, groups=preparation.groups
    )


def _toy(kind: str, n_channels: int) -> Callable[[], Toy]:
    name = f"series {kind}, {n_channels} channel(s)"
    return lambda: Toy(name, lambda wish: series_split(kind, wish, n_channels), prediction_loss, constant_prediction)


register("sequence_classification", _toy("multiclass", 1), _toy("binary", 2))

"""Small toy problems by task type, for the suites that check plug-ins.

A task type gets its toys by a module `assay/testing/toy_<kind>.py`, or a plug-in's own test, that calls `register`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import assay.testing
from assay.data.prepare import Recipe, fit
from assay.data.table import Column, ColumnType, Table, Words
from assay.families import Split, Target

N_TRAIN, N_VALID = 240, 120

Loss = Callable[[Split, np.ndarray], float]


@dataclass(frozen=True)
class Toy:
    """One small problem.

    split: the fold under what a family wishes (`Family.recipe`).  loss(split, prediction): what is better when lower, over the validation
    rows.  naive(split): the prediction to beat, made without looking at x.  form: of the data, for tasks that have several.
    """

    name: str
    split: Callable[[Any], Split]
    loss: Loss
    naive: Callable[[Split], np.ndarray]
    form: str = "table"


_MAKERS: dict[str, list[Callable[[], Toy]]] = {}


def register(task: str, *makers: Callable[[], Toy]) -> None:
    """Add toys to a task type."""
    _MAKERS.setdefault(task, []).extend(makers)


def toys(task: str) -> list[Toy]:
    """The toys of a task type; empty for an unknown one."""
    _load_siblings()
    return [make() for make in _MAKERS.get(task, [])]


@cache
def _load_siblings() -> None:
    for module in pkgutil.iter_modules(assay.testing.__path__):
        if module.name.startswith("toy_"):
            importlib.import_module(f"assay.testing.{module.name}")


# -- tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ToyTable:
    """A table with what is to be predicted.  y: int64 codes or float64 numbers (n,); the target is no column."""

    features: Table
    y: np.ndarray
    target: Target

    def with_target(self, name: str = "target") -> Table:
        """The table as a user would upload it: classes are words."""
        column: Column = self.y
        kind = ColumnType.NUMBER
        if not self.target.is_regression:
            column, kind = Words.of([f"class {c}" for c in self.y]), ColumnType.CATEGORY
        return Table({**self.features.columns, name: column}, {**self.features.types, name: kind})


def toy_table(kind: str, n: int = N_TRAIN + N_VALID, seed: int = 0) -> ToyTable:
    """A mixed table whose target can be learned.  kind: "binary", "multiclass" (3 classes) or "regression".

    Five numeric columns (one with gaps, one of noise), a category of four levels and one of two; the signal has linear,
    curved and pairwise parts.
    """
    rng = np.random.default_rng(seed)
    a, b, c, d, noise = rng.normal(size=(5, n))
    plan = rng.integers(0, 4, n)
    is_new = rng.integers(0, 2, n)
    signal = 1.5 * a + np.sin(2 * b) + c * d + np.array([-1.0, 0.0, 0.5, 1.0])[plan] + 0.5 * is_new
    signal += 0.3 * rng.normal(size=n)
    gaps = np.where(rng.random(n) < 0.1, np.nan, b)
    columns: Mapping[str, np.ndarray | Words] = {
        "a": a,
        "b": gaps,
        "c": c,
        "d": 100.0 * d + 20.0,
        "noise": noise,
        "plan": Words.of([("free", "basic", "pro", "team")[p] for p in plan]),
        "is_new": Words.of([("no", "yes")[i] for i in is_new]),
    }
    types = dict.fromkeys("abcd", ColumnType.NUMBER) | {"noise": ColumnType.NUMBER}
    table = Table(columns, types | {"plan": ColumnType.CATEGORY, "is_new": ColumnType.BOOLEAN})
    if kind == "regression":
        return ToyTable(table, signal, Target("regression", metric="rmse"))
    edges = [0.3] if kind == "binary" else [-1.0, 1.3]
    return ToyTable(table, np.digitize(signal, edges).astype(np.int64), Target(kind, len(edges) + 1, "log_loss"))


def table_split(toy: ToyTable, recipe: Recipe, n_train: int = N_TRAIN) -> Split:
    """The first rows train, the rest validate; a regression target is scaled as in a job."""
    train, valid = np.arange(n_train), np.arange(n_train, len(toy.y))
    y, y_valid = toy.y[train], toy.y[valid]
    if toy.target.is_regression:
        mean, deviation = y.mean(), y.std()
        y, y_valid = (y - mean) / deviation, (y_valid - mean) / deviation
    preparation, x = fit(recipe, toy.features.take(train), y, toy.target, seed=0)
    x_valid = preparation.transform(toy.features.take(valid))
    return Split(x, y, x_valid, y_valid, toy.target, groups=preparation.groups)


def prediction_loss(split: Split, prediction: np.ndarray) -> float:
    """Log-loss, or mean squared error in the scaled target, over the validation rows."""
    if split.target.is_regression:
        return float(np.mean((prediction[:, 0] - split.y_valid) ** 2))
    return float(-np.log(np.clip(prediction[np.arange(len(split.y_valid)), split.y_valid], 1e-7, 1.0)).mean())


def constant_prediction(split: Split) -> np.ndarray:
    """Class shares, or the mean target, of the training rows for every validation row."""
    if split.target.is_regression:
        return np.full((len(split.y_valid), 1), split.y.mean())
    shares = np.bincount(split.y, minlength=split.target.n_classes) / len(split.y)
    return np.tile(shares, (len(split.y_valid), 1))


def _table_toy(kind: str) -> Callable[[], Toy]:
    table = cache(lambda: toy_table(kind))
    return lambda: Toy(kind, lambda recipe: table_split(table(), recipe), prediction_loss, constant_prediction)


register("classification", _table_toy("binary"), _table_toy("multiclass"))
register("regression", _table_toy("regression"))

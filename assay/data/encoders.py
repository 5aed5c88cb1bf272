"""Encodings of category columns: every one is a table with a row per level, looked up by the level's text.

One-hot, ordinal codes, target means and frequencies differ only in the numbers of the table.  Its last two rows stand
for "missing" (the same as "unknown" when training rows had no missing value) and for "unknown": levels never seen, too
rare or beyond the limit.  The unknown row is learnt from the training rows whose levels were pooled into it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from assay.data.table import Words
from assay.model.graph import ML, Scope

MAX_LEVELS = 5000  # of one column; the most frequent are kept
MAX_ORDINAL = 64  # levels that may be ordered by target mean; more would leak the target
PRIOR_ROWS = 10.0  # weight of the overall mean in a level's target mean
INNER_FOLDS = 5
MAX_PROFILE = 8  # columns of a target encoding with many classes


@dataclass(frozen=True, eq=False)
class Lookup:
    """A fitted encoding of one column.  table: float32 (len(levels) + 2, m); names: of the m columns."""

    column: str
    levels: tuple[str, ...]
    table: np.ndarray
    names: tuple[str, ...]

    def apply(self, words: Words) -> np.ndarray:
        """float32 (n, m)."""
        return np.asarray(self.table[rows_of(self.levels, words)])

    def emit(self, scope: Scope, x: str) -> str:
        """From a string value [N, 1] to [N, m]; "" is missing."""
        k = len(self.levels)
        row = scope.add(
            "LabelEncoder",
            x,
            domain=ML,
            keys_strings=[*self.levels, ""],
            values_int64s=list(range(k + 1)),
            default_int64=k + 1,
        )
        flat = scope.add("Squeeze", row, scope.const(np.array([1], np.int64)))  # [N, 1] -> [N]
        return scope.add("Gather", scope.const(self.table), flat)


def rows_of(levels: tuple[str, ...], words: Words) -> np.ndarray:
    """Row of the table for every row of the column.  int64 (n,)."""
    k = len(levels)
    index = {level: i for i, level in enumerate(levels)}
    of_level = [k if v == "" else index.get(v, k + 1) for v in words.levels]
    return np.asarray(np.array([*of_level, k], np.int64)[words.codes])  # code -1 reaches the last entry: missing


def frequent_levels(words: Words) -> tuple[str, ...]:
    """Levels kept for a column: all that occur (twice, from 50 rows on), by falling frequency, then by text."""
    count = np.bincount(words.codes[words.codes >= 0], minlength=len(words.levels))
    least = 2 if len(words) >= 50 else 1
    kept = np.flatnonzero((count >= least) & (words.levels != ""))
    pairs = sorted(zip((-count[kept]).tolist(), map(str, words.levels[kept]), strict=True))
    return tuple(level for _, level in pairs[:MAX_LEVELS])


@dataclass(frozen=True, eq=False)
class Signal:
    """What target encodings are computed from.

    values: float64 (n, m), one column per thing whose mean is taken: the target, the second class, or every class.
    weight: float64 (n,).  fold: int64 (n,), the inner fold of each training row.
    """

    values: np.ndarray
    weight: np.ndarray
    fold: np.ndarray
    names: tuple[str, ...]

    @staticmethod
    def of(y: np.ndarray, n_classes: int, weight: np.ndarray | None, rng: np.random.Generator) -> Signal:
        n = len(y)
        names: tuple[str, ...]
        if n_classes == 0:
            values = np.asarray(y, np.float64).reshape(len(y), -1)  # several columns: several targets at once
            names = ("target mean", *(f"target {j + 1} mean" for j in range(1, values.shape[1])))
        elif n_classes == 2:
            values, names = (np.asarray(y) == 1).astype(np.float64)[:, None], ("share of class 1",)
        else:
            values = (np.asarray(y)[:, None] == np.arange(n_classes)).astype(np.float64)
            names = tuple(f"share of class {k}" for k in range(n_classes))
            if n_classes > MAX_PROFILE:
                values, names = _profile(values), tuple(f"share of frequent class {k}" for k in range(MAX_PROFILE))
        fold = rng.permutation(n) % max(min(INNER_FOLDS, n), 1)
        return Signal(values, np.ones(n) if weight is None else np.asarray(weight, np.float64), fold, names)

    def means(self, row: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Smoothed means of each table row (k, m), and out-of-fold for each training row (n, m)."""
        n_folds = int(self.fold.max(initial=0)) + 1
        at = row * n_folds + self.fold
        mass = np.bincount(at, self.weight, k * n_folds).reshape(k, n_folds)
        sums = np.stack(
            [np.bincount(at, self.weight * v, k * n_folds).reshape(k, n_folds) for v in self.values.T], axis=-1
        )  # (k, folds, m)
        total_mass, total = mass.sum(1), sums.sum(1)
        prior = total.sum(0) / max(total_mass.sum(), 1e-12)
        table = (total + PRIOR_ROWS * prior) / (total_mass + PRIOR_ROWS)[:, None]
        if n_folds == 1:
            return table, np.broadcast_to(prior, self.values.shape)
        # everything, the prior too, from the other folds: a row never sees its own target
        rest_mass, rest = total_mass[:, None] - mass, total[:, None] - sums
        rest_prior = rest.sum(0) / np.maximum(rest_mass.sum(0), 1e-12)[:, None]  # (folds, m)
        honest = (rest + PRIOR_ROWS * rest_prior) / (rest_mass + PRIOR_ROWS)[:, :, None]
        return table, honest[row, self.fold]


def _profile(classes: np.ndarray) -> np.ndarray:
    """Many classes as few columns, the shares of the most frequent ones.  (n, k) -> (n, MAX_PROFILE)."""
    return classes[:, np.argsort(-classes.sum(0), kind="stable")[:MAX_PROFILE]]


def fit_onehot(name: str, words: Words, signal: Signal, max_levels: int, scaled: bool) -> tuple[Lookup, np.ndarray]:
    """0/1 columns for the most frequent levels; if there are more, also target means and frequency of all."""
    levels = frequent_levels(words)
    row, missing = _training_rows(levels, words)
    k = len(levels)
    if k == 2 and not missing:
        second = float((row == 1).sum() / max((row < 2).sum(), 1))
        table = np.array([[0], [1], [second], [second]], np.float32)
        return _finish(name, levels, table, (f"= {levels[1]}",), row, missing)
    shown = min(k, max_levels)
    table = np.zeros((k + 2, shown + missing), np.float32)
    table[np.arange(shown), np.arange(shown)] = 1
    names = [f"= {v}" for v in levels[:shown]]
    if missing:
        table[k, shown] = 1
        names.append("is missing")
    lookup, train = _finish(name, levels, table, tuple(names), row, missing)
    if k <= max_levels:
        return lookup, train
    rest, rest_train = fit_target(name, words, signal, scaled)
    both = Lookup(name, levels, np.hstack([lookup.table, rest.table]), lookup.names + rest.names)
    return both, np.hstack([train, rest_train])


def fit_target(name: str, words: Words, signal: Signal, scaled: bool) -> tuple[Lookup, np.ndarray]:
    """Smoothed target means and the frequency of each level.  Training rows get means of the other inner folds.

    Micci-Barreca, "A Preprocessing Scheme for High-Cardinality Categorical Attributes", SIGKDD Explorations 2001, with
    a fixed weight of the prior.
    """
    levels = frequent_levels(words)
    row, missing = _training_rows(levels, words)
    table, honest = signal.means(row, len(levels) + 2)
    share = np.bincount(row, minlength=len(levels) + 2) / max(len(row), 1)
    table, train = np.column_stack([table, share]), np.column_stack([honest, share[row]])
    if scaled:
        mean, deviation = train.mean(0), train.std(0)
        deviation = np.where(deviation > 1e-12, deviation, 1)
        table, train = (table - mean) / deviation, (train - mean) / deviation
    table = table.astype(np.float32)
    if not missing:
        table[-2] = table[-1]
    return Lookup(name, levels, table, (*signal.names, "frequency")), train.astype(np.float32)


def fit_ordinal(name: str, words: Words, signal: Signal, fill_unknown: bool, scaled: bool) -> tuple[Lookup, np.ndarray]:
    """Codes 0, 1, ... in the order of the target mean; unknown is NaN, or the middle code if `fill_unknown`.

    With several classes the order is that of the first principal component of the class shares (Coppersmith, Hong,
    Hosking, "Partitioning Nominal Attributes in Decision Trees", 1999).  Columns with many or thin levels get honest
    target means instead: an order learnt from few rows per level would leak the target.
    """
    levels = frequent_levels(words)
    if len(levels) > max(min(MAX_ORDINAL, len(words) // 10), 2):
        return fit_target(name, words, signal, scaled)
    row, missing = _training_rows(levels, words)
    k = len(levels) + missing  # a missing value seen in training is a level like any other
    means, _ = signal.means(row, len(levels) + 2)
    mass = np.bincount(row, minlength=len(levels) + 2)[:k]
    order = np.lexsort((np.arange(k), _first_component(means[:k], mass)))
    code = np.empty(k)
    code[order] = np.arange(k)
    table = np.full((len(levels) + 2, 1), np.nan)
    table[:k, 0] = code
    if fill_unknown:
        table[np.isnan(table)] = (k - 1) / 2
    if scaled:
        used = code[row[row < k]]
        spread = float(used.std()) if len(used) else 0.0
        table = (table - (used.mean() if len(used) else 0.0)) / (spread if spread > 1e-12 else 1.0)
    return _finish(name, levels, table.astype(np.float32), ("by target mean",), row, missing)


def _training_rows(levels: tuple[str, ...], words: Words) -> tuple[np.ndarray, bool]:
    """Table rows of the training rows, and whether missing values were seen; they have a row only if so."""
    return rows_of(levels, words), bool((words.codes < 0).any())


def _finish(
    name: str, levels: tuple[str, ...], table: np.ndarray, names: tuple[str, ...], row: np.ndarray, missing: bool
) -> tuple[Lookup, np.ndarray]:
    if not missing:
        table[-2] = table[-1]
    return Lookup(name, levels, table, names), table[row]


def _first_component(means: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """A number per level to sort by: the mean itself, or the first principal component of several.  (k, m) -> (k,)."""
    if means.shape[1] == 1 or len(means) < 2:
        return np.asarray(means[:, 0])
    centred = means - np.average(means, axis=0, weights=np.maximum(mass, 1e-12))
    axis = np.linalg.svd(centred * np.sqrt(mass)[:, None], full_matrices=False)[2][0]
    axis = axis * np.sign(axis[np.abs(axis).argmax()] or 1.0)
    return np.asarray(np.round(centred @ axis, 12))

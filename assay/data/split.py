"""Which rows train, which validate, and which nobody sees until the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Folds:
    """Row positions of one validation plan.

    test: rows held out from every search.  train, valid: one pair of positions per fold.  covered: rows that are
    validated in some fold, in ascending order (all but the test rows, except in time order and hold-out).
    """

    test: np.ndarray
    pairs: tuple[tuple[np.ndarray, np.ndarray], ...]

    @property
    def covered(self) -> np.ndarray:
        return np.unique(np.concatenate([valid for _, valid in self.pairs]))

    def __len__(self) -> int:
        return len(self.pairs)


def make_folds(
    method: str,
    k: int,
    test_fraction: float,
    rng: np.random.Generator,
    *,
    n: int,
    strata: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    order: np.ndarray | None = None,
) -> Folds:
    """Folds by method: "cv", "holdout" (one fold of a 1/k share), "group" or "time".

    strata: class codes (n,) kept in proportion, or a numeric target whose ranks are; groups: codes (n,) never split;
    order: sort key (n,) for time, oldest first.
    """
    if method == "group" and groups is not None:
        return _group_folds(groups, k, test_fraction, rng)
    if method == "time" and order is not None:
        return _time_folds(order, k, test_fraction)
    levels = _strata(strata, n)
    test_mask = np.zeros(n, dtype=bool)
    for members in _members(levels, rng):
        # a class keeps at least two rows for training: one to learn from, one to be judged on
        take = min(round(test_fraction * len(members)), max(0, len(members) - 2))
        test_mask[members[:take]] = True
    rest = np.flatnonzero(~test_mask)
    fold_of = _deal(levels[rest], k, rng)
    folds = range(1) if method == "holdout" else range(k)
    pairs = tuple((rest[fold_of != f], rest[fold_of == f]) for f in folds)
    return Folds(np.flatnonzero(test_mask), pairs)


def _strata(strata: np.ndarray | None, n: int) -> np.ndarray:
    """Small integers to keep in proportion; a continuous target is cut into up to 20 rank bins."""
    if strata is None:
        return np.zeros(n, dtype=np.int64)
    if strata.dtype.kind in "iu":
        return strata.astype(np.int64)
    bins = int(np.clip(n // 20, 1, 20))
    ranks = np.argsort(np.argsort(strata, kind="stable"), kind="stable")
    return (ranks * bins // max(1, n)).astype(np.int64)


def _members(levels: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.permutation(np.flatnonzero(levels == level)) for level in np.unique(levels)]


def _deal(levels: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Fold numbers dealt like cards, class by class, going on where the last class ended: sizes differ by one at most."""
    fold_of = np.empty(len(levels), dtype=np.int64)
    start = 0
    for members in _members(levels, rng):
        fold_of[members] = (start + np.arange(len(members))) % k
        start += len(members)
    return fold_of


def _group_folds(groups: np.ndarray, k: int, test_fraction: float, rng: np.random.Generator) -> Folds:
    names, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(names))
    test_groups: list[int] = []
    taken = 0
    for g in shuffled:
        if taken + sizes[g] <= test_fraction * len(groups) and len(names) - len(test_groups) > k:
            test_groups.append(int(g))
            taken += int(sizes[g])
    rest = [g for g in shuffled if g not in set(test_groups)]
    load = np.zeros(k)
    fold_of_group = np.full(len(names), -1)
    for g in sorted(rest, key=lambda g: -sizes[g]):  # the largest group first, into the emptiest fold
        fold = int(np.argmin(load))
        fold_of_group[g] = fold
        load[fold] += sizes[g]
    fold_of = fold_of_group[codes]
    pairs = tuple((np.flatnonzero((fold_of != f) & (fold_of >= 0)), np.flatnonzero(fold_of == f)) for f in range(k))
    return Folds(np.flatnonzero(fold_of < 0), pairs)


def _time_folds(order: np.ndarray, k: int, test_fraction: float) -> Folds:
    """Rolling origin: fold i trains on everything before its validation block; the newest rows are the test part."""
    by_time = np.argsort(order, kind="stable")
    n_test = round(test_fraction * len(order))
    past = by_time[: len(order) - n_test]
    blocks = np.array_split(past, k + 1)
    pairs = tuple((np.sort(np.concatenate(blocks[: i + 1])), np.sort(blocks[i + 1])) for i in range(k))
    return Folds(np.sort(by_time[len(order) - n_test :]), pairs)

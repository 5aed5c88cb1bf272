"""Whether the test part looks like the rows that models are trained on, and how much of it they have seen before."""

from __future__ import annotations

import numpy as np

from assay.data.loaded import DataWarning
from assay.data.table import Blobs, Table, Words

LEAST_ROWS = 50  # of either part, below which nothing is told
LARGE = 0.15  # of a difference of distributions (0 to 1) that is worth telling
CHANCE = 1e-4  # probability of a told difference, over all columns, where there is none
COPIES = 0.05  # share of test rows that are copies of training rows, past which it is told
TOLD = 10  # columns at most


def about_parts(features: Table, train: np.ndarray, test: np.ndarray) -> list[DataWarning]:
    """`drift` for columns whose values are distributed otherwise in the test part, `test_copies` for rows in both.

    train, test: row positions.  Numbers are compared by the Kolmogorov-Smirnov statistic, words by total variation less
    what chance brings.
    """
    if min(len(train), len(test)) < LEAST_ROWS:
        return []
    names = [n for n in features.names if not isinstance(features.columns[n], Blobs)]
    found = []
    for name in names:
        column = features.columns[name]
        if isinstance(column, Words):
            apart = _variation(column.codes[train] + 1, column.codes[test] + 1, len(names))
        elif isinstance(column, np.ndarray) and column.ndim == 1:
            apart = _kolmogorov(column[train], column[test], len(names))
        else:
            continue
        if apart >= LARGE:
            found.append((apart, name))
    told = [
        DataWarning(
            "drift", name, f"{name!r} is distributed otherwise in the test part (difference {apart:.2f} of 1): expect test "
            "metrics to differ from validation"
        )
        for apart, name in sorted(found, key=lambda f: (-f[0], f[1]))[:TOLD]
    ]  # fmt: skip
    share = _copies(features, names, train, test)
    if share > COPIES:
        told.append(
            DataWarning(
                "test_copies", None, f"{share:.0%} of the test rows are copies of training rows: test metrics flatter"
            )
        )
    return told


def _noise(n: int, m: int, columns: int) -> float:
    """A difference that chance hardly ever reaches (Dvoretzky, Kiefer, Wolfowitz)."""
    return float(np.sqrt(np.log(2 * columns / CHANCE) / 2) * np.sqrt((n + m) / (n * m)))


def _kolmogorov(a: np.ndarray, b: np.ndarray, columns: int) -> float:
    """The largest difference of the distribution functions, 0 where chance may bring it; missing comes last."""
    a, b = (np.sort(np.where(np.isnan(v), np.inf, v)) for v in (a, b))
    at = np.unique(np.concatenate([a, b]))
    below = [np.searchsorted(v, at, side="right") / len(v) for v in (a, b)]
    apart = float(np.abs(below[0] - below[1]).max())
    return apart if apart > _noise(len(a), len(b), columns) else 0.0


def _variation(a: np.ndarray, b: np.ndarray, columns: int) -> float:
    """Half the sum of the differences of shares, less what sampling alone makes of it."""
    k = int(max(a.max(), b.max())) + 1
    p, q = np.bincount(a, minlength=k) / len(a), np.bincount(b, minlength=k) / len(b)
    both = (len(a) * p + len(b) * q) / (len(a) + len(b))
    expected = 0.5 * np.sqrt(2 / np.pi) * np.sqrt(both * (1 - both) * (1 / len(a) + 1 / len(b))).sum()
    apart = float(0.5 * np.abs(p - q).sum() - expected)
    return apart if apart > _noise(len(a), len(b), columns) else 0.0


def _copies(features: Table, names: list[str], train: np.ndarray, test: np.ndarray) -> float:
    """Share of the test rows that are in every column the same as some training row."""
    if not names:
        return 0.0
    mixed = np.zeros(len(features), np.uint64)
    for i, name in enumerate(names):
        column = features.columns[name]
        values = column.codes.astype(np.int64) if isinstance(column, Words) else features.numbers(name)
        if values.ndim > 1:
            return 0.0
        if values.dtype != np.int64:
            values = np.where(np.isnan(values), 0.5, values)
        with np.errstate(over="ignore"):
            mixed = (mixed ^ (values.view(np.uint64) + np.uint64(0x9E3779B97F4A7C15 + i))) * np.uint64(
                0xBF58476D1CE4E5B9
            )
            mixed ^= mixed >> np.uint64(29)
    return float(np.isin(mixed[test], mixed[train]).mean())

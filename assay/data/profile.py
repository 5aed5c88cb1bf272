"""What is known of a table before anything is learned from it, and what its owner should know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from assay.data.infer import says_id
from assay.data.labels import labels
from assay.data.loaded import DataWarning, Loaded
from assay.data.table import Blobs, ColumnType, Table, Words

TOP = 20  # values shown of a column of words
BINS = 20  # of a histogram
HIGH_MISSING = 0.5  # share of missing cells that is worth a warning
MANY_LEVELS = 100
RARE = 0.1  # share of the smallest class below which classes are imbalanced
FEW_ROWS = 50
LEAK = 0.999  # share of the target that one column explains, past which it likely holds the answer
SAMPLE = 20_000  # rows looked at for leaks


@dataclass(frozen=True)
class ColumnProfile:
    """One column.  `statistics` holds min, max, mean, std, quantiles and a histogram, or the most frequent
    values and the mean number of characters."""

    name: str
    type: str
    missing: int
    distinct: int
    example: Any = None
    statistics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """All columns of a table, in file order."""

    n_rows: int
    columns: tuple[ColumnProfile, ...]

    def column(self, name: str) -> ColumnProfile:
        """Raises KeyError."""
        for c in self.columns:
            if c.name == name:
                return c
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        return {"n_rows": self.n_rows, "columns": [asdict(c) for c in self.columns]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Profile:
        return Profile(data["n_rows"], tuple(ColumnProfile(**c) for c in data["columns"]))


def profile(data: Table | Loaded, target: str | None = None) -> Profile:
    """Counts and summaries of every column.  A target's values are all counted, however many there are."""
    table = data.table if isinstance(data, Loaded) else data
    return Profile(len(table), tuple(_column(table, name, name == target) for name in table.names))


def warnings_for(table: Table, found: Profile, target: str | None, kind: str | None) -> list[DataWarning]:
    """What its owner should know.  target and kind ("binary", "regression", ...) add what concerns a task."""
    told = [w for c in found.columns for w in _about(c, found.n_rows)]
    if found.n_rows < FEW_ROWS:
        told.append(DataWarning("too_few_rows", None, f"{found.n_rows} rows are few: expect wide error bars"))
    copies = _duplicates(table)
    if copies:
        told.append(DataWarning("duplicate_rows", None, f"{copies} of {found.n_rows} rows are copies of others"))
    if target is not None and target in table.names:
        told += about_target(table, target, kind)
    return told


def _column(table: Table, name: str, whole: bool) -> ColumnProfile:
    column, kind = table.columns[name], str(table.types[name])
    if isinstance(column, Words):
        used = column.codes[column.codes >= 0]
        counts = np.bincount(used, minlength=len(column.levels))
        order = np.argsort(-counts, kind="stable")
        shown = [i for i in (order if whole else order[:TOP]) if counts[i] > 0]
        top = [{"value": str(column.levels[i]), "count": int(counts[i])} for i in shown]
        example = top[0]["value"] if top else None
        lengths = np.fromiter(map(len, column.levels), np.int64, len(column.levels))
        told = {"top": top, "characters": float(lengths @ counts / max(1, len(used)))}
        return ColumnProfile(name, kind, len(column) - len(used), int((counts > 0).sum()), example, told)
    if isinstance(column, Blobs):
        missing = int(column.missing.sum())
        from assay.data.images.sizes import picture_sizes

        return ColumnProfile(name, kind, missing, len(column) - missing, None, picture_sizes(column))
    known = column[np.isfinite(column)]
    distinct, counts = np.unique(known, return_counts=True)
    example = _plain(known[0]) if len(known) else None
    return ColumnProfile(
        name, kind, len(column) - len(known), len(distinct), example, _numbers(known, distinct, counts)
    )


def _numbers(known: np.ndarray, distinct: np.ndarray, counts: np.ndarray) -> dict[str, Any]:
    if not len(known):
        return {}
    quantiles = np.quantile(known, [0.01, 0.25, 0.5, 0.75, 0.99])
    with np.errstate(over="ignore", invalid="ignore"):
        heights, edges = _histogram(known)
        spread = {"mean": float(known.mean()), "std": float(known.std())}
    summary: dict[str, Any] = {"min": float(known.min()), "max": float(known.max()), **spread}
    summary["quantiles"] = dict(zip(("p01", "p25", "p50", "p75", "p99"), map(float, quantiles), strict=True))
    summary["histogram"] = {"edges": [float(e) for e in edges], "counts": [int(h) for h in heights]}
    if len(distinct) <= TOP:
        summary["top"] = [{"value": _plain(v), "count": int(c)} for v, c in zip(distinct, counts, strict=True)]
    return {k: v for k, v in summary.items() if not (isinstance(v, float) and not np.isfinite(v))}


def _histogram(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal bins between the extremes; one bin where these are too close, or too far apart, to be divided."""
    low, high = float(known.min()), float(known.max())
    edges = np.linspace(low, high, BINS + 1)
    if not np.isfinite(high - low) or not (np.diff(edges) > 0).all():
        return np.array([len(known)]), np.array([low, high])
    return np.histogram(known, edges)


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() and abs(value) < 2**53 else float(value)


def _about(c: ColumnProfile, n: int) -> list[DataWarning]:
    told = []
    if c.type == ColumnType.ID:
        told.append(
            DataWarning("id_like", c.name, f"{c.name!r} identifies rows and is left out; set its type to use it")
        )
    elif c.type == ColumnType.CONSTANT or c.distinct <= 1:
        told.append(DataWarning("constant", c.name, f"{c.name!r} has {c.distinct} distinct value(s) and tells nothing"))
    elif c.type == ColumnType.CATEGORY and c.distinct == n - c.missing and n >= 20 and says_id(c.name):
        told.append(DataWarning("id_like", c.name, f"every row has its own {c.name!r}: it may identify rows"))
    elif c.type == ColumnType.CATEGORY and c.distinct > MANY_LEVELS:
        told.append(DataWarning("high_cardinality", c.name, f"{c.name!r} has {c.distinct} categories"))
    if n and c.distinct > 1 and c.missing / n > HIGH_MISSING:
        told.append(DataWarning("high_missing", c.name, f"{c.name!r} is missing in {c.missing} of {n} rows"))
    return told


def about_target(table: Table, target: str, kind: str | None) -> list[DataWarning]:
    """What concerns a task: rows without a target, imbalance, columns that hold the answer."""
    told = []
    c = _column(table, target, False)
    if c.missing:
        words = f"{c.missing} rows have no {target!r} and are left out"
        told.append(DataWarning("target_missing", target, words))
    if kind in ("binary", "multiclass"):
        codes = labels(table, target).codes
        counts = np.bincount(codes[codes >= 0])
        smallest = int(counts[counts > 0].min()) if (counts > 0).any() else 0
        if smallest < RARE * counts.sum() / max(1, (counts > 0).sum() / 2):
            told.append(DataWarning("imbalanced", target, f"the rarest of {c.distinct} classes has {smallest} rows"))
    for name in table.names:
        if name != target and table.types[name] not in (ColumnType.ID, ColumnType.CONSTANT, ColumnType.IMAGE):
            share = explained(table, name, target, kind == "regression")
            if share >= LEAK:
                words = f"{name!r} alone tells {target!r} almost perfectly: make sure that it is known beforehand"
                told.append(DataWarning("leaking", name, words))
    return told


def explained(table: Table, name: str, target: str, numeric: bool) -> float:
    """Share of the target that one column explains: by its bins or levels, on rows not used to make the bins' means,
    or by its order.

    Numeric: of the variance, by bins or by the correlation of values or ranks; classes: of the errors that always
    answering the most frequent class makes, by bins or by the nearest value.  Below 0 or near it for a column that
    tells nothing, 1 for one that holds the answer.
    """
    n = min(len(table), SAMPLE)
    rows = np.random.default_rng(0).permutation(len(table))[:n]
    column = table.columns[name]
    if isinstance(column, Blobs):
        return 0.0
    x = _bins(column, rows)
    goal = table.columns[target]
    if numeric and isinstance(goal, np.ndarray):
        y = goal[rows]
        keep = np.isfinite(y)
        share = _variance(x[keep], y[keep])
        return share if isinstance(column, Words) else max(share, _correlation(column[rows], y))
    codes = labels(table, target).codes[rows]
    keep = codes >= 0
    share = _errors(x[keep], codes[keep])
    return share if isinstance(column, Words) else max(share, _nearest(column[rows][keep], codes[keep]))


def _bins(column: np.ndarray | Words, rows: np.ndarray) -> np.ndarray:
    if isinstance(column, Words):
        return np.asarray(column.codes[rows] + 1)
    values = column[rows]
    known = values[np.isfinite(values)]
    distinct = np.unique(known)
    edges = distinct if len(distinct) <= 200 else np.unique(np.quantile(known, np.linspace(0, 1, 201)))
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), len(edges) + 1)


def _variance(x: np.ndarray, y: np.ndarray) -> float:
    half = len(y) // 2
    if half < 10 or np.var(y[half:]) == 0:
        return 0.0
    sums, counts = np.bincount(x[:half], y[:half], int(x.max()) + 1), np.bincount(x[:half], minlength=int(x.max()) + 1)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), y[:half].mean())
    return float(1 - np.mean((y[half:] - means[x[half:]]) ** 2) / np.var(y[half:]))


def _errors(x: np.ndarray, codes: np.ndarray) -> float:
    half = len(codes) // 2
    if half < 10:
        return 0.0
    k = int(codes.max()) + 1
    table = np.bincount(x[:half] * k + codes[:half], minlength=(int(x.max()) + 1) * k).reshape(-1, k)
    usual = int(np.bincount(codes[:half], minlength=k).argmax())
    answer = np.where(table.sum(1) > 0, table.argmax(1), usual)
    plain = np.mean(codes[half:] != usual)
    return float(1 - np.mean(codes[half:] != answer[x[half:]]) / plain) if plain > 0 else 0.0


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """The larger of the squared correlations of values and of ranks, where both are known in most rows."""
    keep = np.isfinite(x) & np.isfinite(y)
    if keep.sum() < max(20, 0.9 * np.isfinite(y).sum()):
        return 0.0
    x, y = x[keep], y[keep]
    pairs = [(x, y), (_ranks(x), _ranks(y))]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = [float(np.corrcoef(a, b)[0, 1] ** 2) for a, b in pairs if np.ptp(a) > 0 and np.ptp(b) > 0]
    return max((f for f in found if np.isfinite(f)), default=0.0)


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.unique(values, return_inverse=True)[1], np.float64)


def _nearest(x: np.ndarray, codes: np.ndarray) -> float:
    """As `_errors`, answering with the class of the nearest value of the first half; unknown values are all alike."""
    known = np.isfinite(x)
    if len(x) < 20 or not known.any():
        return 0.0
    order = _ranks(np.where(known, x, np.inf))  # nearest in rank: no scale to mind
    half = len(x) // 2
    by_value = np.argsort(order[:half], kind="stable")
    values, classes = order[:half][by_value], codes[:half][by_value]
    right = np.clip(np.searchsorted(values, order[half:]), 1, half - 1)
    nearer = np.where(order[half:] - values[right - 1] <= values[right] - order[half:], right - 1, right)
    usual = int(np.bincount(codes[:half]).argmax())
    plain = np.mean(codes[half:] != usual)
    return float(1 - np.mean(codes[half:] != classes[nearer]) / plain) if plain > 0 else 0.0


def _duplicates(table: Table) -> int:
    """Rows that repeat an earlier one in every column but ids."""
    names = [n for n in table.names if table.types[n] is not ColumnType.ID]
    if not names or not len(table) or any(isinstance(c, Blobs) for c in table.columns.values()):
        return 0
    mixed = np.zeros(len(table), np.uint64)
    for i, name in enumerate(names):
        column = table.columns[name]
        values = column.codes.astype(np.int64) if isinstance(column, Words) else table.numbers(name)
        bits = (
            values.view(np.uint64)
            if values.dtype == np.int64
            else np.where(np.isnan(values), 0.5, values).view(np.uint64)
        )
        with np.errstate(over="ignore"):
            mixed = (mixed ^ (bits + np.uint64(0x9E3779B97F4A7C15 + i))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(29)
    return len(table) - len(np.unique(mixed))

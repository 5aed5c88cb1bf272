"""From raw columns to a float32 design matrix: plain tables, fitted inside the fold, applied by NumPy or by ONNX.

Both ways do the same float32 arithmetic in the same order, so that a tree's threshold never falls between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from assay.data.bag import Bag, fit_bag
from assay.data.dates import PARTS, date_parts, emit_date_parts
from assay.data.derive import Derived, fit_derived
from assay.data.encoders import Lookup, Signal, fit_onehot, fit_ordinal, fit_target
from assay.data.quick import main_values, needed, sample
from assay.data.scalers import HUGE, WILD, Scaler, as_float32, emit_clip, fit_scaler, quantiles
from assay.data.table import ColumnType, Table, Words
from assay.data.topics import Topics, fit_topics
from assay.model.graph import Graph, Scope

MAX_ONEHOT_COLUMNS = 2000  # of the whole matrix
LEAST_SELECTED = 20  # prepared columns below which none is worth leaving out
MAX_INTERACTION_COLUMNS = 40  # base columns that are multiplied with each other

_NUMERIC = frozenset({ColumnType.NUMBER, ColumnType.INTEGER})
_CATEGORICAL = frozenset({ColumnType.CATEGORY, ColumnType.BOOLEAN})


@dataclass(frozen=True)
class Recipe:
    """What a family wants of its design matrix.  Equal recipes share one fitted preparation.

    numbers: "raw" (as they are, NaN kept), "standard" (mean 0, deviation 1), "robust" (median and IQR, smooth clip
    x / sqrt(1 + (x/3)^2)), "quantile" (to a normal distribution by knots).  impute: fill NaN (median before scaling)
    and add one 0/1 indicator per column that had missing values.  categories: "onehot" (levels up to `max_onehot`, the
    rest by target mean and frequency), "ordinal" (codes ordered by target mean, NaN for unseen), "target" (out-of-fold
    smoothed target means + frequency), "drop".  interactions: degree-2 products and squares of the numeric columns.  derived: columns made of several raw
    ones, where they help a quick model (see `assay.data.derive`), and topics of texts (unscaled recipes only).  select: without columns that a quick model needs no
    more than shuffled ones.
    """

    numbers: str = "raw"
    impute: bool = False
    categories: str = "ordinal"
    max_onehot: int = 12
    interactions: bool = False
    derived: bool = False
    select: bool = False

    def fit(
        self, table: Table, y: np.ndarray, target: TargetLike, seed: int, weight: np.ndarray | None = None
    ) -> tuple[Preparation, np.ndarray]:
        """See `fit` below."""
        return fit(self, table, y, target, seed, weight)


class TargetLike(Protocol):
    """What preparing needs to know of the target; 0 classes is regression."""

    @property
    def n_classes(self) -> int: ...


@dataclass(frozen=True, eq=False)
class NumberBlock:
    """All numeric columns and the parts of all dates, together.

    numbers: names of numeric columns.  dates: (column, kept parts).  fill: float32 (p,) or None.  flagged: positions
    that get an indicator.  left, right: positions of the factors of each product.
    """

    numbers: tuple[str, ...]
    dates: tuple[tuple[str, tuple[int, ...]], ...]
    fill: np.ndarray | None
    flagged: np.ndarray
    scaler: Scaler
    left: np.ndarray
    right: np.ndarray
    product_scaler: Scaler
    names: tuple[str, ...]
    columns: tuple[str, ...]  # the raw column of each prepared one

    def apply(self, table: Table) -> np.ndarray:
        """float32 (n, len(names))."""
        return self._apply(_base(table, self.numbers, self.dates))

    def _apply(self, base: np.ndarray) -> np.ndarray:
        unknown = np.isnan(base)
        filled = base if self.fill is None else np.where(unknown, self.fill, base)
        scaled = self.scaler.apply(filled)
        parts = [scaled]
        if len(self.left):
            parts.append(self.product_scaler.apply(_products(scaled, self.left, self.right)))
        if len(self.flagged):
            parts.append(unknown[:, self.flagged].astype(np.float32))
        return np.hstack(parts)

    def emit(self, scope: Scope, inputs: Mapping[str, str]) -> str:
        values = [inputs[c] for c in self.numbers]
        pieces = []
        if values:
            joined = values[0] if len(values) == 1 else scope.add("Concat", *values, axis=1)
            pieces.append(emit_clip(scope, joined, HUGE))
        for column, kept in self.dates:
            parts = emit_date_parts(scope, inputs[column])
            pieces.append(scope.add("Gather", parts, scope.const(np.array(kept, np.int64)), axis=1))
        base = _join(scope, pieces)
        unknown = scope.add("IsNaN", base)
        filled = base if self.fill is None else scope.add("Where", unknown, scope.const(self.fill[None]), base)
        scaled = self.scaler.emit(scope, filled)
        out = [scaled]
        if len(self.left):
            left, right = (scope.add("Gather", scaled, scope.const(at), axis=1) for at in (self.left, self.right))
            product = emit_clip(scope, scope.add("Mul", left, right), HUGE)
            out.append(self.product_scaler.emit(scope, product))
        if len(self.flagged):
            flags = scope.add("Gather", scope.add("Cast", unknown, to=1), scope.const(self.flagged), axis=1)
            out.append(flags)
        return _join(scope, out)


@dataclass(frozen=True, eq=False)
class Preparation:
    """A fitted way from a table to the design matrix.

    names: readable names of the d prepared columns.  groups: int64 (d,), the position among `columns` of the raw column
    each came from (for a product: of its first factor).  columns: the raw columns in the order of the training table.
    """

    columns: tuple[str, ...]
    numbers: NumberBlock | None
    lookups: tuple[Lookup, ...]
    bags: tuple[Bag | Topics, ...]
    names: tuple[str, ...]
    groups: np.ndarray
    derived: tuple[Derived, ...] = ()
    kept: np.ndarray | None = None  # int64, positions of the d columns among all that are made; None for all of them

    def transform(self, table: Table) -> np.ndarray:
        """The design matrix of any rows with the same columns.  float32 (n, d)."""
        parts = [self.numbers.apply(table)] if self.numbers else []
        parts += [b.apply(table.words(b.column)) for b in self._blocks]
        parts += [d.apply(table) for d in self.derived]
        if not parts:
            return np.zeros((len(table), 1), np.float32)
        whole = np.hstack(parts)
        return whole if self.kept is None else np.ascontiguousarray(whole[:, self.kept])

    @property
    def _blocks(self) -> tuple[Lookup | Bag | Topics, ...]:
        return (*self.lookups, *self.bags)

    def to_onnx(self, inputs: Mapping[str, str]) -> Graph:
        """The same as nodes.  inputs: value name of each raw column, float32 or string [N, 1] -> float32 [N, d]."""
        scope = Scope()
        pieces = [self.numbers.emit(scope, inputs)] if self.numbers else []
        pieces += [b.emit(scope, inputs[b.column]) for b in self._blocks]
        pieces += [d.emit(scope, inputs) for d in self.derived]
        if pieces:
            whole = _join(scope, pieces)
            return scope.graph(
                whole if self.kept is None else scope.add("Gather", whole, scope.const(self.kept), axis=1)
            )
        # nothing to learn from: one column of zeros, as many rows as any input has
        n = scope.add("Shape", inputs[self.columns[0]], start=0, end=1)
        shape = scope.add("Concat", n, scope.const(np.array([1], np.int64)), axis=0)
        return scope.graph(scope.add("Expand", scope.const(np.zeros((1, 1), np.float32)), shape))


def fit(
    recipe: Recipe, table: Table, y: np.ndarray, target: TargetLike, seed: int, weight: np.ndarray | None = None
) -> tuple[Preparation, np.ndarray]:
    """Fit on the training rows of a fold and return the preparation with their design matrix.

    table: feature columns only; ids and constants are passed over.  y: class codes (n,) or numbers (n,).  The matrix of
    the training rows differs from `transform` in one thing: target means are out-of-fold, as honest as on new rows.
    """
    encode = _encoder(recipe, table)
    scaled = recipe.numbers != "raw"
    signal = Signal.of(y, target.n_classes, weight, np.random.default_rng(seed))
    matrices: list[np.ndarray] = []
    names: list[str] = []
    sources: list[str] = []

    numbers, x = _fit_numbers(recipe, table, signal)
    if numbers is not None:
        matrices.append(x)
        names += numbers.names
        sources += numbers.columns

    lookups: list[Lookup] = []
    bags: list[Bag | Topics] = []
    for column, kind in table.types.items():
        if column not in table.columns or recipe.categories == "drop":
            continue
        if kind in _CATEGORICAL:
            lookup, x = _varying(*encode(column, table.words(column), signal))
            if not lookup.names:
                continue
            lookups.append(lookup)
            matrices.append(x)
            names += [f"{column} {n}" for n in lookup.names]
            sources += [column] * len(lookup.names)
    for column in table.names:
        if table.types[column] is ColumnType.TEXT and recipe.categories != "drop":
            bag, x = fit_bag(column, table.words(column), signal, scaled)
            bags.append(bag)
            matrices.append(x)
            names += [f"{column} {n}" for n in bag.names]
            sources += [column] * len(bag.names)
            found = fit_topics(column, table.words(column), seed) if recipe.derived and not scaled else None
            if found is not None:
                bags.append(found[0])
                matrices.append(found[1])
                names += [f"{column} {n}" for n in found[0].names]
                sources += [column] * len(found[0].names)

    if not matrices:
        matrices, names, sources = [np.zeros((len(table), 1), np.float32)], ["(no usable column)"], [table.names[0]]
    position = {c: i for i, c in enumerate(table.names)}
    x = np.hstack(matrices)
    derived: tuple[Derived, ...] = ()
    if recipe.derived and (numbers is not None or lookups):
        derived, more, titles = fit_derived(table, x, signal, seed)
        x, names = np.hstack([x, more]), [*names, *titles]
        sources += [d.columns[0] for d in derived for _ in range(d.apply(table.take(np.arange(1))).shape[1])]
    groups = np.array([position[c] for c in sources], np.int64)
    kept = _selected(x, signal, seed) if recipe.select else None
    if kept is not None:
        x, names, groups = x[:, kept], [names[i] for i in kept], groups[kept]
    preparation = Preparation(table.names, numbers, tuple(lookups), tuple(bags), tuple(names), groups, derived, kept)
    return preparation, np.ascontiguousarray(x)


def _selected(x: np.ndarray, signal: Signal, seed: int) -> np.ndarray | None:
    """Positions of the columns worth keeping; None for all of them."""
    if x.shape[1] < LEAST_SELECTED:
        return None
    rows = sample(len(x), seed)
    values = main_values(signal.values[rows])
    if len(rows) < 60 or not values.shape[1]:
        return None
    keep = np.flatnonzero(needed(x[rows], values, seed))
    return keep if 0 < len(keep) < x.shape[1] else None


Encoder = Callable[[str, Words, Signal], tuple[Lookup, np.ndarray]]


def _encoder(recipe: Recipe, table: Table) -> Encoder:
    """How this recipe encodes a category column."""
    scaled = recipe.numbers != "raw"
    if recipe.categories == "onehot":
        limit = _onehot_limit(recipe.max_onehot, table)
        return lambda name, words, signal: fit_onehot(name, words, signal, limit, scaled)
    if recipe.categories == "ordinal":
        return lambda name, words, signal: fit_ordinal(name, words, signal, recipe.impute, scaled)
    if recipe.categories in ("target", "drop"):
        return lambda name, words, signal: fit_target(name, words, signal, scaled)
    raise ValueError(f"categories={recipe.categories!r} is not an encoding; choose onehot, ordinal, target or drop")


def _onehot_limit(wanted: int, table: Table) -> int:
    """The largest number of shown levels a column, up to `wanted`, that keeps the matrix within its bound."""
    sizes = np.array([len(table.words(c).levels) for c in table.names if table.types[c] in _CATEGORICAL])
    limit = wanted
    while limit > 1 and np.minimum(sizes, limit).sum() > MAX_ONEHOT_COLUMNS:
        limit -= max(limit // 20, 1)
    return limit


def _varying(lookup: Lookup, x: np.ndarray) -> tuple[Lookup, np.ndarray]:
    """The same without columns that are constant on the training rows."""
    keep = np.flatnonzero((x != x[:1]).any(0) & ~np.isnan(x).all(0)) if len(x) else np.arange(0)
    return Lookup(lookup.column, lookup.levels, lookup.table[:, keep], tuple(lookup.names[i] for i in keep)), x[:, keep]


def _fit_numbers(recipe: Recipe, table: Table, signal: Signal) -> tuple[NumberBlock | None, np.ndarray]:
    numbers = tuple(c for c in table.names if table.types[c] in _NUMERIC)
    dates = tuple((c, tuple(range(len(PARTS)))) for c in table.names if table.types[c] is ColumnType.DATETIME)
    base = _base(table, numbers, dates)
    keep = _informative(base)
    labels = [(c, c) for c in numbers] + [(f"{c} {PARTS[i]}", c) for c, kept in dates for i in kept]
    labels = [labels[i] for i in np.flatnonzero(keep)]
    dates = tuple((c, tuple(np.flatnonzero(k).tolist())) for c, k in _per_date(dates, keep[len(numbers) :]) if k.any())
    numbers = tuple(c for c, k in zip(numbers, keep, strict=False) if k)
    base = base[:, keep]
    if not labels:
        return None, base

    unknown = np.isnan(base)
    names, columns = [n for n, _ in labels], [c for _, c in labels]
    fill, flagged = None, np.empty(0, np.int64)
    filled = base
    if recipe.impute:
        fill = quantiles(base, np.array([0.5]))[0].astype(np.float32)
        filled = np.where(unknown, fill, base)
        first = [i for i, c in enumerate(columns) if c not in columns[:i]]  # one indicator per date, not per part
        flagged = np.array([i for i in first if unknown[:, i].any()], np.int64)
    scaler = fit_scaler(recipe.numbers, filled)
    scaled = scaler.apply(filled)

    left = right = np.empty(0, np.int64)
    product_scaler = fit_scaler("raw", scaled)
    if recipe.interactions:
        left, right = _pairs(scaled, signal)
        if len(left) and recipe.numbers != "raw":
            product_scaler = fit_scaler("standard", _products(scaled, left, right))
        names += [
            f"{names[i]} squared" if i == j else f"{names[i]} x {names[j]}" for i, j in zip(left, right, strict=True)
        ]
        columns += [columns[i] for i in left]
    names += [f"{labels[i][1]} is missing" for i in flagged]
    columns += [labels[i][1] for i in flagged]
    block = NumberBlock(
        numbers, dates, fill, flagged, scaler, left, right, product_scaler, tuple(names), tuple(columns)
    )
    return block, block._apply(base)


def _base(table: Table, numbers: tuple[str, ...], dates: tuple[tuple[str, tuple[int, ...]], ...]) -> np.ndarray:
    """Numbers and date parts side by side.  float32 (n, p)."""
    parts = [as_float32(table.numbers(c))[:, None] for c in numbers]
    parts += [date_parts(table.words(c))[:, list(kept)] for c, kept in dates]
    return np.hstack(parts) if parts else np.empty((len(table), 0), np.float32)


def _informative(base: np.ndarray) -> np.ndarray:
    """Columns with two different entries on the training rows; a missing value is an entry too.  bool (p,)."""
    unknown = np.isnan(base)
    if not len(base):
        return np.zeros(base.shape[1], bool)
    low, high = (fn.reduce(np.where(unknown, np.nan, base), axis=0) for fn in (np.fmin, np.fmax))
    return np.asarray(~unknown.all(0) & ((low < high) | unknown.any(0)))


def _per_date(dates: tuple[tuple[str, tuple[int, ...]], ...], keep: np.ndarray) -> list[tuple[str, np.ndarray]]:
    return [(c, keep[i * len(PARTS) : (i + 1) * len(PARTS)]) for i, (c, _) in enumerate(dates)]


def _pairs(scaled: np.ndarray, signal: Signal) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the factors of every product: squares and pairs of the columns that go best with the target."""
    x = np.nan_to_num(scaled.astype(np.float64), nan=0.0, posinf=float(WILD), neginf=-float(WILD))
    spread = x.std(0)
    z = (x - x.mean(0)) / np.where(spread > 0, spread, 1)
    v = signal.values - signal.values.mean(0)
    v /= np.where(v.std(0) > 0, v.std(0), 1)
    strength = np.abs(z.T @ v).max(1) / max(len(x), 1)
    chosen = np.sort(np.lexsort((np.arange(len(strength)), -np.round(strength, 12)))[:MAX_INTERACTION_COLUMNS])
    two_valued = np.array([len(np.unique(x[:1000, j])) <= 2 for j in chosen], bool)  # its square says nothing new
    at = [(i, j) for a, i in enumerate(chosen) for j in chosen[a:] if i != j or not two_valued[a]]
    pairs = np.array(at, np.int64).reshape(-1, 2)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def _products(scaled: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(np.clip(scaled[:, left] * scaled[:, right], -HUGE, HUGE))


def _join(scope: Scope, pieces: list[str]) -> str:
    return pieces[0] if len(pieces) == 1 else scope.add("Concat", *pieces, axis=1)

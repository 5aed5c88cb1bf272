"""Columns made of several raw ones, kept only where they tell what a quick boosted model of the raw ones leaves open.

Tried are sums, differences, products and quotients of numbers, pairs of categories (by out-of-fold target means), numbers
relative to the mean of their category, and how frequent a category is.  The way of choosing is that of Zhang et al.,
"OpenFE: Automated Feature Generation with Expert-level Performance", ICML 2023: the share of the residual that a
column explains by itself, measured on rows that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assay.data.encoders import Lookup, Signal, fit_target
from assay.data.quick import main_values, residuals, sample
from assay.data.scalers import HUGE, as_float32, emit_clip
from assay.data.table import ColumnType, Table, Words
from assay.model.graph import Scope

STRONG_NUMBERS = 8  # whose pairs are tried
STRONG_CATEGORIES = 5
GROUPED = 4  # categories, and numbers, whose group means are tried
MOST = 10  # columns kept
LEAST_GAIN = 0.004  # share of the residual that a kept column explains at least
ERRORS = 3.0  # standard errors by which its gain must differ from none
BINS = 24  # at most; a bin has ROWS_OF_BIN rows
ROWS_OF_BIN = 50
BETWEEN = "\x1f"  # stands between the texts of a pair of categories

_NUMERIC = frozenset({ColumnType.NUMBER, ColumnType.INTEGER})
_CATEGORICAL = frozenset({ColumnType.CATEGORY, ColumnType.BOOLEAN})
OPERATIONS = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div"}


@dataclass(frozen=True)
class Arithmetic:
    """One float32 operation on two numbers; a quotient by zero is missing."""

    operation: str
    left: str
    right: str

    @property
    def name(self) -> str:
        return f"{self.left} {self.operation} {self.right}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.left, self.right)

    def apply(self, table: Table) -> np.ndarray:
        a, b = as_float32(table.numbers(self.left)), as_float32(table.numbers(self.right))
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            if self.operation == "+":
                found = a + b
            elif self.operation == "-":
                found = a - b
            elif self.operation == "*":
                found = a * b
            else:
                found = a / np.where(b == 0, np.float32(np.nan), b)
        return np.asarray(np.clip(found, -HUGE, HUGE), np.float32)[:, None]

    def emit(self, scope: Scope, inputs: Mapping[str, str]) -> str:
        a, b = (emit_clip(scope, inputs[c], HUGE) for c in (self.left, self.right))
        if self.operation == "/":
            zero = scope.add("Equal", b, scope.const(np.float32(0)))
            b = scope.add("Where", zero, scope.const(np.float32(np.nan)), b)
        return emit_clip(scope, scope.add(OPERATIONS[self.operation], a, b), HUGE)


@dataclass(frozen=True, eq=False)
class Cross:
    """Target means and frequency of a pair of categories."""

    left: str
    right: str
    lookup: Lookup

    @property
    def name(self) -> str:
        return f"{self.left} & {self.right}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.left, self.right)

    def apply(self, table: Table) -> np.ndarray:
        return self.lookup.apply(crossed(table.words(self.left), table.words(self.right)))

    def emit(self, scope: Scope, inputs: Mapping[str, str]) -> str:
        begun = scope.add("StringConcat", inputs[self.left], scope.const(np.array([[BETWEEN]], object)))
        return self.lookup.emit(scope, scope.add("StringConcat", begun, inputs[self.right]))


@dataclass(frozen=True, eq=False)
class Relative:
    """A number less the mean that it has among the training rows of the same category."""

    category: str
    number: str
    lookup: Lookup  # of the means

    @property
    def name(self) -> str:
        return f"{self.number} within {self.category}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.number, self.category)

    def apply(self, table: Table) -> np.ndarray:
        mean = self.lookup.apply(table.words(self.category))
        return np.asarray(np.clip(as_float32(table.numbers(self.number))[:, None] - mean, -HUGE, HUGE))

    def emit(self, scope: Scope, inputs: Mapping[str, str]) -> str:
        mean = self.lookup.emit(scope, inputs[self.category])
        return emit_clip(scope, scope.add("Sub", emit_clip(scope, inputs[self.number], HUGE), mean), HUGE)


@dataclass(frozen=True, eq=False)
class Frequency:
    """The share of training rows with the same category."""

    category: str
    lookup: Lookup

    @property
    def name(self) -> str:
        return f"{self.category} frequency"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.category,)

    def apply(self, table: Table) -> np.ndarray:
        return self.lookup.apply(table.words(self.category))

    def emit(self, scope: Scope, inputs: Mapping[str, str]) -> str:
        return self.lookup.emit(scope, inputs[self.category])


Derived = Arithmetic | Cross | Relative | Frequency


def crossed(left: Words, right: Words) -> Words:
    """The pairs of two columns as one; a missing value is an empty text beside the other."""
    a, b = left.codes.astype(np.int64) + 1, right.codes.astype(np.int64) + 1
    width = len(right.levels) + 1
    pairs, codes = np.unique(a * width + b, return_inverse=True)
    texts = [["", *map(str, words.levels)] for words in (left, right)]
    levels = [f"{texts[0][p // width]}{BETWEEN}{texts[1][p % width]}" for p in pairs.tolist()]
    return Words(codes.astype(np.int32).reshape(-1), np.array(levels, object))


def fit_derived(
    table: Table, x: np.ndarray, signal: Signal, seed: int, avoid: Sequence[str] = ()
) -> tuple[tuple[Derived, ...], np.ndarray, list[str]]:
    """The columns worth having, their matrix on the training rows (n, m), and the names of its columns.

    x: the design matrix of the raw columns on the same rows.  avoid: raw columns that nothing is made of.
    """
    empty: tuple[tuple[Derived, ...], np.ndarray, list[str]] = ((), np.empty((len(table), 0), np.float32), [])
    numbers = [c for c in table.names if table.types[c] in _NUMERIC and c not in avoid]
    categories = [c for c in table.names if table.types[c] in _CATEGORICAL and c not in avoid]
    rows = sample(len(table), seed)
    values = main_values(signal.values[rows])
    if len(rows) < 60 or not values.shape[1] or len(numbers) + len(categories) < 2:
        return empty
    left = residuals(x[rows], values, seed)
    part = table.take(rows)
    own = Signal(signal.values[rows], signal.weight[rows], signal.fold[rows], signal.names)
    half = np.random.default_rng([seed, 14]).permutation(len(rows)) % 2 == 0

    def explains(column: np.ndarray, of: np.ndarray) -> tuple[float, float]:
        return _explained(column, of, half)

    strong = _ordered(numbers, [explains(as_float32(part.numbers(c)), values)[0] for c in numbers])[:STRONG_NUMBERS]
    told = [explains(fit_target(c, part.words(c), own, False)[1][:, 0], values)[0] for c in categories]
    grouping = _ordered(categories, told)[:STRONG_CATEGORIES]
    found: list[tuple[float, Derived]] = []
    for derived, train in _tried(part, own, strong, grouping):
        gain, error = explains(train[:, 0], left)
        if gain > LEAST_GAIN and gain > ERRORS * error:
            found.append((gain, derived))
    kept = _apart(sorted(found, key=lambda f: (-round(f[0], 9), f[1].name)), part)
    if not kept:
        return empty
    made = [_refitted(d, table, signal) for d in kept]
    matrix = np.hstack([m for _, m in made])
    names = [d.name if w == 1 else f"{d.name} ({i})" for d, m in made for w in [m.shape[1]] for i in range(w)]
    return tuple(d for d, _ in made), np.asarray(matrix, np.float32), names


def _tried(
    part: Table, signal: Signal, numbers: Sequence[str], categories: Sequence[str]
) -> list[tuple[Derived, np.ndarray]]:
    """Every candidate with its values on the rows, (n, m) each."""
    found: list[tuple[Derived, np.ndarray]] = []
    for i, a in enumerate(numbers):
        for b in numbers[i + 1 :]:
            for operation, left, right in (("+", a, b), ("-", a, b), ("*", a, b), ("/", a, b), ("/", b, a)):
                derived = Arithmetic(operation, left, right)
                found.append((derived, derived.apply(part)))
    for i, a in enumerate(categories):
        for b in categories[i + 1 :]:
            found.append(_cross(a, b, part, signal))
    for category in categories[:GROUPED]:
        for number in numbers[:GROUPED]:
            relative = _relative(category, number, part)
            found.append((relative, relative.apply(part)))
    for category in categories:
        frequency = _frequency(category, part)
        found.append((frequency, frequency.apply(part)))
    return found


def _refitted(derived: Derived, table: Table, signal: Signal) -> tuple[Derived, np.ndarray]:
    """The same learned from all training rows, with its honest values there."""
    if isinstance(derived, Cross):
        return _cross(derived.left, derived.right, table, signal)
    if isinstance(derived, Relative):
        derived = _relative(derived.category, derived.number, table)
    elif isinstance(derived, Frequency):
        derived = _frequency(derived.category, table)
    return derived, derived.apply(table)


def _cross(left: str, right: str, table: Table, signal: Signal) -> tuple[Cross, np.ndarray]:
    lookup, train = fit_target(f"{left} & {right}", crossed(table.words(left), table.words(right)), signal, False)
    return Cross(left, right, lookup), train


def _relative(category: str, number: str, table: Table) -> Relative:
    words, values = table.words(category), as_float32(table.numbers(number)).astype(np.float64)
    known = ~np.isnan(values)
    overall = float(values[known].mean()) if known.any() else 0.0
    levels, row = _levels(words)
    size = len(levels) + 2
    count = np.bincount(row[known], minlength=size)
    sums = np.bincount(row[known], values[known], minlength=size)
    mean = np.where(count > 0, sums / np.maximum(count, 1), overall)
    return Relative(
        category, number, Lookup(category, levels, mean[:, None].astype(np.float32), (f"mean of {number}",))
    )


def _frequency(category: str, table: Table) -> Frequency:
    levels, row = _levels(table.words(category))
    share = np.bincount(row, minlength=len(levels) + 2) / max(1, len(row))
    return Frequency(category, Lookup(category, levels, share[:, None].astype(np.float32), ("frequency",)))


def _levels(words: Words) -> tuple[tuple[str, ...], np.ndarray]:
    from assay.data.encoders import frequent_levels, rows_of

    levels = frequent_levels(words)
    return levels, rows_of(levels, words)


def _ordered(names: Sequence[str], strength: Sequence[float]) -> list[str]:
    return [names[i] for i in sorted(range(len(names)), key=lambda i: (-round(strength[i], 9), i))]


def _explained(column: np.ndarray, values: np.ndarray, half: np.ndarray) -> tuple[float, float]:
    """Share of the values' variance that the column's bins explain on the other half of the rows, and its error."""
    known = ~np.isnan(column)
    if known.sum() < 20:
        return 0.0, np.inf
    bins_wanted = int(np.clip(len(column) // ROWS_OF_BIN, 4, BINS))
    edges = np.unique(np.quantile(column[known], np.linspace(0, 1, bins_wanted + 1)[1:-1]))
    bins = np.where(known, np.searchsorted(edges, column, side="right"), len(edges) + 1)
    size = len(edges) + 2
    gains = np.zeros(len(column))
    for fit, judge in ((half, ~half), (~half, half)):
        count = np.bincount(bins[fit], minlength=size)
        for v in values.T:
            mean = v[fit].mean()
            sums = np.bincount(bins[fit], v[fit] - mean, minlength=size)
            told = (mean + sums / (count + 5.0))[bins[judge]]  # few rows say little
            gains[judge] += (v[judge] - mean) ** 2 - (v[judge] - told) ** 2
    total = float(((values - values.mean(0)) ** 2).sum()) / len(values)
    if total <= 0:
        return 0.0, np.inf
    return float(gains.mean() / total), float(gains.std() / total / np.sqrt(len(gains)))


def _apart(found: Sequence[tuple[float, Derived]], part: Table) -> list[Derived]:
    """The best ones, without those that nearly repeat a better one."""
    kept: list[Derived] = []
    ranks: list[np.ndarray] = []
    for _, derived in found:
        own = _ranked(derived.apply(part)[:, 0])
        if any(abs(float(own @ other)) > 0.97 for other in ranks):
            continue
        kept.append(derived)
        ranks.append(own)
        if len(kept) == MOST:
            break
    return kept


def _ranked(values: np.ndarray) -> np.ndarray:
    """Ranks with mean 0 and length 1; missing values in the middle."""
    rank = np.unique(np.nan_to_num(values, nan=0.0), return_inverse=True)[1].astype(np.float64)
    rank -= rank.mean()
    return np.asarray(rank / max(float(np.linalg.norm(rank)), 1e-12))

"""The target of a drawn row told anew from its other cells: one more Gibbs step after any generator.

Generators draw the target first, so that it can be asked for, or somewhere between the other columns; what ties it to all
of them together is then the product of many small conditionals.  Redrawing it from trees that learned p(target | others)
on real rows keeps the distribution where the generator is right and mends that tie where it is not.  A condition is kept.

A number is told in its own unit: errors around what is said in normal scores become errors of the mean on the way back, by
the curvature of that way (Duan, "Smearing Estimate", J. Am. Stat. Assoc. 78, 1983), and a model of a long-tailed number
learns little from rows whose means are off.  Where many rows share some values, what is drawn is replaced by a real
value near it, as in predictive mean matching (Little, "Missing-Data Adjustments in Large Surveys", J. Bus. Econ. Stat. 6,
1988).  Where one value has a large share, or values are missing, what state a number is in is told first, the rest in
scores.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from assay.data.table import Table
from assay.generation.columns import RowCoder, raw_values
from assay.generation.parts import cut, or_given
from assay.generation.tell import MOST_CODES, MOST_ROWS, Growing, Tell, fit_tell, n_folds
from assay.model.graph import Scope

LEAST_ROWS = 40
STATE = 0.2  # share of the rows from which one value of a number is a state that is told by itself
MOST_RANKS = 1024
DRAWS = 20  # of each row, to learn how far drawn numbers spread
REACH = 0.5  # of that spread: how far the value may be that a drawn number is replaced by
SECONDS = 4.0  # rounds are cut so that growing takes about so long on one core


@dataclass(frozen=True, eq=False)
class OwnUnit:
    """tell: of numbers of mean 0 and deviation 1; mean, deviation: of the column.  ranked: (m,) values of the column at even
    ranks, ascending: what is drawn becomes one of those within reach of it.  None for numbers as they are drawn."""

    tell: Tell
    mean: float
    deviation: float
    ranked: np.ndarray | None = None
    reach: float = 0.0

    def calmed(self, calm: float) -> OwnUnit:
        return replace(self, tell=self.tell.calmed(calm), reach=calm * self.reach)

    def emit(self, scope: Scope, cells: str, u: str, which: str) -> str:
        """u, which: uniform [N, 1].  float32 [N, 1]."""
        value = scope.add("Mul", self.tell.emit(scope, cells, u), scope.const(np.float32(self.deviation)))
        value = scope.add("Add", value, scope.const(np.float32(self.mean)))
        if self.ranked is None:
            return value
        value = scope.add(
            "Clip", value, scope.const(np.float32(self.ranked[0])), scope.const(np.float32(self.ranked[-1]))
        )
        known, reach = scope.const(self.ranked[None].astype(np.float32)), scope.const(np.float32(self.reach))
        low = scope.add("Greater", scope.add("Sub", value, reach), known)
        high = scope.add("GreaterOrEqual", scope.add("Add", value, reach), known)
        start, end = (
            scope.add("ReduceSum", scope.add("Cast", v, to=1), scope.const([1]), keepdims=1) for v in (low, high)
        )
        span = scope.add("Sub", end, start)
        place = scope.add("Add", start, scope.add("Floor", scope.add("Mul", which, span)))
        place = scope.add("Cast", scope.add("Min", place, scope.const(np.float32(len(self.ranked) - 1))), to=7)
        near = scope.add("Gather", scope.const(self.ranked.astype(np.float32)), place)
        return scope.add("Where", scope.add("Greater", span, scope.const(np.float32(0))), near, value)


@dataclass(frozen=True, eq=False)
class Retelling:
    """code: of the target's code part, score: of its score part; None where it has no such part.  own: of the number
    itself, instead of both."""

    code: Tell | None
    score: Tell | None
    conditional: bool
    seconds: float  # it took to grow
    own: OwnUnit | None = None

    uniform = 2  # numbers a draw takes

    def calmed(self, calm: float) -> Retelling:
        """With smaller errors: what is learned from drawn rows is learned through their noise twice."""
        code, score, own = (part.calmed(calm) if part else None for part in (self.code, self.score, self.own))
        return replace(self, code=code, score=score, own=own)  # type: ignore[arg-type]

    def emit(self, scope: Scope, cells: str, uniform: str) -> tuple[str, str, bool]:
        """The new code, int64 [N], and number, float32 [N, 1], "" for none; and whether it is in its own unit, or a score."""
        if self.own:
            return "", self.own.emit(scope, cells, cut(scope, uniform, 1, 1), cut(scope, uniform, 0, 1)), True
        code = self.code.emit(scope, cells, cut(scope, uniform, 0, 1)) if self.code else ""
        if code and self.conditional:
            code = or_given(scope, "given", code)
        return code, self.score.emit(scope, cells, cut(scope, uniform, 1, 1)) if self.score else "", False


def fit_retelling(coder: RowCoder, table: Table, seed: int = 0) -> Retelling | None:
    """None without a target, without other columns, and for more states than trees are grown for."""
    if coder.target is None or len(table) < LEAST_ROWS:
        return None
    import lightgbm  # noqa: F401  loading it is not growing

    began = time.monotonic()
    cells, parts = coder.cells(table), coder.encode(table)
    code_part = coder.code_of.index(coder.target) if coder.target in coder.code_of else None
    score_part = coder.score_of.index(coder.target) if coder.target in coder.score_of else None
    if not cells.shape[1] or (code_part is None and score_part is None):
        return None
    own = _own_unit(coder, table, cells, seed + 1)
    if own is not None:
        return Retelling(None, None, False, time.monotonic() - began, own)
    code = score = None
    if code_part is not None:
        size = coder.layout.sizes[code_part]
        if size > MOST_CODES:
            return None
        code = fit_tell(cells, parts.codes[:, code_part], size, growing(len(cells), cells.shape[1], size), seed)
    if score_part is not None:
        known = parts.known[:, score_part]
        if known.sum() < LEAST_ROWS:
            return None
        values = parts.scores[known, score_part].astype(np.float64)
        plan = growing(int(known.sum()), cells.shape[1], 1)
        score = fit_tell(cells[known], values, 0, plan, seed + 1, coder.cell_sizes)
    return Retelling(code, score, coder.layout.target is not None, time.monotonic() - began)


def _own_unit(coder: RowCoder, table: Table, cells: np.ndarray, seed: int) -> OwnUnit | None:
    """None for a target that is no number, may be missing, or is a matter of states as much as of size."""
    assert coder.target is not None
    c = coder.columns[coder.target]
    if c.form == "word" or c.knots is None or c.missing:
        return None
    values = raw_values(table, c).astype(np.float64)
    _, counts = np.unique(values, return_counts=True)
    deviation = float(values.std())
    if not deviation > 0 or counts.max() >= STATE * len(values):
        return None
    mean = float(values.mean())
    tell = fit_tell(
        cells, (values - mean) / deviation, 0, growing(len(cells), cells.shape[1], 1), seed, coder.cell_sizes
    )
    if not len(c.atoms):
        return OwnUnit(tell, mean, deviation)
    m = min(len(values), MOST_RANKS)
    ranked = np.quantile(values, np.linspace(0, 1, m), method="nearest")
    some = cells[:: max(1, len(cells) // MOST_ROWS)]
    error = float(tell.numbers(some, (np.arange(DRAWS) + 0.5) / DRAWS).std(axis=1).mean())
    return OwnUnit(tell, mean, deviation, ranked, REACH * deviation * error)


def growing(n: int, d: int, size: int, seconds: float = SECONDS, start: Growing | None = None) -> Growing:
    """As many rounds as the seconds allow, on one core; fewer ones take larger steps."""
    found = start or Growing()
    folds, rows = n_folds(n), min(n, MOST_ROWS)
    per_tree = 1e-4 + 1.2e-8 * rows * d + found.leaves * (1e-5 + 2e-6 * d)
    most = seconds / (folds * per_tree * (size if size > 2 else 1))
    rounds = int(np.clip(most, 12, found.rounds))
    return replace(found, rounds=rounds, rate=float(min(0.3, found.rate * found.rounds / rounds)))

"""Columns drawn one after the other, each from boosted trees that looked at those before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.errors import TimedOut
from assay.families import Cost, Shape, TrialContext
from assay.generation.columns import Layout, Parts
from assay.generation.parts import DrawnParts, Inputs, Rows, joined, or_given
from assay.generation.retell import growing
from assay.generation.tell import Growing, Tell, fit_tell, n_folds
from assay.space import Choice, Float, Int

USUAL = 0.3  # of the rounds are grown before unseen rows gain nothing
SECONDS = 12.0  # rounds are cut so that all columns together take about so long on one core


@dataclass(frozen=True)
class BoostingConfig:
    """rounds: at most; they end when unseen rows gain nothing.  min_leaf: of the trees of errors.  order: of the columns,
    as in the file, or those of few states before numbers; the last column stays last."""

    rounds: Annotated[int, Int(15, 200, log=True)] = 80
    leaves: Annotated[int, Int(4, 31, log=True)] = 12
    rate: Annotated[float, Float(0.04, 0.3, log=True)] = 0.12
    min_leaf: Annotated[int, Int(8, 80, log=True)] = 20
    order: Annotated[str, Choice("file", "states_first")] = "file"


@dataclass(frozen=True, eq=False)
class Step:
    """column: its place in the matrix of parts, codes first.  seen: places of the parts before."""

    column: int
    seen: tuple[int, ...]
    tell: Tell


@dataclass(frozen=True, eq=False)
class Chain:
    """steps: in the order in which they are drawn."""

    steps: tuple[Step, ...]
    layout: Layout
    noise: int
    uniform: int

    def bits(self, data: Rows) -> float:
        x = _matrix(data.valid)
        total, n_codes = 0.0, len(self.layout.sizes)
        for step in self.steps:
            is_code = step.column < n_codes
            counts = np.ones(len(x), bool) if is_code else data.valid.known[:, step.column - n_codes]
            if counts.any():
                y = x[counts, step.column]
                found = step.tell.density(_seen(x[counts], step.seen), y.astype(np.int64) if is_code else y)
                total += float(np.log(np.maximum(found, 1e-12)).sum()) / len(x)
        return -total / math.log(2) / max(1, len(self.steps))

    def emit(self, inputs: Inputs) -> DrawnParts:
        s, n_codes = inputs.scope, len(self.layout.sizes)
        columns: dict[int, str] = {}  # float32 [N, 1], as later trees see them
        codes: dict[int, str] = {}
        numbers: dict[int, str] = {}
        for i, step in enumerate(self.steps):
            u = inputs.u(i)
            x = joined(s, [columns[j] for j in step.seen]) if step.seen else s.add("Mul", u, s.const(np.float32(0)))
            drawn = step.tell.emit(s, x, u)
            if step.column < n_codes:
                is_target = step.column == self.layout.target
                codes[step.column] = or_given(s, inputs.given, drawn) if is_target else drawn
                columns[step.column] = s.add("Unsqueeze", s.add("Cast", codes[step.column], to=1), s.const([1]))
                continue
            j = step.column - n_codes
            numbers[j] = columns[step.column] = drawn
            gate = self.layout.gates[j]
            if gate is not None:
                counts = s.add("Equal", codes[gate[0]], s.const(np.int64(gate[1])))
                counts = s.add("Unsqueeze", counts, s.const([1]))
                columns[step.column] = s.add("Where", counts, drawn, s.const(np.float32(np.nan)))
        told = joined(s, [numbers[j] for j in range(len(numbers))]) if numbers else ""
        return DrawnParts(tuple(codes[j] for j in range(len(codes))), told)


class SequentialBoosting:
    name: ClassVar[str] = "sequential_boosting"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "rows"
    Config: ClassVar[type] = BoostingConfig
    reference: ClassVar[str] = (
        "after McCarter, Unmasking Trees for Tabular Data, 2024, and Nowok, Raab, Dibben, synthpop, J. Statistical Software "
        "74, 2016: the conditionals are boosted shares of states, and a boosted mean with errors from leaves"
    )

    def recipe(self, config: BoostingConfig) -> Any:
        return None

    def steps(self, config: BoostingConfig) -> int:
        return 1

    def cost(self, config: BoostingConfig, shape: Shape) -> Cost:
        n, d = shape.n_rows, max(1, shape.n_features)
        plan = growing(n, max(1, d // 2), 2, SECONDS / d, Growing(config.rounds, config.leaves, config.rate))
        each = USUAL * n_folds(n) * plan.rounds * (1e-4 + 1.2e-8 * n * d / 2 + config.leaves * (1e-5 + 1e-6 * d))
        return Cost(float(0.2 + d * each), int(n * d * 40 + d * config.rounds * config.leaves * 600 + (32 << 20)))

    def fit(self, config: BoostingConfig, data: Rows, ctx: TrialContext) -> Chain:
        x, n_codes = _matrix(data.train), len(data.layout.sizes)
        order = _order(data.layout, config.order)
        found: list[Step] = []
        for i, column in enumerate(order):
            if ctx.seconds_left() <= 0:
                raise TimedOut(f"trees for {len(found)} of {len(order)} parts were grown in time")
            is_code, seen = column < n_codes, tuple(order[:i])
            size = data.layout.sizes[column] if is_code else 0
            rows = np.arange(len(x)) if is_code else np.flatnonzero(data.train.known[:, column - n_codes])
            wished = Growing(config.rounds, config.leaves, config.rate, config.min_leaf, ctx.threads)
            plan = growing(len(rows), max(1, i), max(1, size), SECONDS / len(order), wished)
            y = x[rows, column]
            tell = fit_tell(_seen(x[rows], seen), y.astype(np.int64) if is_code else y, size, plan, ctx.seed + column)
            found.append(Step(column, seen, tell))
        return Chain(tuple(found), data.layout, 0, len(order))


def _order(layout: Layout, order: str) -> list[int]:
    """Places of the parts in the order they are drawn.  A condition comes first, a target that is none last, and a state
    before the number that counts in it."""
    n_codes = len(layout.sizes)
    places = [*layout.code_at, *layout.score_at]

    def key(column: int) -> tuple[int, int, int]:
        if column == layout.target:
            return -1, 0, 0
        is_number = int(column >= n_codes)
        states_first = 1 if places[column] == max(places) else is_number if order == "states_first" else 0
        return states_first, places[column], is_number

    return sorted(range(len(places)), key=key)


def _matrix(rows: Parts) -> np.ndarray:
    """Codes and scores side by side, float32 (n, p + q), NaN for a score that does not count."""
    return np.concatenate([rows.codes, np.where(rows.known, rows.scores, np.nan)], 1).astype(np.float32)


def _seen(x: np.ndarray, columns: tuple[int, ...]) -> np.ndarray:
    return x[:, list(columns)] if columns else np.zeros((len(x), 1), np.float32)


family = SequentialBoosting()

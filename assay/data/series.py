"""Series on their way into training: gaps closed, one scale, and values on a grid, the same by NumPy and as nodes.

A prepared series is float32 (channels, length).  Every value is a multiple of GRID and at most REACH, so that sums of
2 ** 24 * GRID / REACH of them (256: a kernel of MiniRocket over differences of nine channels weighs 216) are exact in
float32 in whatever order they are added: what counts "how often is this sum above that
threshold" answers the same in training and in serving.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assay.data.table import Table
from assay.model.graph import Graph, Scope

if TYPE_CHECKING:
    from assay.families import Target

GRID = 2.0**-12  # of a deviation
REACH = 16.0  # deviations from the mean beyond which a value is cut
FAR = np.float32(1e30)  # raw values beyond it are no measurements
LEAST_DEVIATION = 1e-6  # of a series, in the unit of the training rows, below which it is flat


@dataclass(frozen=True)
class SeriesRecipe:
    """How a family wants series.

    scale: "rows" measures every value in deviations of all training series; "series" gives each series (and channel) mean
    0 and deviation 1 of its own, so that only its form counts.  length: shorter series keep their last value to the
    end ("hold") or are stretched to the common length ("stretch").  flat: one row of numbers per series, channel after
    channel, instead of (channels, length).
    """

    scale: str = "rows"
    length: str = "hold"
    flat: bool = False

    def fit(
        self, table: Table, y: np.ndarray, target: Target, seed: int, weight: np.ndarray | None = None
    ) -> tuple[SeriesPreparation, np.ndarray]:
        """Mean and deviation of every channel over the training rows.  The target is not looked at."""
        raw = stacked(table)
        raw = np.where(np.abs(raw) <= FAR, raw, np.nan).astype(np.float64)  # NaN stays NaN
        with np.errstate(all="ignore"):
            known = ~np.isnan(raw)
            count = np.maximum(known.sum((0, 2)), 1)
            mean = np.where(known, raw, 0).sum((0, 2)) / count
            deviation = np.sqrt((np.where(known, raw - mean[:, None], 0) ** 2).sum((0, 2)) / count)
        factor = 1.0 / np.where(deviation > 1e-30, deviation, 1.0)
        preparation = SeriesPreparation(
            table.names, raw.shape[1], raw.shape[2], mean.astype(np.float32), factor.astype(np.float32), self
        )
        return preparation, preparation.transform(table)


@dataclass(frozen=True, eq=False)
class SeriesPreparation:
    """columns: the steps of one channel (numbers, one a row), or channels (a series each).  mean, factor: float32 (C,)."""

    columns: tuple[str, ...]
    n_channels: int
    n_steps: int
    mean: np.ndarray
    factor: np.ndarray
    recipe: SeriesRecipe

    @property
    def groups(self) -> np.ndarray | None:
        return None

    def transform(self, table: Table) -> np.ndarray:
        """float32 (n, C, L), or (n, C * L) where the recipe wants it flat."""
        x = stacked(table.select(self.columns))
        x = (np.where(np.abs(x) <= FAR, x, np.nan) - self.mean[:, None]) * self.factor[:, None]
        known = ~np.isnan(x)
        x = _closed(np.where(known, x, np.float32(0)), known)
        if self.recipe.length == "stretch":
            x = _stretched(x, known)
        if self.recipe.scale == "series":
            wide = x.astype(np.float64)
            wide = wide - wide.mean(2, keepdims=True)
            deviation = np.sqrt((wide * wide).mean(2, keepdims=True))
            x = (wide / np.where(deviation > LEAST_DEVIATION, deviation, 1.0)).astype(np.float32)
        x = np.round(np.clip(x, np.float32(-REACH), np.float32(REACH)) * np.float32(1 / GRID)) * np.float32(GRID)
        return np.ascontiguousarray(x.reshape(len(x), -1) if self.recipe.flat else x)

    def to_onnx(self, inputs: Mapping[str, str]) -> Graph:
        """inputs: float32 [N, 1] of every step, or [N, L] of every channel -> float32 [N, C, L] (or flat)."""
        scope = Scope()
        parts = [inputs[c] for c in self.columns]
        joined = parts[0] if len(parts) == 1 else scope.add("Concat", *parts, axis=1)
        x = scope.add("Reshape", joined, scope.const(np.array([-1, self.n_channels, self.n_steps], np.int64)))
        near = scope.add("LessOrEqual", scope.add("Abs", x), scope.const(FAR))  # false for NaN
        x = scope.add("Sub", x, scope.const(self.mean[:, None]))
        x = scope.add("Mul", x, scope.const(self.factor[:, None]))
        known = scope.add("And", near, scope.add("Not", scope.add("IsNaN", x)))
        x = _add_closed(scope, scope.add("Where", known, x, scope.const(np.float32(0))), known, self.n_steps)
        if self.recipe.length == "stretch":
            x = _add_stretched(scope, x, known, self.n_steps)
        if self.recipe.scale == "series":
            x = _add_scaled(scope, x)
        x = scope.add("Clip", x, scope.const(np.float32(-REACH)), scope.const(np.float32(REACH)))
        x = scope.add("Round", scope.add("Mul", x, scope.const(np.float32(1 / GRID))))
        x = scope.add("Mul", x, scope.const(np.float32(GRID)))
        return scope.graph(scope.add("Flatten", x, axis=1) if self.recipe.flat else x)


def stacked(table: Table) -> np.ndarray:
    """The columns as series, float32 (n, C, L): one column a step, or one column of (n, L) a channel."""
    columns = [np.asarray(table.columns[name]) for name in table.names]
    with np.errstate(over="ignore"):
        if columns[0].ndim == 2:
            return np.stack(columns, axis=1).astype(np.float32)
        return np.stack(columns, axis=1).astype(np.float32)[:, None, :]


def _closed(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Gaps on the straight line between their neighbours; ends keep the nearest value; a series of gaps is 0.  (n, C, L)"""
    n_steps = x.shape[2]
    step = np.arange(n_steps, dtype=np.int64)
    last = np.maximum.accumulate(np.where(known, step, -1), axis=2)
    following = np.flip(np.minimum.accumulate(np.flip(np.where(known, step, n_steps), 2), axis=2), 2)
    left, right = np.where(last < 0, following, last), np.where(following >= n_steps, last, following)
    left, right = np.clip(left, 0, n_steps - 1), np.clip(right, 0, n_steps - 1)
    a, b = np.take_along_axis(x, left, 2), np.take_along_axis(x, right, 2)
    share = (step - left).astype(np.float32) / np.maximum(right - left, 1).astype(np.float32)
    return np.asarray(a + (b - a) * np.clip(share, np.float32(0), np.float32(1)))


def _add_closed(scope: Scope, x: str, known: str, n_steps: int) -> str:
    """`_closed` as nodes; running maxima by doubling the reach, log2(L) times."""
    step = scope.const(np.arange(n_steps, dtype=np.int64))
    zero, top, one = (scope.const(np.int64(v)) for v in (0, n_steps - 1, 1))
    last = _add_running(scope, scope.add("Where", known, step, scope.const(np.int64(-1))), n_steps, -1, "Max")
    past = scope.const(np.int64(n_steps))
    following = _add_running(scope, scope.add("Where", known, step, past), n_steps, n_steps, "Min")
    left = scope.add("Where", scope.add("Less", last, zero), following, last)
    right = scope.add("Where", scope.add("GreaterOrEqual", following, past), last, following)
    left, right = (scope.add("Min", scope.add("Max", v, zero), top) for v in (left, right))
    a, b = (scope.add("GatherElements", x, v, axis=2) for v in (left, right))
    width = scope.add("Cast", scope.add("Max", scope.add("Sub", right, left), one), to=1)
    share = scope.add("Div", scope.add("Cast", scope.add("Sub", step, left), to=1), width)
    share = scope.add("Clip", share, scope.const(np.float32(0)), scope.const(np.float32(1)))
    return scope.add("Add", a, scope.add("Mul", scope.add("Sub", b, a), share))


def _add_running(scope: Scope, value: str, n_steps: int, edge: int, op: str) -> str:
    """The running maximum from the left ("Max") or minimum from the right ("Min") of int64 [N, C, L]."""
    two, fill = scope.const(np.array([2], np.int64)), scope.const(np.int64(edge))
    reach = 1
    while reach < n_steps:
        ends, pads = ((0, n_steps - reach), [reach, 0]) if op == "Max" else ((reach, n_steps), [0, reach])
        cut = scope.add("Slice", value, *(scope.const(np.array([v], np.int64)) for v in ends), two)
        moved = scope.add("Pad", cut, scope.const(np.array(pads, np.int64)), fill, two)
        value = scope.add(op, value, moved)
        reach *= 2
    return value


def _stretched(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Every series, up to its last known step in any channel, on the whole length.  (n, C, L)"""
    n_steps = x.shape[2]
    step = np.arange(n_steps, dtype=np.int64)
    end = np.maximum(np.where(known, step, 0).max((1, 2)), 1).astype(np.float32)[:, None, None]
    at = step.astype(np.float32) * end / np.float32(max(1, n_steps - 1))
    low = np.floor(at)
    left = np.broadcast_to(low.astype(np.int64), x.shape)
    a, b = np.take_along_axis(x, left, 2), np.take_along_axis(x, np.minimum(left + 1, n_steps - 1), 2)
    return np.asarray(a + (b - a) * (at - low))


def _add_stretched(scope: Scope, x: str, known: str, n_steps: int) -> str:
    step = np.arange(n_steps, dtype=np.int64)
    at = scope.add("Where", known, scope.const(step), scope.const(np.int64(0)))
    end = scope.add("ReduceMax", at, scope.const(np.array([1, 2], np.int64)), keepdims=1)
    end = scope.add("Cast", scope.add("Max", end, scope.const(np.int64(1))), to=1)
    place = scope.add("Mul", scope.const(step.astype(np.float32)), end)
    place = scope.add("Div", place, scope.const(np.float32(max(1, n_steps - 1))))
    low = scope.add("Floor", place)
    left = scope.add("Expand", scope.add("Cast", low, to=7), scope.add("Shape", x))
    right = scope.add("Min", scope.add("Add", left, scope.const(np.int64(1))), scope.const(np.int64(n_steps - 1)))
    a, b = (scope.add("GatherElements", x, v, axis=2) for v in (left, right))
    return scope.add("Add", a, scope.add("Mul", scope.add("Sub", b, a), scope.add("Sub", place, low)))


def _add_scaled(scope: Scope, x: str) -> str:
    """Mean 0 and deviation 1 for each series and channel, reckoned in float64."""
    axis, wide = scope.const(np.array([2], np.int64)), scope.add("Cast", x, to=11)
    wide = scope.add("Sub", wide, scope.add("ReduceMean", wide, axis, keepdims=1))
    deviation = scope.add("Sqrt", scope.add("ReduceMean", scope.add("Mul", wide, wide), axis, keepdims=1))
    bent = scope.add("Greater", deviation, scope.const(np.array(LEAST_DEVIATION), np.float64))
    divisor = scope.add("Where", bent, deviation, scope.const(np.array(1.0), np.float64))
    return scope.add("Cast", scope.add("Div", wide, divisor), to=1)

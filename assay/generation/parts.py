"""What a family of generators gets, and what it gives: a graph from random numbers to parts of rows, or to pictures.

Nothing samples but the graph: a trial is judged on what its graph draws, and the same graph is delivered.  Randomness is
an input, so the same numbers give the same samples in every runtime.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from assay.families import Cost, Shape, TrialContext
from assay.generation.columns import Layout, Parts
from assay.model.graph import Scope


@dataclass(frozen=True, eq=False)
class Rows:
    """Encoded rows to learn, and held-out ones for stopping and likelihoods."""

    layout: Layout
    train: Parts
    valid: Parts


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures to learn.  x, x_valid: uint8 (n, S, S, C), C = 1 (grey) or 3.  y, y_valid: int64 (n,) codes of the
    condition, all 0 when there is none.  n_labels: 1 when there is none."""

    x: np.ndarray
    y: np.ndarray
    x_valid: np.ndarray
    y_valid: np.ndarray
    n_labels: int

    @property
    def size(self) -> int:
        return int(self.x.shape[1])

    @property
    def channels(self) -> int:
        return int(self.x.shape[3])


@dataclass(frozen=True, eq=False)
class Inputs:
    """The random inputs of a graph that is being written.  noise: float32 [N, z], standard normal; uniform: float32
    [N, u] in [0, 1), of which the first `start` are others'; given: int64 [N], the code of the condition or -1."""

    scope: Scope
    noise: str
    uniform: str
    given: str
    start: int = 0

    def u(self, first: int, count: int = 1) -> str:
        """Columns of the uniform numbers, [N, count]."""
        return cut(self.scope, self.uniform, self.start + first, count)

    def u_at(self, first: int, at: str) -> str:
        """Column first + at of the uniform numbers, [N, 1].  at: int64 [1].  A loop copies no other column."""
        place = self.scope.add("Add", at, self.scope.const(np.array([self.start + first], np.int64)))
        return self.scope.add("Gather", self.uniform, place, axis=1)

    def z(self, first: int, count: int) -> str:
        """Columns of the noise, [N, count]."""
        return cut(self.scope, self.noise, first, count)


@dataclass(frozen=True)
class DrawnParts:
    """Values of the graph.  codes: int64 [N] for each code part; numbers: float32 [N, q] or "" for none, which are
    scores, or values in their own unit when raw."""

    codes: tuple[str, ...]
    numbers: str
    raw: bool = False


@dataclass(frozen=True)
class Raster:
    """Values of one step of the declared loop: `next`, the picture with one more value; `picture`, uint8 of it, of which
    only the last step has rows (`at_last`)."""

    next: str
    picture: str


def at_last(s: Scope, rows: str, at: str, steps: int) -> str:
    """All rows at the last step of a loop, none before: what follows costs nothing until it is wanted.  at: int64 [1]."""
    is_last = s.add("Cast", s.add("Equal", at, s.const([steps - 1])), to=7)
    return s.add("Slice", rows, s.const([0]), s.add("Mul", is_last, s.const([2**31 - 1])), s.const([0]))


class Generator(Protocol):
    """A fitted generator.  noise, uniform: how many random numbers one sample takes."""

    noise: int
    uniform: int

    def bits(self, data: Any) -> float:
        """Bits per dimension of the held-out part; NaN where the model has no likelihood."""
        ...


class RowGenerator(Generator, Protocol):
    def emit(self, inputs: Inputs) -> DrawnParts: ...


class PictureGenerator(Generator, Protocol):
    def emit(self, inputs: Inputs) -> str:
        """float32 [N, S, S, C] in 0..255."""
        ...


class RasterGenerator(Generator, Protocol):
    """Draws value by value.  shape: (S', S', C) of what is drawn so, the whole picture or one that the last step makes it of;
    steps: S' * S' * C."""

    shape: tuple[int, int, int]
    steps: int

    def emit_step(self, inputs: Inputs, image: str, at: str) -> Raster:
        """image: int64 [N, S', S', C] codes so far; at: int64 [1], which value is drawn, in raster order, channels last."""
        ...


class GeneratorFamily(Protocol):
    """A family for `generation`.  data: "rows" (fit gets `Rows`) or "images" (`Pictures`)."""

    name: ClassVar[str]
    tasks: ClassVar[frozenset[str]]
    lane: ClassVar[str]
    data: ClassVar[str]
    Config: ClassVar[type]
    reference: ClassVar[str]

    def recipe(self, config: Any) -> Any: ...

    def steps(self, config: Any) -> int: ...

    def cost(self, config: Any, shape: Shape) -> Cost: ...

    def fit(self, config: Any, data: Any, ctx: TrialContext) -> Any:
        """A RowGenerator, PictureGenerator or RasterGenerator.  Raises TrialError; Diverged also when it collapses."""
        ...


# -- pieces of graphs -------------------------------------------------------------------------------------------------


def cut(scope: Scope, matrix: str, first: int, count: int) -> str:
    """Columns first .. first + count - 1 of [N, p]."""
    return scope.add("Slice", matrix, scope.const([first]), scope.const([first + count]), scope.const([1]))


def pick(scope: Scope, cumulated: str, u: str) -> str:
    """A code for every row: how many of the cumulated shares [N or 1, k - 1] (the last left out) are not above u [N, 1]."""
    reached = scope.add("Cast", scope.add("GreaterOrEqual", u, cumulated), to=7)
    return scope.add("ReduceSum", reached, scope.const([1]), keepdims=0)


def place(scope: Scope, u: str, among: str) -> str:
    """int64, a whole number below `among` (float32) for every u in [0, 1); both of one shape, or broadcast."""
    whole = scope.add("Floor", scope.add("Mul", u, among))
    return scope.add("Cast", scope.add("Min", whole, scope.add("Sub", among, scope.const(np.float32(1)))), to=7)


def one_of(scope: Scope, values: str, u: str, k: int) -> str:
    """One of the k columns of every row, [N, 1], by u [N, 1]."""
    return scope.add("GatherElements", values, place(scope, u, scope.const(np.float32(k))), axis=1)


def pick_logits(scope: Scope, logits: str, u: str) -> str:
    """A code for every row, drawn from softmax(logits [N, k]) with u [N, 1].  k > 1."""
    share = scope.add("Softmax", logits, axis=1)
    sums = scope.add("CumSum", share, scope.const(np.int64(1)))
    return pick(scope, scope.add("Slice", sums, scope.const([0]), scope.const([-1]), scope.const([1])), u)


def or_given(scope: Scope, given: str, drawn: str) -> str:
    """The code that was asked for, or the one that was drawn."""
    is_free = scope.add("Less", given, scope.const(np.int64(0)))
    return scope.add("Where", is_free, drawn, given)


def one_hot(scope: Scope, code: str, k: int) -> str:
    """int64 [N] -> float32 [N, k]."""
    column = scope.add("Unsqueeze", code, scope.const([1]))
    return scope.add("Cast", scope.add("Equal", column, scope.const(np.arange(k, dtype=np.int64)[None])), to=1)


def joined(scope: Scope, values: Sequence[str], axis: int = 1) -> str:
    return values[0] if len(values) == 1 else scope.add("Concat", *values, axis=axis)

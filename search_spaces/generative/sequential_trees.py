"""Columns drawn one after the other, each from the leaf of a tree that looked at those before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.errors import TimedOut
from assay.families import Cost, Shape, TrialContext
from assay.generation.columns import Parts
from assay.generation.parts import DrawnParts, Inputs, Rows, joined, one_of, or_given, pick
from assay.generation.tell import emit_quantile, leaf_density, leaf_quantiles
from assay.model.trees import Forest, Tree, add_forest
from assay.space import Choice, Int

UNKNOWN = -6.0  # what a tree sees of a score that does not count
FLOOR = 0.05  # share of a broad normal density mixed into the likelihood of a score: leaves are bounded
BROAD = 2.0  # its deviation


@dataclass(frozen=True)
class SequentialConfig:
    """trees: of every part; each draw asks one of them.  order: which scores are drawn first."""

    min_leaf: Annotated[int, Int(3, 100, log=True)] = 10
    max_leaves: Annotated[int, Int(8, 1000, log=True)] = 300
    trees: Annotated[int, Choice(1, 2, 4)] = 2
    order: Annotated[str, Choice("file", "spread")] = "file"


@dataclass(frozen=True, eq=False)
class Part:
    """column: its place in the matrix trees see.  seen: places of the parts before.  tables: for each tree the leaves'
    cumulated shares (leaves, k), or their quantiles (leaves, SHARES).  leaf_of: for each tree, leaf by node."""

    is_code: bool
    column: int
    seen: tuple[int, ...]
    trees: tuple[Tree, ...]
    tables: tuple[np.ndarray, ...]
    grown: tuple[Any, ...]
    leaf_of: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class DrawnTrees:
    """parts: in the order in which they are drawn; n_codes: the first places of the matrix are codes."""

    parts: tuple[Part, ...]
    n_codes: int
    gates: tuple[tuple[int, int] | None, ...]
    target: int | None
    noise: int
    uniform: int

    def bits(self, data: Rows) -> float:
        x = _matrix(data.valid)
        total = 0.0
        for part in self.parts:
            counts = np.ones(len(x), bool) if part.is_code else data.valid.known[:, part.column - self.n_codes]
            if counts.any():
                total += float(np.log(_density(part, x[counts])).sum()) / len(x)
        return -total / math.log(2) / max(1, len(self.parts))

    def emit(self, inputs: Inputs) -> DrawnParts:
        s = inputs.scope
        columns: dict[int, str] = {}  # float32 [N, 1], as later trees see them
        codes: dict[int, str] = {}
        numbers: dict[int, str] = {}
        for i, part in enumerate(self.parts):
            x = joined(s, [columns[j] for j in part.seen]) if part.seen else inputs.u(0)
            leaf, table = _leaf(inputs, part, x, inputs.u(2 * i))
            rows = s.add("Gather", s.const(table.astype(np.float32)), leaf)
            u = inputs.u(2 * i + 1)
            if part.is_code:
                code = pick(s, s.add("Slice", rows, s.const([0]), s.const([-1]), s.const([1])), u)
                codes[part.column] = or_given(s, inputs.given, code) if part.column == self.target else code
                columns[part.column] = s.add("Unsqueeze", s.add("Cast", codes[part.column], to=1), s.const([1]))
                continue
            score = emit_quantile(s, rows, u)
            j = part.column - self.n_codes
            numbers[j] = columns[part.column] = score
            gate = self.gates[j]
            if gate is not None:
                counts = s.add("Equal", codes[gate[0]], s.const(np.int64(gate[1])))
                counts = s.add("Unsqueeze", counts, s.const([1]))
                columns[part.column] = s.add("Where", counts, score, s.const(np.float32(UNKNOWN)))
        told = joined(s, [numbers[j] for j in range(len(numbers))]) if numbers else ""
        return DrawnParts(tuple(codes[j] for j in range(len(codes))), told)


class SequentialTrees:
    name: ClassVar[str] = "sequential_trees"
    tasks: ClassVar[frozenset[str]] = frozenset({"generation"})
    lane: ClassVar[str] = "cpu"
    data: ClassVar[str] = "rows"
    Config: ClassVar[type] = SequentialConfig
    reference: ClassVar[str] = (
        "Reiter, Using CART to generate partially synthetic, public use microdata, J. Official Statistics 21, 2005; "
        "Nowok, Raab, Dibben, synthpop, J. Statistical Software 74, 2016.  Draws are interpolated between the quantiles "
        "of a leaf, not taken from its rows"
    )

    def recipe(self, config: SequentialConfig) -> Any:
        return None

    def steps(self, config: SequentialConfig) -> int:
        return 1

    def cost(self, config: SequentialConfig, shape: Shape) -> Cost:
        n, d = shape.n_rows, shape.n_features
        seconds = 0.05 + config.trees * d * (3e-8 * n * np.log2(n + 2) * max(1.0, d / 2) + 2e-3)
        return Cost(float(seconds), int(n * d * 24 + config.trees * d * config.max_leaves * 400 + (1 << 20)))

    def fit(self, config: SequentialConfig, data: Rows, ctx: TrialContext) -> DrawnTrees:
        train, layout = data.train, data.layout
        p, q = len(layout.sizes), len(layout.gates)
        x = _matrix(train)
        scores = list(range(p, p + q))
        if config.order == "spread":  # what many columns depend on most comes first
            related = np.abs(np.nan_to_num(np.corrcoef(x.T))) if p + q > 1 else np.zeros((1, 1))
            scores.sort(key=lambda j: -related[j].sum())
        parts: list[Part] = []
        seen: tuple[int, ...] = ()
        for column in [*range(p), *scores]:
            if ctx.seconds_left() <= 0:
                raise TimedOut(f"trees for {len(parts)} of {p + q} parts were grown in time")
            size = layout.sizes[column] if column < p else 0
            rows = np.arange(len(x)) if column < p else np.flatnonzero(train.known[:, column - p])
            parts.append(_grow(config, x[rows], column, seen, size, ctx.seed + column))
            seen = (*seen, column)
        return DrawnTrees(tuple(parts), p, layout.gates, layout.target, 0, 2 * len(parts))


def _matrix(rows: Parts) -> np.ndarray:
    """Codes and scores side by side, float32 (n, p + q)."""
    return np.concatenate([rows.codes, np.where(rows.known, rows.scores, UNKNOWN)], 1).astype(np.float32)


def _grow(config: SequentialConfig, x: np.ndarray, column: int, seen: tuple[int, ...], size: int, seed: int) -> Part:
    """Trees on bootstrap rows (on all rows if there is one tree); leaves are filled from all rows."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    y = x[:, column].astype(np.int64) if size else x[:, column]
    before = x[:, list(seen)] if seen else np.zeros((len(x), 1), np.float32)
    kind = DecisionTreeClassifier if size else DecisionTreeRegressor
    trees, tables, grown, leaf_of = [], [], [], []
    for t in range(config.trees):
        rng = np.random.default_rng([seed, t])
        rows = rng.integers(0, len(x), len(x)) if config.trees > 1 else np.arange(len(x))
        model = kind(
            min_samples_leaf=min(config.min_leaf, max(1, len(x) // 4)),
            max_leaf_nodes=config.max_leaves,
            random_state=seed + t,
        )
        model.fit(before[rows], y[rows])
        tree = model.tree_
        leaves = np.flatnonzero(tree.children_left < 0)
        place = np.zeros(tree.node_count, np.int64)
        place[leaves] = np.arange(len(leaves))
        at = place[model.apply(before)]
        tables.append(_shares(at, y, len(leaves), size) if size else leaf_quantiles(at, y, len(leaves)))
        value = place.astype(np.float64)[:, None]
        nowhere = np.zeros(tree.node_count, bool)
        trees.append(Tree(tree.feature, tree.threshold, tree.children_left, tree.children_right, nowhere, value, t))
        grown.append(model)
        leaf_of.append(place)
    return Part(bool(size), column, seen, tuple(trees), tuple(tables), tuple(grown), tuple(leaf_of))


def _shares(at: np.ndarray, y: np.ndarray, n_leaves: int, size: int) -> np.ndarray:
    counts = np.bincount(at * size + y, minlength=n_leaves * size).reshape(n_leaves, size).astype(np.float64)
    overall = counts.sum(0) / counts.sum()
    empty = counts.sum(1) == 0  # a leaf that bootstrap rows alone reached
    counts[empty] = overall
    return np.asarray(np.cumsum(counts / counts.sum(1, keepdims=True), 1))


def _leaf(inputs: Inputs, part: Part, x: str, u: str) -> tuple[str, np.ndarray]:
    """int64 [N], the leaf of a tree drawn by u, among the leaves of all trees; and their tables under each other."""
    s, n = inputs.scope, len(part.trees)
    sizes = [len(t) for t in part.tables]
    leaves = s.add("Cast", add_forest(s, Forest(part.trees, np.zeros(n)), x), to=7)  # (N, trees)
    leaves = s.add("Add", leaves, s.const(np.cumsum([0, *sizes[:-1]])[None].astype(np.int64)))
    return s.add("Squeeze", one_of(s, leaves, u, n), s.const([1])), np.concatenate(part.tables)


def _density(part: Part, x: np.ndarray) -> np.ndarray:
    """Probability or density of every row's value, mean over the trees."""
    before = x[:, list(part.seen)] if part.seen else np.zeros((len(x), 1), np.float32)
    found = np.zeros(len(x))
    for model, table, place in zip(part.grown, part.tables, part.leaf_of, strict=True):
        rows = table[place[model.apply(before)]]
        if part.is_code:
            share = np.diff(rows, axis=1, prepend=0.0)
            code = x[:, part.column].astype(np.int64)[:, None]
            found += 0.99 * np.take_along_axis(share, code, 1)[:, 0] + 0.01 / table.shape[1]
            continue
        y = x[:, part.column].astype(np.float64)
        found += (1 - FLOOR) * leaf_density(rows, y)
        found += FLOOR * np.exp(-0.5 * (y / BROAD) ** 2) / (BROAD * np.sqrt(2 * np.pi))
    return found / len(part.grown)


family = SequentialTrees()

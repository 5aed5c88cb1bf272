"""What a cell is, given other cells of its row: boosted trees, and a draw around what they say.

The trees of a few folds are grown side by side and stop together when the rows they have not seen gain nothing more, so
that their shares and errors are those of new rows.  A code is drawn from the mean of the folds' shares.  A number is what
the folds say on the mean (of few rows: trees, a straight line, and trees on what the line leaves over, weighed by what
they say of unseen rows), and an error drawn from a leaf of one more tree: it looked at the same cells and at what was
said, and splits where values or the sizes of the errors differ.  What the errors of a leaf have in common moves the draws
only as far as it is more than chance.  Draws are interpolated between the quantiles of a leaf and are never those of one
row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from assay.generation.parts import pick
from assay.generation.process import Process, emit_standard, fit_process, standard
from assay.model.correct import softmax
from assay.model.graph import Scope
from assay.model.lightgbm import parse
from assay.model.trees import Forest, Tree, add_forest

TAIL = (0.0, 0.002, 0.005, 0.01, 0.02, 0.035, 0.055, 0.08)
SHARES = np.array([*TAIL, *np.linspace(0.12, 0.88, 20), *(1 - np.array(TAIL[::-1]))])  # of the quantiles kept of a leaf
STEPS = np.diff(SHARES)
MOST_CODES = 30  # more are drawn from the leaves of one tree
PATIENCE = 8  # rounds without a gain on unseen rows
FOLDS = ((1000, 6), (3000, 4), (8000, 3))  # so many up to so many rows, beyond them two: few rows need all they can get
MOST_ROWS = 20_000
FLOOR = 0.02  # share of a broad density in the likelihood of a number: leaves are bounded
BROAD = 2.0  # its deviation
UNKNOWN = np.float32(-3e38)  # what the tree of errors sees of a missing cell
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
LINED_ROWS = 4000  # more rows do without a line
SMOOTH_ROWS = 1000  # more rows do without a smooth function
STACK_ROUNDS = 300  # of the search for the weights of what is said
LEVEL_ROUNDS = 30  # of the search for how frequent codes stay
SHARPNESS = np.geomspace(0.4, 1.6, 25)  # factors of the logits that are tried


@dataclass(frozen=True)
class Growing:
    """How trees are grown.  rounds: at most; min_leaf: of the tree of errors."""

    rounds: int = 80
    leaves: int = 15
    rate: float = 0.12
    min_leaf: int = 20
    threads: int = 1


@dataclass(frozen=True, eq=False)
class Line:
    """A linear function of standardised cells, cut off far from the data; missing cells count as the mean.  All (d,)."""

    mean: np.ndarray
    deviation: np.ndarray
    slope: np.ndarray
    level: float

    def times(self, factor: float) -> Line:
        return replace(self, slope=self.slope * factor, level=self.level * factor)

    def at(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(standard(x, self.mean, self.deviation) @ self.slope + self.level)

    def emit(self, scope: Scope, x: str) -> str:
        """Float32 [N, 1]."""
        z = emit_standard(scope, x, self.mean, self.deviation)
        slope = scope.const(self.slope[:, None].astype(np.float32))
        return scope.add("Gemm", z, slope, scope.const(np.array([self.level], np.float32)))


@dataclass(frozen=True, eq=False)
class Tell:
    """size: codes of the part, 0 for a number.  forests: over the cells; of a code, the folds' logits (1 for two codes); of
    a number, terms of what is said.  sharpness: factor of the logits.  tree, table: of the errors, (leaves, SHARES), over
    the cells and what was said.  line, process: two more terms.  boosters: behind the forests.  held: the folds' logits of the rows
    they have not seen, (n, 1 or size).  level: added to logits that were made sharper, (size,)."""

    size: int
    forests: tuple[Forest, ...]
    sharpness: float = 1.0
    tree: Tree | None = None
    table: np.ndarray | None = None
    boosters: tuple[Any, ...] = ()
    grown: Any = None
    place: np.ndarray | None = None
    line: Line | None = None
    process: Process | None = None
    held: np.ndarray | None = None
    level: np.ndarray | None = None

    def shares(self, x: np.ndarray) -> np.ndarray:
        """(n, size) of codes."""
        if self.table is not None and self.place is not None:
            return np.asarray(self.table[self.place[self.grown.apply(_known(x))]])
        return np.asarray(
            np.mean([_shares(b.predict(x, raw_score=True), self.sharpness, self.level) for b in self.boosters], axis=0)
        )

    def said(self, x: np.ndarray) -> np.ndarray:
        """What a number is on the mean, (n,)."""
        total = np.zeros(len(x))
        for booster in self.boosters:
            total = total + booster.predict(x)
        for term in (self.line, self.process):
            total = total + term.at(x) if term else total
        return total

    def numbers(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """What a number is drawn as for each of the uniform numbers u (m,), (n, m)."""
        said = self.said(x)
        assert self.table is not None and self.place is not None
        rows = self.table[self.place[self.grown.apply(_beside(x, said))]]
        at = np.clip(np.searchsorted(SHARES, u, side="right") - 1, 0, len(STEPS) - 1)
        inside = (u - SHARES[at]) / STEPS[at]
        return np.asarray(said[:, None] + rows[:, at] + inside * (rows[:, at + 1] - rows[:, at]))

    def density(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Probability of the codes, or density of the numbers, (n,)."""
        if self.size:
            return np.asarray(0.99 * self.shares(x)[np.arange(len(y)), y] + 0.01 / self.size)
        said = self.said(x)
        assert self.table is not None and self.place is not None
        rows = self.table[self.place[self.grown.apply(_beside(x, said))]]
        broad = np.exp(-0.5 * (y / BROAD) ** 2) / (BROAD * math.sqrt(2 * math.pi))
        return np.asarray((1 - FLOOR) * leaf_density(rows, y - said) + FLOOR * broad)

    def calmed(self, calm: float) -> Tell:
        """Errors made smaller, or logits larger, by this factor than those of unseen rows; 1 is not at all.  Codes stay as
        frequent as they are."""
        if self.size:
            sharpness = self.sharpness / calm
            if self.held is None:
                return replace(self, sharpness=sharpness)
            frequent = _shares(self.held, self.sharpness).mean(0)
            return replace(self, sharpness=sharpness, level=_level(self.held, sharpness, frequent))
        return self if self.table is None else replace(self, table=calm * self.table)

    def emit(self, scope: Scope, x: str, u: str) -> str:
        """x: float32 [N, d] cells, NaN where missing; u: uniform [N, 1].  int64 [N] codes, or float32 [N, 1] numbers."""
        if self.size and self.tree is not None and self.table is not None:
            return pick(scope, _emit_leaf(scope, self.tree, np.cumsum(self.table, 1)[:, :-1], _emit_known(scope, x)), u)
        said = [add_forest(scope, forest, x) for forest in self.forests]
        if self.size:
            each = [_emit_shares(scope, logits, self) for logits in said]
            share = each[0] if len(each) == 1 else scope.add("Mean", *each)
            sums = scope.add("CumSum", share, scope.const(np.int64(1)))
            return pick(scope, scope.add("Slice", sums, scope.const([0]), scope.const([-1]), scope.const([1])), u)
        said += [term.emit(scope, x) for term in (self.line, self.process) if term]
        mean = said[0] if len(said) == 1 else scope.add("Sum", *said)
        assert self.tree is not None and self.table is not None
        beside = scope.add("Concat", _emit_known(scope, x), mean, axis=1)
        rows = _emit_leaf(scope, self.tree, self.table, beside)
        return scope.add("Add", mean, emit_quantile(scope, rows, u))


def fit_tell(
    x: np.ndarray, y: np.ndarray, size: int, growing: Growing, seed: int, sizes: Sequence[int] | None = None
) -> Tell:
    """x: float32 (n, d), NaN is missing; y: int64 codes below `size`, or (size 0) float numbers of deviation about 1.

    sizes: how many codes each of the d columns has, 0 for numbers; with it a smooth function is a term of a number, too.
    """
    rng = np.random.default_rng(seed)
    if not x.shape[1]:
        x = np.zeros((len(x), 1), np.float32)
    if size > MOST_CODES:
        return _one_tree(x, y, size, growing, seed)
    if len(x) > MOST_ROWS:
        rows = np.sort(rng.choice(len(x), MOST_ROWS, replace=False))
        x, y = x[rows], y[rows]
    k = n_folds(len(x))
    fold = rng.permutation(len(x)) % k
    if size:
        fold = _spread(y, fold, rng, k)
    if not size:
        return _number(x, y, fold, growing, seed, sizes)
    boosters, best, _ = _grow(x, y, size, fold, growing, seed)
    outputs = size if size > 2 else 1
    forests = tuple(parse(b.model_to_string(num_iteration=best), outputs) for b in boosters)
    held = _held(x, fold, boosters, best, outputs)
    losses = [-np.log(np.maximum(_shares(held, s)[np.arange(len(y)), y], 1e-9)).mean() for s in SHARPNESS]
    sharpness = float(SHARPNESS[int(np.argmin(losses))])
    return Tell(size, forests, sharpness, boosters=tuple(_Cut(b, best) for b in boosters), held=held)


def _number(
    x: np.ndarray, y: np.ndarray, fold: np.ndarray, growing: Growing, seed: int, sizes: Sequence[int] | None
) -> Tell:
    """Terms weighed by what they say of unseen rows, and errors around them."""
    boosters, best, _ = _grow(x, y, 0, fold, growing, seed)
    grown, said = [(boosters, best)], [_held(x, fold, boosters, best, 1)[:, 0]]
    line = process = None
    bases: list[np.ndarray] = []
    if len(x) <= LINED_ROWS:  # few rows: what is straight need not be learned step by step
        line, straight = _line(x, y, fold)
        bases.append(straight)
    if sizes is not None and len(x) <= SMOOTH_ROWS:
        process, smooth = fit_process(x, y, sizes, seed)
        bases.append(smooth)
    for base in bases:
        boosters, best, _ = _grow(x, y - base, 0, fold, growing, seed)
        grown.append((boosters, best))
        said.append(base + _held(x, fold, boosters, best, 1)[:, 0])
    said += bases
    weights = _weights(np.stack(said, 1), y)
    tree, table, by, place = _errors(x, y, np.stack(said, 1) @ weights, growing, seed)
    forests: list[Forest] = []
    kept: list[_Cut] = []
    for (boosters, best), weight in zip(grown, weights, strict=False):
        share = float(weight) / len(boosters)
        if share > 0:
            forests += [_scaled(parse(b.model_to_string(num_iteration=best), 1), share) for b in boosters]
            kept += [_Cut(b, best, share) for b in boosters]
    shares = [float(weights[1 + i] + weights[1 + len(bases) + i]) for i in range(len(bases))]
    line = line.times(shares[0]) if line is not None and shares[0] > 0 else None
    process = process.times(shares[-1]) if process is not None and shares[-1] > 0 else None
    return Tell(0, tuple(forests), 1.0, tree, table, tuple(kept), by, place, line, process)


def _weights(said: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Shares (m,) of the columns of said (n, m) whose mean has the least squared error; Frank, Wolfe, 1956."""
    m = said.shape[1]
    gram, with_y = said.T @ said / len(y), said.T @ y / len(y)
    w = np.zeros(m)
    w[int(np.argmin(np.diag(gram) - 2 * with_y))] = 1.0
    for _ in range(STACK_ROUNDS):
        slope = gram @ w - with_y
        move = -w
        move[int(np.argmin(slope))] += 1.0
        bend = float(move @ gram @ move)
        step = float(np.clip(-(slope @ move) / bend, 0.0, 1.0)) if bend > 0 else 0.0
        if step < 1e-6:
            break
        w = w + step * move
    w = np.where(w < 1e-3, 0.0, w)
    return np.asarray(w / w.sum())


def _held(x: np.ndarray, fold: np.ndarray, boosters: Sequence[Any], best: int, outputs: int) -> np.ndarray:
    """What each fold's trees say of the rows they have not seen, raw, (n, outputs)."""
    held = np.zeros((len(x), outputs))
    for i, b in enumerate(boosters):
        told = b.predict(x[fold == i], raw_score=True, num_iteration=best, num_threads=1)
        held[fold == i] = np.asarray(told).reshape(-1, outputs)
    return held


def _scaled(forest: Forest, factor: float) -> Forest:
    return Forest(tuple(replace(t, value=t.value * factor) for t in forest.trees), forest.base * factor)


def n_folds(n: int) -> int:
    return next((k for most, k in FOLDS if n <= most), 2)


def emit_quantile(scope: Scope, rows: str, u: str) -> str:
    """Float32 [N, 1]: where the share u [N, 1] lies among the quantiles [N, SHARES] of its row."""
    reached = scope.add(
        "Cast", scope.add("GreaterOrEqual", u, scope.const(SHARES[None, 1:-1].astype(np.float32))), to=7
    )
    index = scope.add("ReduceSum", reached, scope.const([1]), keepdims=1)
    start = scope.add("Gather", scope.const(SHARES[:-1].astype(np.float32)), index)
    step = scope.add("Gather", scope.const(STEPS.astype(np.float32)), index)
    inside = scope.add("Div", scope.add("Sub", u, start), step)
    low = scope.add("GatherElements", rows, index, axis=1)
    high = scope.add("GatherElements", rows, scope.add("Add", index, scope.const(np.int64(1))), axis=1)
    return scope.add("Add", low, scope.add("Mul", inside, scope.add("Sub", high, low)))


def leaf_quantiles(at: np.ndarray, y: np.ndarray, n_leaves: int) -> np.ndarray:
    """The quantiles of y in every leaf, (leaves, SHARES); those of all for a leaf without rows."""
    order = np.lexsort((y, at))
    starts = np.searchsorted(at[order], np.arange(n_leaves + 1))
    table = np.tile(np.quantile(y, SHARES), (n_leaves, 1))
    for leaf in range(n_leaves):
        held = y[order[starts[leaf] : starts[leaf + 1]]]
        if len(held):
            table[leaf] = np.interp(SHARES * (len(held) - 1), np.arange(len(held)), held)
    return table


def leaf_density(rows: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Density at y (n,) of draws between the quantiles (n, SHARES)."""
    width = np.maximum(np.diff(rows, axis=1), 1e-4)
    inside = (y[:, None] >= rows[:, :-1]) & (y[:, None] < rows[:, :-1] + width)
    return np.asarray((inside * STEPS / width).sum(1))


@dataclass(frozen=True, eq=False)
class _Cut:
    """A booster at its best round, its answer times a factor."""

    booster: Any
    best: int
    factor: float = 1.0

    def predict(self, x: np.ndarray, raw_score: bool = False) -> np.ndarray:
        told = self.booster.predict(x, raw_score=raw_score, num_iteration=self.best, num_threads=1)
        return np.asarray(told) * self.factor


def _grow(
    x: np.ndarray, y: np.ndarray, size: int, fold: np.ndarray, growing: Growing, seed: int
) -> tuple[list[Any], int, float]:
    """One booster a fold, grown on the others, the round that is best for unseen rows, and the loss there."""
    import lightgbm

    objective: dict[str, Any] = {"objective": "regression", "metric": "l2"}
    if size == 2:
        objective = {"objective": "binary", "metric": "binary_logloss"}
    elif size:
        objective = {"objective": "multiclass", "metric": "multi_logloss", "num_class": size}
    settings = {
        **objective, "learning_rate": growing.rate, "num_leaves": growing.leaves,
        "min_child_samples": max(3, min(20, len(x) // 30)), "feature_fraction": 0.8, "bagging_fraction": 0.9,
        "bagging_freq": 1, "lambda_l2": 1.0, "max_bin": 127, "seed": seed, "deterministic": True, "force_row_wise": True,
        "feature_pre_filter": False, "num_threads": growing.threads, "verbosity": -1,
    }  # fmt: skip
    boosters = []
    for i in range(int(fold.max()) + 1):
        train = lightgbm.Dataset(x[fold != i], y[fold != i], params=settings)
        booster = lightgbm.Booster(settings, train)
        booster.add_valid(lightgbm.Dataset(x[fold == i], y[fold == i], reference=train, params=settings), "held")
        boosters.append(booster)
    best, best_loss = 1, math.inf
    for r in range(1, growing.rounds + 1):
        for booster in boosters:
            booster.update()
        loss = float(np.mean([b.eval_valid()[0][2] for b in boosters]))
        if loss < best_loss * (1 - 1e-5) - 1e-12:
            best, best_loss = r, loss
        elif r - best >= PATIENCE:
            break
    return boosters, best, best_loss


def _line(x: np.ndarray, y: np.ndarray, fold: np.ndarray) -> tuple[Line, np.ndarray]:
    """The mean of the folds' ridge regressions, and what each says of the rows it has not seen.

    A row's start in `_grow` is what the line of its own fold says: the trees learn from errors on unseen rows.
    """
    there = np.where(np.isnan(x).all(0), 0.0, x).astype(np.float64)
    mean, deviation = np.nanmean(there, axis=0), np.nanstd(there, axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    z = standard(x, mean, deviation)
    best: tuple[float, Line, np.ndarray] | None = None
    for ridge in RIDGES:
        slopes, levels, held = [], [], np.zeros(len(y))
        for i in range(int(fold.max()) + 1):
            a, b = z[fold != i], y[fold != i]
            centre, level = a.mean(0), float(b.mean())
            gram = (a - centre).T @ (a - centre) + ridge * len(a) * np.eye(a.shape[1])
            slope = np.linalg.solve(gram, (a - centre).T @ (b - level))
            slopes.append(slope)
            levels.append(level - float(centre @ slope))
            held[fold == i] = z[fold == i] @ slope + levels[-1]
        loss = float(((y - held) ** 2).mean())
        if best is None or loss < best[0]:
            best = loss, Line(mean, deviation, np.mean(slopes, axis=0), float(np.mean(levels))), held
    assert best is not None
    return best[1], best[2]


def _spread(y: np.ndarray, fold: np.ndarray, rng: np.random.Generator, k: int) -> np.ndarray:
    """Folds with every code in proportion."""
    order = np.lexsort((rng.random(len(y)), y))
    found = np.empty(len(y), np.int64)
    found[order] = np.arange(len(y)) % k
    return found


def _errors(
    x: np.ndarray, y: np.ndarray, said: np.ndarray, growing: Growing, seed: int
) -> tuple[Tree, np.ndarray, Any, np.ndarray]:
    """A tree of the errors that splits where the values differ, or the errors' sizes."""
    from sklearn.tree import DecisionTreeRegressor

    error = y - said
    size = np.abs(error) / max(1e-9, float(error.std()))
    spread = max(1e-9, float(y.std()))
    cells = _beside(x, said)
    grown = DecisionTreeRegressor(
        min_samples_leaf=max(3, min(growing.min_leaf, len(x) // 6)), max_leaf_nodes=400, random_state=seed
    ).fit(cells, np.stack([y / spread, size], 1))
    flat, place = _flat(grown)
    at, leaves = place[grown.apply(cells)], int(place.max()) + 1
    table = leaf_quantiles(at, error, leaves) - _chance(at, error, leaves)[:, None]
    return flat, table, grown, place


def _chance(at: np.ndarray, error: np.ndarray, leaves: int) -> np.ndarray:
    """As much of the mean error of every leaf as may be chance, (leaves,): what a positive-part estimate of James and
    Stein (1961) takes away."""
    n = np.maximum(np.bincount(at, minlength=leaves), 1)
    mean = np.bincount(at, error, minlength=leaves) / n
    noise = np.bincount(at, (error - mean[at]) ** 2, minlength=leaves) / np.maximum(n - 1, 1) / n
    return np.asarray(mean * np.minimum(1.0, noise / np.maximum(mean**2, 1e-12)))


def _one_tree(x: np.ndarray, y: np.ndarray, size: int, growing: Growing, seed: int) -> Tell:
    """Shares of codes by leaf, with one row's worth of the overall shares in each."""
    from sklearn.tree import DecisionTreeClassifier

    cells = _known(x)
    grown = DecisionTreeClassifier(
        min_samples_leaf=max(3, min(growing.min_leaf, len(x) // 6)), max_leaf_nodes=400, random_state=seed
    ).fit(cells, y)
    flat, place = _flat(grown)
    counts = np.bincount(place[grown.apply(cells)] * size + y, minlength=(int(place.max()) + 1) * size)
    table = counts.reshape(-1, size) + np.bincount(y, minlength=size) / len(y)
    return Tell(size, (), 1.0, flat, table / table.sum(1, keepdims=True), (), grown, place)


def _flat(grown: Any) -> tuple[Tree, np.ndarray]:
    """A tree whose answer is the number of the leaf, and the number of each node."""
    tree = grown.tree_
    leaves = np.flatnonzero(tree.children_left < 0)
    place = np.zeros(tree.node_count, np.int64)
    place[leaves] = np.arange(len(leaves))
    nowhere, value = np.zeros(tree.node_count, bool), place.astype(np.float64)[:, None]
    return Tree(tree.feature, tree.threshold, tree.children_left, tree.children_right, nowhere, value), place


def _emit_leaf(scope: Scope, tree: Tree, table: np.ndarray, cells: str) -> str:
    """The row of the table that belongs to the leaf, [N, columns]."""
    leaf = scope.add("Cast", add_forest(scope, Forest((tree,), np.zeros(1)), cells), to=7)
    return scope.add("Gather", scope.const(table.astype(np.float32)), scope.add("Squeeze", leaf, scope.const([1])))


def _known(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x), UNKNOWN, x)


def _beside(x: np.ndarray, said: np.ndarray) -> np.ndarray:
    return np.concatenate([_known(x), said[:, None]], 1).astype(np.float32)


def _emit_known(scope: Scope, x: str) -> str:
    return scope.add("Where", scope.add("IsNaN", x), scope.const(UNKNOWN), x)


def _shares(logits: np.ndarray, sharpness: float, level: np.ndarray | None = None) -> np.ndarray:
    z = np.asarray(logits, np.float64).reshape(len(logits), -1) * sharpness
    if z.shape[1] == 1:
        z = np.concatenate([np.zeros_like(z), z], 1)
    return softmax(z if level is None else z + level)


def _level(logits: np.ndarray, sharpness: float, wanted: np.ndarray) -> np.ndarray:
    """What has to be added to sharper logits for codes to be as frequent as is wanted, (size,)."""
    level = np.zeros(len(wanted))
    for _ in range(LEVEL_ROUNDS):
        level += np.log(np.maximum(wanted, 1e-9) / np.maximum(_shares(logits, sharpness, level).mean(0), 1e-9))
    return np.asarray(level - level[0])


def _emit_shares(scope: Scope, logits: str, tell: Tell) -> str:
    z = scope.add("Mul", logits, scope.const(np.float32(tell.sharpness)))
    if tell.size == 2:
        z = scope.add("Concat", scope.add("Mul", z, scope.const(np.float32(0))), z, axis=1)
    if tell.level is not None:
        z = scope.add("Add", z, scope.const(tell.level[None].astype(np.float32)))
    return scope.add("Softmax", z, axis=1)

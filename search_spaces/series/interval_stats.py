"""Statistics of intervals of the series, and extremely randomised trees over them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.data.series import SeriesRecipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.model.graph import Scope
from assay.space import Choice, Int
from search_spaces.series._seqheads import FeaturePredictor
from search_spaces.tabular._answers import constant_answer
from search_spaces.tabular._trees import forest_bytes, forest_seconds, grow, impurity, max_leaves

# features lie on its multiples: no rounding decides at a tree's threshold, and that of nothing (the slope of a constant) is nothing
GRAIN = 2.0**-9


@dataclass(frozen=True)
class IntervalStatsConfig:
    """intervals: of the series, and as many of its differences; each gives its mean, deviation, slope, least and largest
    value in every channel."""

    scale: Annotated[str, Choice("rows", "series")] = "rows"
    length: Annotated[str, Choice("hold", "stretch")] = "hold"
    intervals: Annotated[int, Int(8, 64, log=True)] = 24
    criterion: Annotated[str, Choice("gini", "entropy")] = "entropy"
    max_features: Annotated[str | float, Choice("sqrt", 0.1, 0.25, 0.5)] = "sqrt"
    min_samples_leaf: Annotated[int, Int(1, 16, log=True)] = 1
    n_trees: Annotated[int, Int(20, 160, log=True)] = 80


@dataclass(frozen=True, eq=False)
class Intervals:
    """spans: int64 (2, m, 2), starts and ends in the series and in its differences."""

    spans: np.ndarray

    def of(self, x: np.ndarray) -> np.ndarray:
        """float32 (n, C, L) -> float32 (n, 10 m C)."""
        parts = []
        for source, spans in zip((x, np.diff(x, axis=2)), self.spans, strict=True):
            for start, end in spans:
                piece = source[:, :, start:end].astype(np.float64)
                mean = piece.mean(2)
                centred = piece - mean[:, :, None]
                deviation = np.sqrt((centred**2).mean(2))
                parts += [mean, deviation, piece @ _ramp(end - start), piece.min(2), piece.max(2)]
        found = np.concatenate(parts, axis=1)
        return np.asarray(np.round(found / GRAIN) * GRAIN, np.float32)

    def add(self, scope: Scope, x: str) -> str:
        """`of` as nodes, in float64 as there."""
        axis, one = scope.const(np.array([2], np.int64)), scope.const(np.array([1], np.int64))
        wide = scope.add("Cast", x, to=11)
        far = scope.const(np.array([np.iinfo(np.int64).max], np.int64))
        late = scope.add("Slice", wide, one, far, axis)
        steps = scope.add(
            "Slice", wide, scope.const(np.array([0], np.int64)), scope.const(np.array([-1], np.int64)), axis
        )
        parts: list[str] = []
        for source, spans in zip((wide, scope.add("Sub", late, steps)), self.spans, strict=True):
            for start, end in spans:
                piece = scope.add("Slice", source, *(scope.const(np.array([v], np.int64)) for v in (start, end)), axis)
                mean = scope.add("ReduceMean", piece, axis, keepdims=1)
                centred = scope.add("Sub", piece, mean)
                square = scope.add("ReduceMean", scope.add("Mul", centred, centred), axis, keepdims=0)
                ramp = scope.add("MatMul", piece, scope.const(_ramp(end - start), np.float64))
                parts += [scope.add("Squeeze", mean, axis), scope.add("Sqrt", square), ramp]
                parts += [scope.add(op, piece, axis, keepdims=0) for op in ("ReduceMin", "ReduceMax")]
        grain = scope.const(np.array(GRAIN), np.float64)
        cells = scope.add("Round", scope.add("Div", scope.add("Concat", *parts, axis=1), grain))  # to even, as NumPy's
        return scope.add("Cast", scope.add("Mul", cells, grain), to=1)


class IntervalStats:
    name: ClassVar[str] = "interval_stats"
    tasks: ClassVar[frozenset[str]] = frozenset({"sequence_classification"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = IntervalStatsConfig
    reference: ClassVar[str] = (
        "Deng, Runger, Tuv, Vladimir: A Time Series Forest for Classification and Feature Extraction. Information "
        "Sciences 239, 2013; Geurts, Ernst, Wehenkel: Extremely randomized trees. Machine Learning 63, 2006"
    )

    def recipe(self, config: IntervalStatsConfig) -> SeriesRecipe:
        return SeriesRecipe(config.scale, config.length)

    def steps(self, config: IntervalStatsConfig) -> int:
        return config.n_trees

    def cost(self, config: IntervalStatsConfig, shape: Shape) -> Cost:
        columns = Shape(shape.n_rows, 10 * config.intervals, shape.n_classes)
        seconds = forest_seconds(columns, config.max_features, config.n_trees, per_cell=3e-8)
        seconds += 4e-9 * shape.n_rows * shape.n_features * config.intervals
        held = forest_bytes(shape.n_rows, columns.n_features, shape.n_classes, config.n_trees)
        return Cost(seconds + 0.05, held + 16 * shape.n_rows * (columns.n_features + shape.n_features) + (1 << 24))

    def fit(self, config: IntervalStatsConfig, data: Split, ctx: TrialContext) -> Predictor:
        from sklearn.ensemble import ExtraTreesClassifier

        constant = constant_answer(data)
        if constant is not None:
            return constant
        intervals = draw_intervals(data.x.shape[2], config.intervals, ctx.seed)

        def build(n_trees: int) -> Any:
            return ExtraTreesClassifier(
                n_estimators=n_trees,
                criterion=impurity(False, config.criterion),
                max_features=config.max_features,
                min_samples_leaf=config.min_samples_leaf,
                max_leaf_nodes=max_leaves(len(data.y)),
                warm_start=n_trees > 1,
                n_jobs=1,
                random_state=ctx.seed,
            )

        told = dataclasses.replace(data, x=intervals.of(data.x), x_valid=intervals.of(data.x_valid))
        return FeaturePredictor(intervals, grow(told, ctx, build, config.n_trees, smoothing=0.5))


def draw_intervals(n_steps: int, many: int, seed: int) -> Intervals:
    """The whole series, its halves, and random intervals of at least three steps (all of a shorter series)."""
    rng = np.random.default_rng(seed)
    spans = []
    for length in (n_steps, max(1, n_steps - 1)):
        half = max(1, length // 2)
        found = [(0, length), (0, half), (length - half, length)]
        for _ in range(many - len(found)):
            width = int(rng.integers(min(3, length), length + 1))
            start = int(rng.integers(0, length - width + 1))
            found.append((start, start + width))
        spans.append(found[:many])
    return Intervals(np.array(spans, np.int64))


def _ramp(width: int) -> np.ndarray:
    """Weights that give the slope of the straight line through `width` points, times their number."""
    step = np.arange(width) - (width - 1) / 2
    return np.asarray(step / max(1e-12, float((step**2).sum())) * width)


family = IntervalStats()

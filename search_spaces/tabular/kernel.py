"""Kernel machines: ridge (a Gaussian process' mean) for numbers, logistic regression for classes, on landmark features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from assay.data.prepare import Recipe
from assay.errors import Diverged, TrialStopped
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.model.graph import Graph, Scope
from assay.model.similarity import emit_similarity, similarity, squared_gaps
from assay.space import Choice, Float, Int
from search_spaces.tabular._answers import Classes, constant_answer, loss
from search_spaces.tabular._linear import Reach, solve

FLOAT, DOUBLE = 1, 11  # element types of onnx.TensorProto
BOUND = 5.0  # deviations past which a scaled column says no more
RIDGE = np.geomspace(1.0, 1e-4, 9)  # penalties, strong to weak, in units of a training row's own similarity
LOGISTIC = np.geomspace(0.3, 3000.0, 9)  # inverse penalties, strong to weak
TURN = 2  # steps along the path without gain after which the rest is left out
LEAST_EIGENVALUE = 1e-7  # of the landmarks' similarities, in units of the largest
TYPICAL_ROWS = 400  # for the median distance
MOST_CELLS = 12_000_000  # of the feature matrix: 96 MB


@dataclass(frozen=True)
class KernelConfig:
    """width: the kernel's, in units of the square root of the median squared distance of two rows.

    n_landmarks: rows that the others are described by (all rows where there are fewer).  The penalty is not searched: a fit
    walks from a strong to a weak one and stops like boosting does.
    """

    kernel: Annotated[str, Choice("gaussian", "matern32", "exponential")] = "gaussian"
    width: Annotated[float, Float(0.3, 4.0, log=True)] = 1.0
    numbers: Annotated[str, Choice("standard", "quantile", "robust")] = "standard"
    categories: Annotated[str, Choice("onehot", "target")] = "onehot"
    n_landmarks: Annotated[int, Int(200, 1000, log=True)] = 600


@dataclass(frozen=True, eq=False)
class KernelPredictor:
    """similarity(x, landmarks) @ weight + bias in float64, then a softmax for classes.

    landmarks: (m, d), weight: (m, k), bias: (k,).  scale: squared distances are divided by it.
    """

    kernel: str
    scale: float
    reach: Reach
    landmarks: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    classes: Classes | None
    best_step: int = 0

    def predict(self, x: np.ndarray) -> np.ndarray:
        parts = [self._predict(x[i : i + 4096]) for i in range(0, max(1, len(x)), 4096)]
        return np.concatenate(parts)

    def _predict(self, x: np.ndarray) -> np.ndarray:
        rows = self.reach.clip(x.astype(np.float32, copy=False)).astype(np.float64)
        out = similarity(self.kernel, rows, self.landmarks, self.scale) @ self.weight + self.bias
        if self.classes is None:
            return np.asarray(out)
        e = np.exp(out - out.max(axis=1, keepdims=True))
        return self.classes.spread(e / e.sum(axis=1, keepdims=True))

    def to_onnx(self, x: str) -> Graph:
        """In float64: the weights of a smooth fit are large and cancel."""
        scope = Scope()

        def const(value: np.ndarray | float) -> str:
            return scope.const(np.asarray(value, np.float64), np.float64)

        rows = scope.add("Cast", self.reach.add(scope, x), to=DOUBLE)
        similar = emit_similarity(scope, self.kernel, rows, self.landmarks, self.scale)
        out = scope.add("Add", scope.add("MatMul", similar, const(self.weight)), const(self.bias))
        out = scope.add("Cast", out, to=FLOAT)
        if self.classes is None:
            return scope.graph(out)
        return scope.graph(self.classes.add_spread(scope, scope.add("Softmax", out, axis=-1)))


class Kernel:
    name: ClassVar[str] = "kernel"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = KernelConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Williams, Seeger: Using the Nystrom Method to Speed Up Kernel Machines. NIPS 2000; "
        "Saunders, Gammerman, Vovk: Ridge Regression Learning Algorithm in Dual Variables. ICML 1998; "
        "Zhu, Hastie: Kernel Logistic Regression and the Import Vector Machine. NIPS 2001"
    )

    def recipe(self, config: KernelConfig) -> Recipe:
        return Recipe(numbers=config.numbers, impute=True, categories=config.categories)

    def steps(self, config: KernelConfig) -> int:
        return len(RIDGE)

    def cost(self, config: KernelConfig, shape: Shape) -> Cost:
        m = _n_landmarks(config, shape.n_rows)
        cells = shape.n_rows * m
        # measured on one core, 300 to 16,000 rows x 20 columns
        seconds = 0.02 + 3e-10 * m**3 + cells * (1e-8 + 2e-10 * (shape.n_features + m))
        if shape.n_classes:
            seconds += 1e-7 * cells * max(1, shape.n_classes - 1)
        return Cost(float(seconds), int(40 * cells + 40 * m * (m + shape.n_features) + 3e7))

    def fit(self, config: KernelConfig, data: Split, ctx: TrialContext) -> Predictor:
        constant = constant_answer(data)
        if constant is not None:
            return constant
        classes = None if data.target.is_regression else Classes.of(data)
        reach = Reach(*(np.full(data.x.shape[1], b, np.float32) for b in (-BOUND, BOUND)))
        x = reach.clip(data.x).astype(np.float64)
        m = _n_landmarks(config, len(x))
        landmarks = x[np.sort(ctx.rng.choice(len(x), m, replace=False))] if m < len(x) else x
        scale = config.width**2 * _typical(x, ctx.rng)
        values, vectors = np.linalg.eigh(similarity(config.kernel, landmarks, landmarks, scale))
        kept = values > LEAST_EIGENVALUE * values[-1]
        basis = vectors[:, kept] / np.sqrt(values[kept])  # (m, r): features = similarities @ basis
        features = similarity(config.kernel, x, landmarks, scale) @ basis
        path = _ridge_path(features, data) if classes is None else _logistic_path(features, data, classes, ctx)
        found: KernelPredictor | None = None
        best, since = np.inf, 0
        for step, (weight, bias) in enumerate(path, start=1):
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                raise Diverged("the weights of the kernel machine are not finite; try a wider kernel")
            new = KernelPredictor(config.kernel, scale, reach, landmarks, basis @ weight, bias, classes, step)
            judged = np.nan
            if len(data.y_valid):
                judged = loss(data.target, new.predict(data.x_valid), data.y_valid, data.weight_valid)
            since += 1
            if found is None or not len(data.y_valid) or judged < best:
                found, best, since = new, judged, 0
            try:
                ctx.report(step, -judged)
            except TrialStopped:
                break
            if since >= TURN or step >= ctx.max_steps or ctx.seconds_left() <= 0:
                break
        assert found is not None
        return found


def _n_landmarks(config: KernelConfig, n_rows: int) -> int:
    return int(max(1, min(config.n_landmarks, n_rows, max(100, MOST_CELLS // max(1, n_rows)))))


def _typical(x: np.ndarray, rng: np.random.Generator) -> float:
    """The median squared distance of two rows, of those that differ."""
    rows = x[rng.choice(len(x), min(len(x), TYPICAL_ROWS), replace=False)]
    gaps = squared_gaps(rows, rows)[np.triu_indices(len(rows), 1)]
    apart = gaps[gaps > 1e-9]
    return float(np.median(apart)) if len(apart) else 1.0


def _ridge_path(features: np.ndarray, data: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(weight (r, 1), bias (1,)) for every penalty, from one decomposition."""
    w = np.ones(len(data.y)) if data.weight is None else data.weight / data.weight.mean()
    y_mean = np.average(data.y, weights=w)
    x_mean = np.average(features, axis=0, weights=w)
    root = np.sqrt(w)[:, None]
    centred = (features - x_mean) * root
    values, vectors = np.linalg.eigh(centred.T @ centred)
    along = vectors.T @ (centred.T @ ((data.y - y_mean) * root[:, 0]))
    for penalty in RIDGE:
        weight = vectors @ (along / (np.maximum(values, 0.0) + penalty))
        yield weight[:, None], np.array([y_mean - x_mean @ weight])


def _logistic_path(
    features: np.ndarray, data: Split, classes: Classes, ctx: TrialContext
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(weight (r, k), bias (k,)) for every penalty, each starting from the one before; k: classes seen."""
    from sklearn.linear_model import LogisticRegression

    codes = classes.codes(data.y)
    model = LogisticRegression(tol=1e-4, warm_start=True, random_state=ctx.seed)

    def at(inverse: float) -> Callable[[int], LogisticRegression]:
        def fitted(iterations: int) -> LogisticRegression:
            model.set_params(C=inverse, max_iter=iterations)
            return model.fit(features, codes, sample_weight=data.weight)

        return fitted

    for inverse in LOGISTIC:
        solve(at(inverse), 100, lambda _: False)
        weight, bias = model.coef_.T.copy(), model.intercept_.copy()
        if weight.shape[1] == 1:  # a sigmoid is the softmax over (0, z)
            weight, bias = np.hstack([np.zeros_like(weight), weight]), np.append(0.0, bias)
        yield weight, bias


family = Kernel()

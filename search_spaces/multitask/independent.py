"""A model of its own for every target, delivered together: what joint learning has to beat."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.data.prepare import Recipe
from assay.errors import TrialStopped
from assay.families import Cost, Predictor, Shape, Split, TrialContext, discover
from assay.model.graph import Graph, Scope
from assay.multitask.recipe import MultiRecipe
from assay.multitask.targets import Truth
from assay.space import Choice, Float, Int, When
from search_spaces.multitask._training import TASK, TOLD


@dataclass(frozen=True)
class IndependentConfig:
    """model "boosting" is LightGBM; "linear" is ridge regression and logistic regression.  C: inverse of its penalty."""

    model: Annotated[str, Choice("boosting", "linear")] = "boosting"
    learning_rate: Annotated[float, Float(5e-3, 1e-1, log=True), When("model", "boosting")] = 0.05
    num_leaves: Annotated[int, Int(2, 200, log=True), When("model", "boosting")] = 31
    feature_fraction: Annotated[float, Float(0.4, 1.0), When("model", "boosting")] = 0.6
    C: Annotated[float, Float(1e-4, 1e3, log=True), When("model", "linear")] = 1.0


class Family:
    name: ClassVar[str] = "independent"
    tasks: ClassVar[frozenset[str]] = frozenset({TASK})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = IndependentConfig
    reference: ClassVar[str] = (
        "Ke, Meng, Finley, Wang, Chen, Ma, Ye, Liu: LightGBM: A Highly Efficient Gradient Boosting Decision Tree. NIPS "
        "2017; Hoerl, Kennard: Ridge Regression. Technometrics 12, 1970; Cox: The Regression Analysis of Binary "
        "Sequences. JRSS B 20, 1958"
    )

    def recipe(self, config: IndependentConfig) -> MultiRecipe:
        if config.model == "boosting":
            return MultiRecipe(Recipe(numbers="raw", impute=False, categories="target"))
        return MultiRecipe(Recipe(numbers="standard", impute=True, categories="onehot"))

    def steps(self, config: IndependentConfig) -> int:
        return 1

    def cost(self, config: IndependentConfig, shape: Shape) -> Cost:
        """That of TOLD targets of two classes."""
        one = _models(config)[0].cost(_configs(config)[0], Shape(shape.n_rows, shape.n_features, 2))
        return Cost(TOLD * one.seconds, one.host_bytes, one.device_bytes)

    def fit(self, config: IndependentConfig, data: Split, ctx: TrialContext) -> Predictor:
        assert isinstance(data.y, Truth) and isinstance(data.y_valid, Truth)
        parts = []
        n = len(data.y.targets)
        for i, target in enumerate(data.y.targets):
            if ctx.seconds_left() <= 0:
                raise TrialStopped
            which = 0 if target.classes else 1
            split, mean, deviation = _single(data, i)
            share = ctx.seconds_left() / (n - i)
            predictor = _models(config)[which].fit(_configs(config)[which], split, _Share(ctx, share))
            parts.append(Part(predictor, mean, deviation))
        return Together(parts)


@dataclass(frozen=True)
class Part:
    """A predictor of one target; mean and deviation undo the scaling of a number."""

    predictor: Predictor
    mean: float
    deviation: float


@dataclass(frozen=True)
class Together:
    """The answers of all parts side by side."""

    parts: Sequence[Part]

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.hstack([np.asarray(p.predictor.predict(x), np.float64) * p.deviation + p.mean for p in self.parts])

    def to_onnx(self, x: str) -> Graph:
        scope = Scope()
        answers = []
        for part in self.parts:
            out = scope.include(part.predictor.to_onnx(x))
            if (part.mean, part.deviation) != (0.0, 1.0):
                scaled = scope.add("Mul", out, scope.const(np.float32(part.deviation)))
                out = scope.add("Add", scaled, scope.const(np.float32(part.mean)))
            answers.append(out)
        return scope.graph(scope.add("Concat", *answers, axis=1))


class _Share:
    """The context of one of several fits in a row: a share of the time, and no reports, whose scores do not compare."""

    def __init__(self, ctx: TrialContext, seconds: float) -> None:
        self.device, self.rng, self.seed, self.threads = ctx.device, ctx.rng, ctx.seed, ctx.threads
        self.max_steps = 1 << 30
        self._until = math.inf if math.isinf(seconds) else time.monotonic() + seconds

    def report(self, step: int, score: float) -> None:
        if self.seconds_left() <= 0:
            raise TrialStopped

    def seconds_left(self) -> float:
        return self._until - time.monotonic()


def _single(data: Split, i: int) -> tuple[Split, float, float]:
    """The fold as that of one target: the rows with its label, numbers scaled; with the mean and deviation of these."""
    truth, truth_valid = data.y, data.y_valid
    assert isinstance(truth, Truth) and isinstance(truth_valid, Truth)
    (rows, y), (rows_valid, y_valid) = truth.column(i), truth_valid.column(i)
    mean, deviation = 0.0, 1.0
    if not truth.targets[i].classes:
        mean, deviation = float(y.mean()), float(y.std()) or 1.0
        y, y_valid = (y - mean) / deviation, (y_valid - mean) / deviation
    split = Split(
        x=data.x[rows],
        y=y,
        x_valid=data.x_valid[rows_valid],
        y_valid=y_valid,
        target=truth.targets[i].single,
        weight=None if data.weight is None else data.weight[rows],
        weight_valid=None if data.weight_valid is None else data.weight_valid[rows_valid],
        groups=data.groups,
    )
    return split, mean, deviation


def _models(config: IndependentConfig) -> tuple[Any, ...]:
    """The families for classes and for numbers."""
    known = discover()
    return tuple(known[n] for n in (("lightgbm",) * 2 if config.model == "boosting" else ("logistic", "linear")))


def _configs(config: IndependentConfig) -> tuple[Any, Any]:
    if config.model == "linear":
        classes, numbers = (f.Config for f in _models(config))
        return classes(C=config.C), numbers(ridge_alpha=1.0 / config.C)
    boosted = _models(config)[0].Config(
        learning_rate=config.learning_rate, num_leaves=config.num_leaves, feature_fraction=config.feature_fraction
    )
    return boosted, boosted


family = Family()

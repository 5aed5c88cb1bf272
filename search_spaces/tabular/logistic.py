"""Logistic regression with L2, L1 or mixed penalty; multinomial for three classes and more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, When
from search_spaces.tabular._logistic import fit_logistic


@dataclass(frozen=True)
class LogisticConfig:
    """C: inverse strength of the penalty.  class_weight "balanced" weighs every class by the inverse of its share."""

    penalty: Annotated[str, Choice("l2", "l1", "elastic_net")] = "l2"
    C: Annotated[float, Float(1e-4, 1e3, log=True)] = 1.0
    l1_ratio: Annotated[float, Float(0.05, 0.95), When("penalty", "elastic_net")] = 0.5
    class_weight: Annotated[str, Choice("none", "balanced")] = "none"
    numbers: Annotated[str, Choice("standard", "robust", "quantile")] = "standard"


class Logistic:
    name: ClassVar[str] = "logistic"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = LogisticConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Cox: The Regression Analysis of Binary Sequences. JRSS B 20, 1958; SAGA: Defazio, Bach, Lacoste-Julien: "
        "A Fast Incremental Gradient Method With Support for Non-Strongly Convex Composite Objectives. NIPS 2014"
    )

    def recipe(self, config: LogisticConfig) -> Recipe:
        return Recipe(numbers=config.numbers, impute=True, categories="onehot")

    def steps(self, config: LogisticConfig) -> int:
        return 1

    def cost(self, config: LogisticConfig, shape: Shape) -> Cost:
        cells = shape.n_rows * shape.n_features
        passes = 75.0 if config.penalty == "l2" else 750.0
        outputs = max(1, shape.n_classes if shape.n_classes > 2 else 1)
        return Cost(1e-2 + 1e-9 * cells * outputs * passes, 24 * cells + 16 * shape.n_rows * outputs)

    def fit(self, config: LogisticConfig, data: Split, ctx: TrialContext) -> Predictor:
        l1_ratio = {"l2": 0.0, "l1": 1.0}.get(config.penalty, config.l1_ratio)
        return fit_logistic(
            data, ctx, config.C, l1_ratio, class_weight="balanced" if config.class_weight == "balanced" else None
        )


family = Logistic()

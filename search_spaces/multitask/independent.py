"""A model of its own for every target, delivered together: what joint learning has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from assay.data.prepare import Recipe
from assay.errors import TrialStopped
from assay.families import Cost, Predictor, Shape, Split, TrialContext, discover
from assay.multitask.recipe import MultiRecipe
from assay.multitask.single import Part, Share, Together, single
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
            split, mean, deviation = single(data, i)
            share = ctx.seconds_left() / (n - i)
            predictor = _models(config)[which].fit(_configs(config)[which], split, Share(ctx, share))
            parts.append(Part(predictor, mean, deviation))
        return Together(parts)


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

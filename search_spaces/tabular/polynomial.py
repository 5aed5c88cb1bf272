"""Quadratic regression and classification: squares and products of the numeric columns under an L2 penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float
from search_spaces.tabular._answers import constant_answer
from search_spaces.tabular._linear import regression_answer
from search_spaces.tabular._logistic import fit_logistic

MARGIN = 0.0  # squares run away fast: no extrapolation beyond the training range


@dataclass(frozen=True)
class PolynomialConfig:
    """alpha: ridge penalty added to the sum of squared errors; its inverse is C of the logistic regression."""

    alpha: Annotated[float, Float(1e-2, 1e5, log=True)] = 10.0
    numbers: Annotated[str, Choice("standard", "robust", "quantile")] = "standard"


class Polynomial:
    name: ClassVar[str] = "polynomial"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = PolynomialConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = "Box, Wilson: On the Experimental Attainment of Optimum Conditions. JRSS B 13, 1951"

    def recipe(self, config: PolynomialConfig) -> Recipe:
        return Recipe(numbers=config.numbers, impute=True, categories="onehot", interactions=True)

    def steps(self, config: PolynomialConfig) -> int:
        return 1

    def cost(self, config: PolynomialConfig, shape: Shape) -> Cost:
        """shape.n_features counts the products: it is the width of the design matrix."""
        cells, outputs = shape.n_rows * shape.n_features, shape.n_classes if shape.n_classes > 2 else 1
        passes = 180.0 * outputs if shape.n_classes else 0.3 * shape.n_features
        return Cost(1e-2 + 1e-9 * cells * (20 + passes), int(24 * cells + 24 * shape.n_features**2))

    def fit(self, config: PolynomialConfig, data: Split, ctx: TrialContext) -> Predictor:
        if not data.target.is_regression:
            return fit_logistic(data, ctx, C=1.0 / config.alpha, margin=MARGIN)
        from sklearn.linear_model import Ridge

        constant = constant_answer(data)
        if constant is not None:
            return constant
        model = Ridge(config.alpha).fit(data.x.astype(float), data.y, sample_weight=data.weight)
        return regression_answer(data, model.coef_, float(model.intercept_), MARGIN)


family = Polynomial()

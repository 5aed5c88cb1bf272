"""Linear regression: least squares, ridge, lasso and elastic net on scaled, one-hot encoded columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.quantile.levels import QuantileTarget
from assay.space import Choice, Float, When
from search_spaces.tabular._answers import constant_answer
from search_spaces.tabular._linear import affine_answer, regression_answer, solve, time_for_four
from search_spaces.tabular._pinball import fit_pinball


@dataclass(frozen=True)
class LinearConfig:
    """ridge_alpha adds to the sum of squares, alpha to the mean (lasso, elastic net), as in scikit-learn."""

    method: Annotated[str, Choice("least_squares", "ridge", "lasso", "elastic_net")] = "ridge"
    ridge_alpha: Annotated[float, Float(1e-3, 1e4, log=True), When("method", "ridge")] = 1.0
    alpha: Annotated[float, Float(1e-5, 1.0, log=True), When("method", "lasso", "elastic_net")] = 1e-3
    l1_ratio: Annotated[float, Float(0.05, 0.95), When("method", "elastic_net")] = 0.5
    numbers: Annotated[str, Choice("standard", "robust", "quantile")] = "standard"


class Linear:
    name: ClassVar[str] = "linear"
    tasks: ClassVar[frozenset[str]] = frozenset({"regression"})
    lane: ClassVar[str] = "cpu"
    quantiles: ClassVar[bool] = True
    Config: ClassVar[type] = LinearConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Hoerl, Kennard: Ridge Regression. Technometrics 12, 1970; Tibshirani: Regression Shrinkage and Selection via "
        "the Lasso. JRSS B 58, 1996; Zou, Hastie: Regularization and Variable Selection via the Elastic Net. "
        "JRSS B 67, 2005"
    )

    def recipe(self, config: LinearConfig) -> Recipe:
        return Recipe(numbers=config.numbers, impute=True, categories="onehot")

    def steps(self, config: LinearConfig) -> int:
        return 1

    def cost(self, config: LinearConfig, shape: Shape) -> Cost:
        cells = shape.n_rows * shape.n_features
        passes = {"least_squares": shape.n_features, "ridge": 0.3 * shape.n_features}.get(config.method, 60.0)
        return Cost(5e-3 + 4e-9 * cells * (10 + passes), int(24 * cells + 24 * shape.n_features**2))

    def fit(self, config: LinearConfig, data: Split, ctx: TrialContext) -> Predictor:
        constant = constant_answer(data)
        if constant is not None:
            return constant
        x = data.x.astype(float)
        if isinstance(data.target, QuantileTarget):
            levels = data.target.quantiles
            coefficients, intercepts = fit_pinball(x, np.asarray(data.y), data.weight, levels, config.ridge_alpha)
            return affine_answer(data, coefficients, intercepts)

        def fitted(iterations: int) -> Any:
            return _model(config, iterations, ctx.seed).fit(x, data.y, sample_weight=data.weight)

        model = solve(fitted, 1000, time_for_four(ctx.seconds_left))
        return regression_answer(data, model.coef_, float(model.intercept_))


def _model(config: LinearConfig, iterations: int, seed: int) -> Any:
    from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, Ridge

    if config.method == "least_squares":
        return LinearRegression()
    if config.method == "ridge":
        return Ridge(config.ridge_alpha)
    if config.method == "lasso":
        return Lasso(config.alpha, max_iter=iterations, random_state=seed)
    return ElasticNet(config.alpha, l1_ratio=config.l1_ratio, max_iter=iterations, random_state=seed)


family = Linear()

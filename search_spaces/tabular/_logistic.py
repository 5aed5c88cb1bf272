"""Fitting a (multinomial) logistic regression; used by every family that ends in one."""

from __future__ import annotations

from typing import Any

from assay.families import Predictor, Split, TrialContext
from search_spaces.tabular._answers import Classes, constant_answer
from search_spaces.tabular._linear import class_answer, solve, time_for_four


def fit_logistic(
    data: Split,
    ctx: TrialContext,
    C: float,
    l1_ratio: float = 0.0,
    class_weight: str | None = None,
    margin: float = 1.0,
) -> Predictor:
    """Multinomial for three classes and more.  L-BFGS for the pure L2 penalty, SAGA where a part of it is L1."""
    from sklearn.linear_model import LogisticRegression

    constant = constant_answer(data)
    if constant is not None:
        return constant
    classes = Classes.of(data)
    x, codes = data.x.astype(float), classes.codes(data.y)

    def fitted(iterations: int) -> Any:
        model = LogisticRegression(
            C=C,
            l1_ratio=l1_ratio,
            class_weight=class_weight,
            solver="saga" if l1_ratio > 0 else "lbfgs",
            tol=1e-3 if l1_ratio > 0 else 1e-4,
            max_iter=iterations,
            random_state=ctx.seed,
        )
        return model.fit(x, codes, sample_weight=data.weight)

    model = solve(fitted, 100 if l1_ratio > 0 else 300, time_for_four(ctx.seconds_left))
    return class_answer(data, classes, model.coef_, model.intercept_, margin)

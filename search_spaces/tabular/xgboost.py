"""XGBoost: second-order boosting of depth-wise or leaf-wise trees with early stopping; needs the extra `xgboost`."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.data.prepare import Recipe
from assay.errors import FamilyUnavailable
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.model.trees import Forest, Tree
from assay.space import Choice, Float, Int, When
from search_spaces.tabular._answers import Classes, constant_answer
from search_spaces.tabular._boosting import BoostedPredictor, Course, patience


@dataclass(frozen=True)
class XGBoostConfig:
    """n_estimators is a cap: rounds end when the validation part stops gaining (or at the deadline)."""

    learning_rate: Annotated[float, Float(5e-3, 2e-1, log=True)] = 0.06
    grow_policy: Annotated[str, Choice("depthwise", "lossguide")] = "depthwise"
    max_depth: Annotated[int, Int(3, 10)] = 6
    max_leaves: Annotated[int, Int(4, 128, log=True), When("grow_policy", "lossguide")] = 24
    min_child_weight: Annotated[float, Float(0.05, 20.0, log=True)] = 1.0
    subsample: Annotated[float, Float(0.5, 1.0)] = 0.8
    colsample_bynode: Annotated[float, Float(0.3, 1.0)] = 0.6
    reg_alpha: Annotated[float, Float(0.0, 5.0)] = 0.0
    reg_lambda: Annotated[float, Float(0.05, 20.0, log=True)] = 1.0
    categories: Annotated[str, Choice("target", "ordinal", "onehot")] = "ordinal"
    n_estimators: int = 2000


class XGBoost:
    name: ClassVar[str] = "xgboost"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = XGBoostConfig
    fits_whole: ClassVar[bool] = True
    by_default: ClassVar[bool] = importlib.util.find_spec("xgboost") is not None
    reference: ClassVar[str] = "Chen, Guestrin: XGBoost: A Scalable Tree Boosting System. KDD 2016"

    def recipe(self, config: XGBoostConfig) -> Recipe:
        return Recipe(numbers="raw", impute=False, categories=config.categories)

    def steps(self, config: XGBoostConfig) -> int:
        return config.n_estimators

    def cost(self, config: XGBoostConfig, shape: Shape) -> Cost:
        outputs = shape.n_classes if shape.n_classes > 2 else 1
        rounds = min(config.n_estimators, 15.0 / config.learning_rate + patience(shape.n_rows, config.learning_rate))
        most = 2**config.max_depth if config.grow_policy == "depthwise" else config.max_leaves
        leaves = min(most, max(2.0, shape.n_rows / 4))
        cells = shape.n_rows * shape.n_features
        per_tree = 4e-4 + 3e-9 * cells * np.log2(leaves + 1) + 4e-6 * leaves * shape.n_features
        seconds = 0.05 + rounds * outputs * per_tree
        return Cost(float(seconds), int(12 * cells + rounds * outputs * leaves * 120 + 4e7))

    def fit(self, config: XGBoostConfig, data: Split, ctx: TrialContext) -> Predictor:
        if importlib.util.find_spec("xgboost") is None:
            raise FamilyUnavailable("xgboost is not installed here; pip install 'assay-automl[xgboost]'")
        import xgboost

        constant = constant_answer(data)
        if constant is not None:
            return constant
        classes = None if data.target.is_regression else Classes.of(data)
        y = data.y if classes is None else classes.codes(data.y)
        train = xgboost.QuantileDMatrix(data.x, y, weight=data.weight, nthread=ctx.threads)
        known = np.ones(len(data.y_valid), bool) if classes is None else classes.known(data.y_valid)
        watched = []
        if known.any():  # rows of a class without training rows cannot guide the stop
            y_held = data.y_valid[known] if classes is None else classes.codes(data.y_valid[known])
            w_held = None if data.weight_valid is None else data.weight_valid[known]
            held = xgboost.QuantileDMatrix(data.x_valid[known], y_held, weight=w_held, ref=train, nthread=ctx.threads)
            watched = [(held, "valid")]
        course = Course(ctx, patience(len(y), config.learning_rate))

        class Watch(xgboost.callback.TrainingCallback):
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                losses = next(iter(evals_log["valid"].values())) if watched else None
                return not course.after(None if losses is None else float(losses[-1]))

        booster = xgboost.train(
            _settings(config, classes, ctx),
            train,
            max(1, min(config.n_estimators, ctx.max_steps)),
            evals=watched,
            callbacks=[Watch()],
            verbose_eval=False,
        )
        course.close()
        best = max(1, course.best_round)

        def raw(x: np.ndarray) -> np.ndarray:
            rows = xgboost.DMatrix(x, nthread=ctx.threads)
            return np.asarray(booster.predict(rows, output_margin=True, iteration_range=(0, best)), np.float64)

        def forest() -> Forest:
            n_outputs = 1 if classes is None or classes.n_seen == 2 else classes.n_seen
            return parse(json.loads(bytes(booster.save_raw("json"))), best, n_outputs)

        return BoostedPredictor(raw, forest, classes, best)


def _settings(config: XGBoostConfig, classes: Classes | None, ctx: TrialContext) -> dict[str, Any]:
    """The base score is fixed where the margin is 0, so that the trees are the whole answer."""
    objective: dict[str, Any] = {"objective": "reg:squarederror", "eval_metric": "rmse", "base_score": 0.0}
    if classes is not None and classes.n_seen == 2:
        objective = {"objective": "binary:logistic", "eval_metric": "logloss", "base_score": 0.5}
    elif classes is not None:
        objective = {"objective": "multi:softprob", "eval_metric": "mlogloss", "base_score": 0.0}
        objective["num_class"] = classes.n_seen
    leaves = {"max_leaves": config.max_leaves} if config.grow_policy == "lossguide" else {}
    return {
        **objective,
        **leaves,
        "tree_method": "hist",
        "learning_rate": config.learning_rate,
        "grow_policy": config.grow_policy,
        "max_depth": config.max_depth,
        "min_child_weight": config.min_child_weight,
        "subsample": config.subsample,
        "colsample_bynode": config.colsample_bynode,
        "reg_alpha": config.reg_alpha,
        "reg_lambda": config.reg_lambda,
        "seed": ctx.seed,
        "nthread": ctx.threads,
        "verbosity": 0,
    }


def parse(exported: dict[str, Any], rounds: int, n_outputs: int) -> Forest:
    """The trees of the first `rounds` rounds of XGBoost's JSON.  A row goes left where x < condition, both float32."""
    model = exported["learner"]["gradient_booster"]["model"]
    trees = model["trees"][: rounds * n_outputs]
    return Forest(
        tuple(_tree(t, int(output)) for t, output in zip(trees, model["tree_info"], strict=False)), np.zeros(n_outputs)
    )


def _tree(exported: dict[str, Any], output: int) -> Tree:
    condition = np.asarray(exported["split_conditions"], dtype=np.float32)  # of a leaf: its value
    return Tree(
        feature=np.asarray(exported["split_indices"], dtype=np.int64),
        threshold=np.nextafter(condition, np.float32(-np.inf)),
        left=np.asarray(exported["left_children"], dtype=np.int64),
        right=np.asarray(exported["right_children"], dtype=np.int64),
        missing_left=np.asarray(exported["default_left"], dtype=bool),
        value=condition.astype(np.float64)[:, None],
        first_output=output,
    )


family = XGBoost()

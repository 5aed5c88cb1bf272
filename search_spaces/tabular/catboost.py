"""CatBoost: ordered boosting of symmetric (or depth-wise) trees with early stopping."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.model.trees import Forest, Tree
from assay.quantile.levels import QuantileTarget
from assay.space import Choice, Float, Int, When
from search_spaces.tabular._answers import Classes, constant_answer
from search_spaces.tabular._boosting import BoostedPredictor, ClassWeights, Course, patience, preparing


@dataclass(frozen=True)
class CatBoostConfig:
    """n_estimators is a cap: rounds end when the validation part stops gaining (or at the deadline).

    Defaults are the library's, with AutoGluon's learning rate a little raised and half the borders for short budgets
    (2,000 rows x 20 columns: 3.7 ms a round instead of 7).
    """

    learning_rate: Annotated[float, Float(5e-3, 2e-1, log=True)] = 0.06
    depth: Annotated[int, Int(3, 8)] = 6
    grow_policy: Annotated[str, Choice("SymmetricTree", "Depthwise")] = "SymmetricTree"
    l2_leaf_reg: Annotated[float, Float(1e-3, 10.0, log=True)] = 3.0
    random_strength: Annotated[float, Float(1e-2, 10.0, log=True)] = 1.0
    bootstrap: Annotated[str, Choice("MVS", "Bernoulli", "Bayesian")] = "MVS"
    subsample: Annotated[float, Float(0.5, 1.0), When("bootstrap", "MVS", "Bernoulli")] = 0.8
    bagging_temperature: Annotated[float, Float(0.0, 2.0), When("bootstrap", "Bayesian")] = 1.0
    border_count: Annotated[int, Choice(32, 128, 254)] = 128
    categories: Annotated[str, Choice("target", "ordinal", "onehot")] = "ordinal"
    derived: Annotated[bool, Choice(False, True)] = False
    select: Annotated[bool, Choice(False, True)] = False
    class_weight: Annotated[str, Choice("none", "root", "balanced")] = "none"
    n_estimators: int = 2000


class CatBoost:
    name: ClassVar[str] = "catboost"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    lane: ClassVar[str] = "cpu"
    quantiles: ClassVar[bool] = True
    monotone: ClassVar[bool] = True
    Config: ClassVar[type] = CatBoostConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Prokhorenkova, Gusev, Vorobev, Dorogush, Gulin: CatBoost: unbiased boosting with categorical features. "
        "NeurIPS 2018"
    )

    def recipe(self, config: CatBoostConfig) -> Recipe:
        return Recipe(
            numbers="raw",
            impute=False,
            categories=config.categories,
            derived=config.derived,
            select=config.select,
        )

    def steps(self, config: CatBoostConfig) -> int:
        return config.n_estimators

    def cost(self, config: CatBoostConfig, shape: Shape) -> Cost:
        outputs = shape.n_classes if shape.n_classes > 2 else 1
        rounds = min(config.n_estimators, 40.0 / config.learning_rate + patience(shape.n_rows, config.learning_rate))
        made, columns = preparing(shape, config.derived, config.select)
        cells = shape.n_rows * columns
        borders = columns * min(config.border_count, shape.n_rows / 4)
        # measured on one core, 2,000 and 20,000 rows x 20 columns, and 3,900 x 36 with 6 classes
        per_round = 2e-4 + config.depth * (2.9e-9 * cells + 2e-7 * borders) * (1.0 + 0.3 * (outputs - 1))
        per_round *= 3.0 if config.grow_policy == "Depthwise" else 1.0
        host = 6 * shape.n_rows * shape.n_features + int(rounds) * 2**config.depth * (8 * outputs + 40) + 60_000_000
        return Cost(float(0.05 + made + rounds * per_round), int(host))

    def fit(self, config: CatBoostConfig, data: Split, ctx: TrialContext) -> Predictor:
        import catboost

        constant = constant_answer(data)
        if constant is not None:
            return constant
        classes = None if data.target.is_regression else Classes.of(data)
        y = data.y if classes is None else classes.codes(data.y)
        by_class = None if classes is None else ClassWeights.of(config.class_weight, y, classes.n_seen)
        known = np.ones(len(data.y_valid), bool) if classes is None else classes.known(data.y_valid)
        held = None  # rows of a class without training rows cannot guide the stop
        if known.any():
            y_held = data.y_valid[known] if classes is None else classes.codes(data.y_valid[known])
            w_held = None if data.weight_valid is None else data.weight_valid[known]
            w_held = w_held if by_class is None else by_class.rows(y_held, w_held)
            held = catboost.Pool(data.x_valid[known], y_held, weight=w_held)
        course = Course(ctx, patience(len(y), config.learning_rate))
        loss = "RMSE" if classes is None else "Logloss" if classes.n_seen == 2 else "MultiClass"
        if isinstance(data.target, QuantileTarget):
            levels = data.target.quantiles
            loss = (
                f"MultiQuantile:alpha={','.join(map(str, levels))}"
                if len(levels) > 1
                else f"Quantile:alpha={levels[0]}"
            )
        settings = _settings(config, loss, ctx)
        if data.monotone is not None:
            settings |= {"monotone_constraints": data.monotone.tolist(), "grow_policy": "SymmetricTree"}
        model = catboost.CatBoost(settings)
        weight = data.weight if by_class is None else by_class.rows(y, data.weight)
        train = catboost.Pool(data.x, y, weight=weight)
        model.fit(train, eval_set=held, use_best_model=False, callbacks=[_Callback(course)])
        course.close()
        best = max(1, course.best_round)

        def raw(x: np.ndarray) -> np.ndarray:
            return np.asarray(
                model.predict(x, prediction_type="RawFormulaVal", ntree_end=best, thread_count=ctx.threads)
            )

        shift = None if by_class is None else by_class.shift
        return BoostedPredictor(raw, lambda: parse(_exported(model), best), classes, best, shift)


class _Callback:
    """Hands each round's validation loss to the course; CatBoost stops where it answers False."""

    def __init__(self, course: Course) -> None:
        self.course = course

    def after_iteration(self, info: Any) -> bool:
        watched = info.metrics.get("validation")
        return self.course.after(None if watched is None else float(next(iter(watched.values()))[-1]))


def _settings(config: CatBoostConfig, loss: str, ctx: TrialContext) -> dict[str, Any]:
    bagging = {"bagging_temperature": config.bagging_temperature}
    if config.bootstrap != "Bayesian":
        bagging = {"subsample": config.subsample}
    return {
        "loss_function": loss,
        "learning_rate": config.learning_rate,
        "iterations": max(1, min(config.n_estimators, ctx.max_steps)),
        "depth": config.depth,
        "grow_policy": config.grow_policy,
        "l2_leaf_reg": config.l2_leaf_reg,
        "random_strength": config.random_strength,
        "bootstrap_type": config.bootstrap,
        **bagging,
        "border_count": config.border_count,
        "random_seed": ctx.seed,
        "thread_count": ctx.threads,
        "allow_writing_files": False,
        "logging_level": "Silent",
    }


def _exported(model: Any) -> dict[str, Any]:
    """CatBoost's JSON export, which it only writes to a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        return dict(json.loads(path.read_text()))


def parse(exported: dict[str, Any], rounds: int) -> Forest:
    """The first `rounds` trees of a JSON export over numeric columns.  Raises ValueError for other kinds of splits."""
    missing_left = np.array(
        [f["nan_value_treatment"] != "AsTrue" for f in exported["features_info"].get("float_features", [])], dtype=bool
    )
    scale, base = exported["scale_and_bias"]
    n_outputs = len(base)
    if "oblivious_trees" in exported:
        trees = [_symmetric(t, scale, n_outputs, missing_left) for t in exported["oblivious_trees"][:rounds]]
    else:
        trees = [_nested(t, scale, n_outputs, missing_left) for t in exported["trees"][:rounds]]
    return Forest(tuple(trees), np.asarray(base, dtype=np.float64))


def _split(split: dict[str, Any]) -> tuple[int, float]:
    if split["split_type"] != "FloatFeature":
        raise ValueError(f"a CatBoost split of type {split['split_type']} cannot be exported")
    return int(split["float_feature_index"]), float(np.float32(split["border"]))


def _symmetric(tree: dict[str, Any], scale: float, n_outputs: int, missing_left: np.ndarray) -> Tree:
    """An oblivious tree spelled out: level l asks splits[depth - 1 - l]; going right sets that bit of the leaf."""
    splits = [_split(s) for s in reversed(tree["splits"])]
    depth = len(splits)
    n_inner = 2**depth - 1
    index = np.arange(2 * n_inner + 1)
    level = np.floor(np.log2(index + 1)).astype(np.int64)
    inner = level < depth
    at = np.where(inner, level, 0)
    feature = np.array([f for f, _ in splits] or [0])[at]
    value = np.zeros((len(index), n_outputs))
    value[n_inner:] = scale * np.asarray(tree["leaf_values"], dtype=np.float64).reshape(-1, n_outputs)
    return Tree(
        feature=feature,
        threshold=np.array([t for _, t in splits] or [0.0])[at],
        left=np.where(inner, 2 * index + 1, -1),
        right=np.where(inner, 2 * index + 2, -1),
        missing_left=missing_left[feature],
        value=value,
    )


def _nested(tree: dict[str, Any], scale: float, n_outputs: int, missing_left: np.ndarray) -> Tree:
    """A tree of nested dicts, flattened depth first."""
    rows: list[tuple[int, float, int, int]] = []
    values: list[np.ndarray] = []

    def visit(node: dict[str, Any]) -> int:
        at = len(rows)
        rows.append((0, 0.0, -1, -1))
        values.append(np.zeros(n_outputs))
        if "split" in node:
            left, right = visit(node["left"]), visit(node["right"])
            rows[at] = (*_split(node["split"]), left, right)
        else:
            values[at] = scale * np.atleast_1d(np.asarray(node["value"], dtype=np.float64))
        return at

    visit(tree)
    feature = np.array([r[0] for r in rows])
    return Tree(
        feature=feature,
        threshold=np.array([r[1] for r in rows]),
        left=np.array([r[2] for r in rows]),
        right=np.array([r[3] for r in rows]),
        missing_left=missing_left[feature],
        value=np.array(values),
    )


family = CatBoost()

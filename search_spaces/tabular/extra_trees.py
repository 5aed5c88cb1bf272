"""Extremely randomised trees: random thresholds make trees fast and different."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Int, When
from search_spaces.tabular._trees import forest_bytes, forest_seconds, grow, impurity, max_leaves


@dataclass(frozen=True)
class ExtraTreesConfig:
    """criterion counts for classification only; max_features: share of the columns (or their square root) a split sees.

    n_trees is per fold: the folds' forests are averaged in the delivered model.
    """

    criterion: Annotated[str, Choice("gini", "entropy")] = "entropy"
    max_features: Annotated[str | float, Choice("sqrt", 0.25, 0.5, 0.75, 1.0)] = 0.5
    min_samples_leaf: Annotated[int, Int(1, 32, log=True)] = 2
    depth: Annotated[str, Choice("free", "limited")] = "free"
    max_depth: Annotated[int, Int(3, 20), When("depth", "limited")] = 12
    bootstrap: Annotated[bool, Choice(False, True)] = False
    n_trees: Annotated[int, Int(20, 120, log=True)] = 60
    categories: Annotated[str, Choice("target", "ordinal", "onehot")] = "target"


class ExtraTrees:
    name: ClassVar[str] = "extra_trees"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = ExtraTreesConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = "Geurts, Ernst, Wehenkel: Extremely randomized trees. Machine Learning 63, 2006"

    def recipe(self, config: ExtraTreesConfig) -> Recipe:
        return Recipe(numbers="raw", impute=False, categories=config.categories)

    def steps(self, config: ExtraTreesConfig) -> int:
        return config.n_trees

    def cost(self, config: ExtraTreesConfig, shape: Shape) -> Cost:
        seconds = forest_seconds(shape, config.max_features, config.n_trees, per_cell=1.2e-8)
        return Cost(seconds, forest_bytes(shape.n_rows, shape.n_features, shape.n_classes, config.n_trees))

    def fit(self, config: ExtraTreesConfig, data: Split, ctx: TrialContext) -> Predictor:
        from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

        kind = ExtraTreesRegressor if data.target.is_regression else ExtraTreesClassifier

        def build(n_trees: int) -> Any:
            return kind(
                n_estimators=n_trees,
                criterion=impurity(data.target.is_regression, config.criterion),
                max_features=config.max_features,
                min_samples_leaf=config.min_samples_leaf,
                max_depth=config.max_depth if config.depth == "limited" else None,
                max_leaf_nodes=max_leaves(len(data.y)),
                bootstrap=config.bootstrap,
                warm_start=n_trees > 1,
                n_jobs=1,
                random_state=ctx.seed,
            )

        return grow(data, ctx, build, config.n_trees)


family = ExtraTrees()

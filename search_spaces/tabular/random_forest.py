"""Random forest: trees on bootstrap samples, each split among some of the columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from assay.data.prepare import Recipe
from assay.families import Cost, Predictor, Shape, Split, TrialContext
from assay.space import Choice, Float, Int, When
from search_spaces.tabular._trees import forest_bytes, forest_seconds, grow, impurity, max_leaves


@dataclass(frozen=True)
class RandomForestConfig:
    """criterion counts for classification only; max_features: share of the columns (or their square root) a split sees.

    n_trees is per fold: the folds' forests are averaged in the delivered model.
    """

    criterion: Annotated[str, Choice("gini", "entropy")] = "entropy"
    max_features: Annotated[str | float, Choice("sqrt", 0.25, 0.5, 0.75, 1.0)] = 0.5
    min_samples_leaf: Annotated[int, Int(1, 32, log=True)] = 2
    depth: Annotated[str, Choice("free", "limited")] = "free"
    max_depth: Annotated[int, Int(3, 20), When("depth", "limited")] = 12
    max_samples: Annotated[float, Float(0.5, 1.0)] = 1.0
    n_trees: Annotated[int, Int(20, 120, log=True)] = 60
    categories: Annotated[str, Choice("target", "ordinal", "onehot")] = "target"


class RandomForest:
    name: ClassVar[str] = "random_forest"
    tasks: ClassVar[frozenset[str]] = frozenset({"classification", "regression"})
    lane: ClassVar[str] = "cpu"
    Config: ClassVar[type] = RandomForestConfig
    fits_whole: ClassVar[bool] = True
    reference: ClassVar[str] = "Breiman: Random Forests. Machine Learning 45, 2001"

    def recipe(self, config: RandomForestConfig) -> Recipe:
        return Recipe(numbers="raw", impute=False, categories=config.categories)

    def steps(self, config: RandomForestConfig) -> int:
        return config.n_trees

    def cost(self, config: RandomForestConfig, shape: Shape) -> Cost:
        seconds = forest_seconds(shape, config.max_features, config.n_trees, per_cell=5e-8)
        return Cost(seconds, forest_bytes(shape.n_rows, shape.n_features, shape.n_classes, config.n_trees))

    def fit(self, config: RandomForestConfig, data: Split, ctx: TrialContext) -> Predictor:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        kind = RandomForestRegressor if data.target.is_regression else RandomForestClassifier

        def build(n_trees: int) -> Any:
            return kind(
                n_estimators=n_trees,
                criterion=impurity(data.target.is_regression, config.criterion),
                max_features=config.max_features,
                min_samples_leaf=config.min_samples_leaf,
                max_depth=config.max_depth if config.depth == "limited" else None,
                max_leaf_nodes=max_leaves(len(data.y)),
                max_samples=config.max_samples,
                warm_start=n_trees > 1,
                n_jobs=1,
                random_state=ctx.seed,
            )

        return grow(data, ctx, build, config.n_trees)


family = RandomForest()
